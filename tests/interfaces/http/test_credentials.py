"""Who a call is, and how often it may come: both carriers of a credential, organisations, rates."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from builderos.core.clock import utcnow
from builderos.core.unit import as_system
from builderos.trust.notices.model import alerts
from tests.support.databases import Databases, FreshDatabase
from tests.support.world import Json, World, world_in_temp

from .scenes import Grounds

LOG = "/git/log"
NOBODY = "bos_rt_" + "0" * 43


@pytest.fixture(scope="module")
def grounds(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    with databases.fresh() as database, world_in_temp(database) as world:
        yield Grounds(world, tmp_path_factory.mktemp("grounds"))


def ask(world: World, bearer: str | None = None, path: str = LOG, **body: Any) -> Any:
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    return world.http.post(path, json=body, headers=headers)


def test_a_token_carries_in_the_header_and_in_the_body(grounds: Grounds) -> None:
    token = grounds.other.token
    assert World.ok(ask(grounds.world, token)) == World.ok(ask(grounds.world, reuse_token=token))


def test_of_a_key_and_a_token_the_token_acts(grounds: Grounds) -> None:
    """A chat action holds an API key; its user has a workspace token: the user works in the own workspace."""
    reply = World.ok(ask(grounds.world, grounds.keys["read"], reuse_token=grounds.other.token))
    assert reply["branch"] == grounds.other.branch
    change: Json = {"message": "m", "file_path": "a", "content": "b", "reuse_token": grounds.other.token}
    saved = World.ok(ask(grounds.world, grounds.keys["read"], "/commit_and_log_output", **change))
    assert saved["committed_by"] == grounds.other.branch


@pytest.mark.parametrize("which", ["bearer", "body"])
def test_of_two_credentials_both_must_be_valid(grounds: Grounds, which: str) -> None:
    good, bad = grounds.other.token, NOBODY
    response = (
        ask(grounds.world, bad, reuse_token=good)
        if which == "bearer"
        else ask(grounds.world, good, reuse_token=bad)
    )
    World.problem(response, "token_invalid")


def test_two_credentials_of_two_organisations_are_refused(grounds: Grounds) -> None:
    foreign = grounds.foreign_sandbox.token
    World.problem(ask(grounds.world, grounds.keys["read"], reuse_token=foreign), "token_invalid")
    World.problem(ask(grounds.world, grounds.foreign_owner, reuse_token=grounds.other.token), "token_invalid")


def test_a_foreign_token_at_init_opens_a_new_workspace_and_says_so(grounds: Grounds) -> None:
    body = {"repo_name": "lab", "reuse_token": grounds.foreign_sandbox.token, "org_slug": "local"}
    reply = grounds.world.http.post("/sandbox/init", json=body)
    World.ok(reply)
    assert reply.json()["repo_name"] == "lab"
    owner = grounds.world.owner_token
    foreign = {"repo_name": "lab", "reuse_token": grounds.foreign_sandbox.token}
    mixed = World.ok(ask(grounds.world, owner, "/sandbox/init", **foreign))
    assert (mixed["created"], mixed["token_status"]) == (True, "invalid")


def test_the_name_of_another_organisation_gives_no_access_to_it(grounds: Grounds) -> None:
    response = ask(grounds.world, grounds.other.token, "/sandbox/init", org_slug="globex", repo_name="annex")
    assert response.status_code in (401, 404), response.text


def test_an_expired_and_a_revoked_token_say_so(grounds: Grounds) -> None:
    past = utcnow() - timedelta(seconds=1)
    World.problem(ask(grounds.world, grounds.issue("reuse_token", expires_at=past)), "token_expired")
    World.problem(ask(grounds.world, grounds.issue("reuse_token", revoked=True)), "token_invalid")


def test_a_branch_name_is_no_credential(grounds: Grounds) -> None:
    World.problem(ask(grounds.world, grounds.other.branch), "token_invalid")
    World.problem(ask(grounds.world, reuse_token=grounds.other.branch), "token_invalid")


def is_full(response: Any, limit: int) -> Json:
    body = World.problem(response, "rate_limited")
    assert (body["limit"], body["used"], body["retryable"]) == (limit, limit, True)
    resets = datetime.fromisoformat(body["resets_at"])
    assert utcnow() - timedelta(seconds=2) <= resets <= utcnow() + timedelta(hours=1, seconds=2)
    assert 0 < body["retry_after_s"] <= 3600
    assert int(response.headers["retry-after"]) >= 1
    return body


def test_a_token_has_a_rate_of_its_own(database: FreshDatabase) -> None:
    with world_in_temp(database, rate_per_token=3) as world:
        one, two = world.open_sandbox(), world.open_sandbox()
        for _ in range(3):
            one.post(LOG)
        is_full(one.try_post(LOG), 3)
        two.post(LOG)


def test_an_organisation_has_a_rate_for_all_its_tokens(database: FreshDatabase) -> None:
    with world_in_temp(database, rate_per_org=6) as world:
        one, two = world.open_sandbox(), world.open_sandbox()  # with the import one call is spent
        spent = 0
        while one.try_post(LOG).status_code == 200:
            spent += 1
            assert spent < 7
        is_full(two.try_post(LOG), 6)


def test_anonymous_inits_are_counted_per_caller(database: FreshDatabase) -> None:
    with world_in_temp(database, rate_anonymous_inits=2) as world:
        world.open_sandbox()
        sandbox = world.open_sandbox()
        is_full(world.http.post("/sandbox/init", json={"repo_name": "lab"}), 2)
        again = {"repo_name": "lab", "reuse_token": sandbox.token}
        assert World.ok(world.http.post("/sandbox/init", json=again))["created"] is False, (
            "coming back is not counted"
        )


def test_guessing_tokens_ends_in_a_refusal_and_an_alert(database: FreshDatabase) -> None:
    with world_in_temp(database, rate_invalid_tokens=4) as world:
        for n in range(4):
            World.problem(ask(world, f"bos_rt_{n:043}"), "token_invalid")
        is_full(ask(world, NOBODY), 4)
        is_full(ask(world, reuse_token=NOBODY), 4)
        raised = as_system(
            world.context, world.org_id, lambda u: u.execute(sa.select(alerts)).mappings().all()
        )
        assert {alert["rule"] for alert in raised} == {"token_abuse"}
        assert "testclient" not in str(raised), "the caller's address is nowhere in it"
