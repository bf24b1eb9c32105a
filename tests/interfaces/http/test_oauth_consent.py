"""What a member is asked, programs of an organisation, and the endpoints that programs call."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any
from urllib.parse import urlencode

import pytest

from builderos.core.unit import as_system
from builderos.trust.orgs import service as orgs
from tests.support.databases import Databases
from tests.support.lab import lab_in_temp
from tests.support.oauth import (
    BACK,
    SESSION,
    Browser,
    Program,
    browser_of,
    call,
    member,
    refused,
    register,
    stopped,
)
from tests.support.teams import Person, Team
from tests.support.world import Json

_numbers = count()


@pytest.fixture(scope="module")
def team(databases: Databases) -> Iterator[Team]:
    with lab_in_temp(databases) as lab:
        yield Team(lab)


@pytest.fixture(scope="module")
def program(team: Team) -> Program:
    return register(team)


@pytest.fixture
def ann(team: Team) -> Browser:
    return member(team, "org_owner", f"ann{next(_numbers)}@acme.example")


# ------------------------------------------------------------ the question


def test_only_the_page_that_asked_can_answer(team: Team, program: Program, ann: Browser) -> None:
    page = ann.get(program.address())
    yes = [*page.fields, ("decision", "allow")]
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"origin": ""}):
        team.lab.problem(ann.form("/oauth/authorize", yes, **headers).reply, "policy_denied")
    without = [(n, v) for n, v in yes if n != "csrf"]
    team.lab.problem(ann.form("/oauth/authorize", without).reply, "policy_denied")
    wider = [(n, "read write admin" if n == "scope" else v) for n, v in yes]
    team.lab.problem(ann.form("/oauth/authorize", wider).reply, "policy_denied")
    eve = member(team, "org_owner", f"eve{next(_numbers)}@acme.example")
    team.lab.problem(eve.form("/oauth/authorize", yes).reply, "policy_denied")
    team.lab.problem(browser_of(team).form("/oauth/authorize", yes).reply, "unauthenticated")
    csrf = team.lab.ok(ann.get("/v1/auth/session").reply)["csrf_token"]
    borrowed = [*without, ("csrf", csrf)]
    team.lab.problem(ann.form("/oauth/authorize", borrowed).reply, "policy_denied")
    assert ann.form("/oauth/authorize", yes).back["code"]


def test_no_page_can_frame_the_question_and_it_loads_nothing_foreign(
    team: Team, ann: Browser, program: Program
) -> None:
    for page in (ann.get(program.address()), ann.get("/device"), browser_of(team).get("/sign-in"),
                 ann.get("/oauth/authorize")):  # fmt: skip
        policy, headers = page.reply.headers["content-security-policy"], page.reply.headers
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert (headers["x-frame-options"], headers["cache-control"]) == ("DENY", "no-store")
        assert "<script>" not in page.text
        assert " on" not in "".join(part.split("<")[0] for part in page.text.split(" style=")[1:])
    asked = ann.get(program.address()).reply.headers["content-security-policy"]
    assert "form-action 'self' http://127.0.0.1:7171" in asked


def test_what_a_program_says_of_itself_is_only_text(team: Team, ann: Browser) -> None:
    evil = '<script>alert(1)</script>"\u202eWeiter\x00\n'
    program = register(team, client_name=evil)
    page = ann.get(program.address(state='"><img src=x onerror=alert(1)>', scope="read <b>"))
    assert "<script>alert" not in page.text
    assert "<img" not in page.text
    assert "\u202e" not in page.text
    assert "&lt;script&gt;" in page.text
    assert ann.decide(page).back["state"] == '"><img src=x onerror=alert(1)>'


def test_a_get_decides_nothing(program: Program, ann: Browser) -> None:
    fields = [*ann.get(program.address()).fields, ("decision", "allow")]
    page = ann.get(f"/oauth/authorize?{urlencode([(n, v) for n, v in fields if n != 'grant'])}")
    assert page.reply.status_code == 200
    assert "location" not in page.reply.headers


# ------------------------------------------------------------ programs of an organisation


def made(team: Team, **body: Any) -> Json:
    body = {"name": "Chat action", "redirect_uris": ["https://chat.example/cb"], **body}
    return team.lab.ok(team.owner.call("POST", "/v1/oauth-clients", **body), 201)


def test_a_chat_action_signs_members_in_with_its_secret(team: Team, ann: Browser) -> None:
    client = made(team)
    program = Program(team, client["id"], client["client_secret"], "https://chat.example/cb")
    plain = {"code_challenge": None, "code_challenge_method": None}
    page = ann.get(program.address(**plain))
    assert "has registered this program" in page.text
    code = ann.decide(page).back["code"]
    for secret in (None, "", "bos_os_" + "0" * 43):
        wrong = Program(team, client["id"], secret, program.redirect_uri)
        refused(wrong.redeem(code, code_verifier=None), "invalid_client", 401)
    refused(program.redeem(code), "invalid_grant")  # a verifier where none was asked for
    given = program.redeem(code, code_verifier=None).json()
    team.lab.ok(call(team, given["access_token"]))
    refused(Program(team, client["id"]).refresh(given["refresh_token"]), "invalid_client", 401)
    assert program.refresh(given["refresh_token"]).status_code == 200
    assert client["client_secret"] not in str(team.lab.sql("select * from ops.oauth_clients"))


def test_a_secret_does_not_make_pkce_weaker(team: Team, ann: Browser) -> None:
    client = made(team)
    program = Program(team, client["id"], client["client_secret"], "https://chat.example/cb")
    code = ann.decide(ann.get(program.address())).back["code"]
    for verifier in (None, "x" * 43):
        refused(program.redeem(code, code_verifier=verifier), "invalid_grant")
    for weak in (
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
        {"code_challenge": None},
    ):
        assert ann.get(program.address(**weak)).back["error"] == "invalid_request"
    assert program.redeem(code).status_code == 200


def test_a_secret_may_stand_in_the_header_but_not_in_both_places(team: Team, ann: Browser) -> None:
    client = made(team)
    program = Program(team, client["id"], client["client_secret"], "https://chat.example/cb")
    http = team.lab.world.http
    code = ann.decide(ann.get(program.address())).back["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": program.redirect_uri,
            "code_verifier": program.verifier}  # fmt: skip
    pair = (client["id"], client["client_secret"])
    refused(http.post("/oauth/token", data={**form, "client_secret": "x"}, auth=pair), "invalid_request")
    refused(http.post("/oauth/token", data={**form, "client_id": "other"}, auth=pair), "invalid_request")
    reply = http.post("/oauth/token", data=form, auth=(client["id"], "wrong"))
    refused(reply, "invalid_client", 401)
    assert reply.headers["www-authenticate"].startswith("Basic")
    assert http.post("/oauth/token", data=form, auth=pair).status_code == 200


def test_a_program_of_an_organisation_is_for_its_members_alone(team: Team) -> None:
    other = Team(team.lab)
    client = made(other)
    program = Program(team, client["id"], client["client_secret"], "https://chat.example/cb")
    stranger = member(team, "org_owner", f"str{next(_numbers)}@acme.example")
    page = stranger.get(program.address())
    assert page.reply.status_code == 403
    assert other.slug not in page.text, "nor whose program it is"
    mine = member(other, "viewer", "x@acme.example")
    asked = mine.get(program.address())
    forged = stranger.form("/oauth/authorize", [*asked.fields, ("decision", "allow")])
    assert forged.reply.status_code == 403


def test_a_program_is_managed_by_those_who_manage_members(team: Team, ann: Browser) -> None:
    client = made(team)
    program = Program(team, client["id"], client["client_secret"], "https://chat.example/cb")
    given = program.whole_way(ann)
    listed = team.lab.ok(team.owner.call("GET", "/v1/oauth-clients"))["items"]
    assert client["id"] in [c["id"] for c in listed]
    assert client["client_secret"] not in json.dumps(listed)
    for refusing in (team.join("builder"), Person(team, "", {"access_token": given["access_token"]})):
        body = {"name": "x", "redirect_uris": ["https://x.example/"]}
        team.lab.problem(refusing.call("POST", "/v1/oauth-clients", **body), "policy_denied")
    path = f"/v1/oauth-clients/{client['id']}"
    other = Team(team.lab)
    team.lab.problem(other.owner.call("DELETE", path), "not_found")
    team.lab.problem(other.owner.call("POST", path, redirect_uris=["https://evil.example/"]), "not_found")
    team.lab.ok(team.owner.call("POST", path, redirect_uris=["https://chat.example/new"]))
    stopped(ann.get(program.address()))
    code = ann.decide(ann.get(program.address(redirect_uri="https://chat.example/new"))).back["code"]
    team.lab.ok(team.owner.call("DELETE", path))
    team.lab.problem(call(team, given["access_token"]), "token_invalid")
    refused(program.redeem(code, redirect_uri="https://chat.example/new"), "invalid_client", 401)


# ------------------------------------------------------------ the endpoints themselves


def test_the_token_endpoint_takes_well_formed_forms_alone(team: Team, program: Program) -> None:
    http = team.lab.world.http
    kind = {"content-type": "application/x-www-form-urlencoded"}
    team.lab.problem(http.post("/oauth/token", json={"grant_type": "x"}), "unsupported_media_type")
    team.lab.problem(http.post("/v1/auth/link", content="email=a", headers=kind), "unsupported_media_type")
    for body in ("a=1&a=2", "grant_type=%ff", "x=%00", "&".join(f"a{n}=1" for n in range(100)), "a" * 40000):
        refused(http.post("/oauth/token", content=body, headers=kind), "invalid_request")
    refused(http.post("/oauth/token", content=b"\xff", headers=kind), "invalid_request")
    refused(program.token(grant_type="password", username="a", password="b"), "unsupported_grant_type")
    refused(program.token(grant_type="client_credentials"), "unsupported_grant_type")
    refused(program.token(), "unsupported_grant_type")
    refused(program.token(client_id="nobody"), "invalid_client", 401)


@pytest.mark.parametrize(
    "body",
    [[], {}, "x", {"redirect_uris": "x"}, {"redirect_uris": []}, {"redirect_uris": [1]}, {"redirect_uris": [BACK] * 11},
     {"redirect_uris": [BACK], "client_name": 1},
     {"redirect_uris": [BACK], "token_endpoint_auth_method": "private_key_jwt"}],
)  # fmt: skip
def test_a_malformed_registration_is_refused(team: Team, body: Any) -> None:
    reply = team.lab.world.http.post("/oauth/register", json=body)
    assert reply.status_code == 400
    assert reply.json()["error"] in ("invalid_client_metadata", "invalid_redirect_uri")


def test_a_program_may_register_itself_with_a_secret(team: Team, ann: Browser) -> None:
    program = register(team, token_endpoint_auth_method="client_secret_post")
    assert program.secret
    without = program.address(code_challenge=None, code_challenge_method=None)
    assert ann.get(without).back["error"] == "invalid_request", "nobody vouches for it: PKCE all the same"
    code = ann.decide(ann.get(program.address())).back["code"]
    refused(Program(team, program.id, None, verifier=program.verifier).redeem(code), "invalid_client", 401)
    assert program.redeem(code).status_code == 200


def test_programs_that_were_never_let_in_are_forgotten(team: Team, program: Program, ann: Browser) -> None:
    unused = register(team)
    program.whole_way(ann)
    with team.lab.later(days=2):
        as_system(team.lab.world.context, team.lab.world.org_id, orgs.signing_in.sweep)
    stopped(ann.get(unused.address()))
    assert ann.get(program.address()).reply.status_code == 200


def test_what_is_over_is_forgotten_and_what_lives_stays(team: Team, program: Program) -> None:
    other = Team(team.lab)
    ann = member(other, "viewer", "ann@other.example")
    ended, alive = program.whole_way(ann), program.whole_way(ann)
    program.post("/oauth/revoke", client_id=program.id, token=ended["refresh_token"])
    org_id = team.lab.sql("select org_id from ops.members where id = %s", other.owner.id)[0][0]
    rows = "select count(*) from ops.credentials where kind = 'access' and org_id = %s"
    with team.lab.later(days=3):
        as_system(team.lab.world.context, org_id, orgs.signing_in.sweep)
        assert team.lab.sql(rows, org_id) == [(0,)]
        assert program.refresh(alive["refresh_token"]).status_code == 200
        refused(program.refresh(ended["refresh_token"]), "invalid_grant")
    left = team.lab.sql("select count(*) from ops.refresh_tokens t join ops.member_sessions s on s.id = t.session_id "
                        "where s.ended_at is not null and s.org_id = %s", org_id)  # fmt: skip
    assert left == [(0,)]


def test_registering_and_guessing_are_counted(databases: Databases) -> None:
    with lab_in_temp(databases, rate_anonymous_inits=2, rate_invalid_tokens=3) as lab:
        http = lab.world.http
        codes = [http.post("/oauth/register", json={"redirect_uris": [BACK]}).status_code for _ in range(3)]
        assert codes == [201, 201, 429]
        form = {"grant_type": "authorization_code", "client_id": "builderos-cli", "redirect_uri": BACK,
                "code": "bos_ac_" + "0" * 43}  # fmt: skip
        guesses = [http.post("/oauth/token", data=form).status_code for _ in range(4)]
        assert guesses == [400, 400, 400, 429]


def test_the_cookie_of_a_session_is_no_token(team: Team, program: Program, ann: Browser) -> None:
    refused(program.refresh(ann.cookies[SESSION]), "invalid_grant")
    given = program.whole_way(ann)
    browser = browser_of(team)
    browser.cookies[SESSION] = given["access_token"]
    assert browser.get(program.address()).reply.headers["location"] == "/sign-in"
