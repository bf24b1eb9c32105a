"""Where a program's browser may be sent back to, and what a wrong request gets: no open redirect, no weaker PKCE."""

from collections.abc import Iterator
from itertools import count
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.support.databases import Databases
from tests.support.lab import lab_in_temp
from tests.support.oauth import Browser, Program, member, refused, register, stopped
from tests.support.teams import Team

_numbers = count()
SITE = "http://127.0.0.1"


@pytest.fixture(scope="module")
def team(databases: Databases) -> Iterator[Team]:
    with lab_in_temp(databases) as lab:
        made = Team(lab)
        lab.ok(made.owner.call("POST", "/v1/repos", name="shop"), 201)
        yield made


@pytest.fixture(scope="module")
def program(team: Team) -> Program:
    return register(team)


@pytest.fixture
def ann(team: Team) -> Browser:
    return member(team, "org_owner", f"ann{next(_numbers)}@acme.example")


@pytest.mark.parametrize(
    "uri",
    [
        "http://evil.example/cb", "https://user@evil.example/cb", "https://a:b@good.example/", "https://good.example/#x",
        "https://good.example\\@evil.example/", "https://gооd.example/", "https://xn--good/\u202e",
        "javascript:alert(1)", "data:text/html,x", "https://GOOD.example/", "https://good.example:99999/", "https://good.example:0/",
        "https://[::1]/", "http://127.0.0.2/", "http://127.0.0.1.evil.example/", "http://localhost.evil.example/",
        "//good.example/", "https:/good.example", "https://good.example/\n", "https://*.example/", "https://goodexample/",
        "https://1.2.3.4%2eexample/", "app://callback", "http://127.0.0.1@evil.example/", "https://good.example/ x", "",
        "https://good.example/" + "a" * 500, "http://2130706433/", "http://0177.0.0.1/", "http://[::ffff:127.0.0.1]/",
    ],
)  # fmt: skip
def test_an_odd_redirect_address_is_not_registered(team: Team, uri: str) -> None:
    reply = team.lab.world.http.post("/oauth/register", json={"redirect_uris": [uri]})
    refused(reply, "invalid_redirect_uri")


@pytest.mark.parametrize(
    "uri",
    [
        "https://good.example/cb/", "https://good.example/cb?x=1", "https://good.example/CB", "https://good.example/cb#",
        "https://good.example/cb/../evil", "https://good.example:444/cb", "https://good.example:443/cb",
        "http://good.example/cb", "https://good.example@evil.example/cb", "https://evil.example/https://good.example/cb",
        "https://good.example/%63b", "https://good.example./cb", "https://gооd.example/cb", "", "http://127.0.0.1/other",
        "https://127.0.0.1:1/native", "http://localhost:1/native", "http://user@127.0.0.1:1/native",
        "http://127.0.0.1:1/native#x", "http://127.0.0.1:1/native?x=1", "http://127.0.0.1:99999/native",
    ],
)  # fmt: skip
def test_the_browser_is_sent_to_no_address_but_the_registered_ones(
    team: Team, ann: Browser, uri: str
) -> None:
    program = register(team, "https://good.example/cb", "http://127.0.0.1/native")
    stopped(ann.get(program.address(redirect_uri=uri)))
    page = ann.get(program.address())
    forged = [(n, uri if n == "redirect_uri" else v) for n, v in page.fields]
    stopped(ann.form("/oauth/authorize", [*forged, ("decision", "allow")]))


def test_a_native_program_is_answered_on_any_port_of_this_machine(team: Team, ann: Browser) -> None:
    program = register(team, "http://127.0.0.1/native", "http://[::1]:5/six")
    for uri in ("http://127.0.0.1:50123/native", "http://127.0.0.1/native", "http://[::1]:61000/six"):
        page = ann.get(program.address(redirect_uri=uri))
        back = ann.decide(page)
        assert back.reply.headers["location"].startswith(f"{uri}?code=")
        refused(program.redeem(back.back["code"], redirect_uri="http://127.0.0.1:1/native"), "invalid_grant")


def test_a_query_of_the_registered_address_is_kept(team: Team, ann: Browser) -> None:
    program = register(team, "https://good.example/cb?tenant=1")
    back = ann.decide(ann.get(program.address())).reply.headers["location"]
    assert back.startswith("https://good.example/cb?tenant=1&code=")
    assert dict(parse_qsl(urlsplit(back).query))["state"] == "s&1"


def test_an_unknown_program_is_answered_to_the_person_alone(
    team: Team, ann: Browser, program: Program
) -> None:
    for client_id in ("oac_" + "0" * 26, "nonsense", "", "builderos-cli"):
        stopped(ann.get(program.address(client_id=client_id)))
    stopped(ann.get(program.address() + "&client_id=twice"))
    stopped(ann.get(program.address() + "&redirect_uri=https%3A%2F%2Fevil.example"))
    stopped(ann.get("/oauth/authorize"))
    stopped(ann.get("/oauth/authorize?client_id=%00"))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"scope": "root everything"}, "invalid_scope"),
        ({"request_uri": "https://evil.example/x"}, "invalid_request"),
        ({"request": "eyJ"}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"prompt": "none"}, "interaction_required"),
    ],
)
def test_a_wrong_request_goes_back_to_the_program_with_its_state(
    program: Program, ann: Browser, changes: dict[str, str | None], error: str
) -> None:
    back = ann.get(program.address(**changes)).back
    assert (back["error"], back["state"], back["iss"]) == (error, "s&1", SITE)
    assert "code" not in back
