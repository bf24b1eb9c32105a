"""Who counts as one caller: an address, or what a trusted proxy says of it; never what the caller says of itself."""

import pytest
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from builderos.interfaces.http.edge import caller_of
from tests.support.databases import FreshDatabase
from tests.support.world import world_in_temp


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "caller"),
    [
        ("192.0.2.7", [], 0, "192.0.2.7"),
        ("192.0.2.7", ["198.51.100.1"], 0, "192.0.2.7"),
        ("192.0.2.7", ["198.51.100.1"], 1, "198.51.100.1"),
        ("192.0.2.7", ["203.0.113.9, 198.51.100.1"], 1, "198.51.100.1"),
        ("192.0.2.7", ["203.0.113.9", "198.51.100.1"], 1, "198.51.100.1"),
        ("192.0.2.7", ["9.9.9.9, 203.0.113.9, 198.51.100.1"], 2, "203.0.113.9"),
        ("192.0.2.7", [], 1, "192.0.2.7"),
        ("192.0.2.7", ["198.51.100.1"], 2, "192.0.2.7"),
        ("192.0.2.7", ["somebody"], 1, "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", [], 0, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", [], 0, "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", [], 0, "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.7", [], 0, "192.0.2.7"),
        ("testclient", [], 0, "testclient"),
    ],
)
def test_a_caller_is_a_network_address(peer: str, forwarded: list[str], proxies: int, caller: str) -> None:
    headers = Headers(raw=[(b"x-forwarded-for", value.encode()) for value in forwarded])
    assert caller_of({"type": "http", "client": (peer, 1)}, headers, proxies) == caller


@pytest.mark.parametrize(("proxies", "served"), [(0, 2), (1, 4)])
def test_behind_a_proxy_callers_have_limits_of_their_own(
    database: FreshDatabase, proxies: int, served: int
) -> None:
    with world_in_temp(database, rate_anonymous_inits=2, proxies=proxies) as world:
        client = TestClient(world.asgi, base_url="http://127.0.0.1", client=("192.0.2.7", 4711))
        statuses = [
            client.post(
                "/sandbox/init",
                json={"repo_name": "lab", "mode": "branch"},
                headers={"x-forwarded-for": f"{number}.1.1.1, 198.51.100.{number % 2}"},
            ).status_code
            for number in range(6)
        ]
    assert sorted(statuses) == [200] * served + [429] * (6 - served)
