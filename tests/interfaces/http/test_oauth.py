"""Letting programs in: codes, tokens, consent, and everything that somebody in between may try."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.support.databases import Databases
from tests.support.lab import lab_in_temp
from tests.support.oauth import NEXT, Browser, Program, browser_of, call, member, refused, register
from tests.support.teams import Team, calls_that_let_in

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


# ------------------------------------------------------------ the way through


def test_a_program_gets_tokens_that_carry_what_the_member_agreed_to(
    team: Team, program: Program, ann: Browser
) -> None:
    page = ann.get(program.address(scope="read write admin"))
    for said in ("Studio", team.slug, "http://127.0.0.1:7171", "nobody has checked it"):
        assert said in page.text
    back = ann.decide(page, without=("write",)).back
    assert (back["state"], back["iss"]) == ("s&1", SITE)
    given = program.redeem(back["code"]).json()
    assert (given["token_type"], given["scope"], given["expires_in"]) == ("Bearer", "read admin", 900)
    me = team.lab.ok(call(team, given["access_token"], path="/v1/me"))
    assert (me["role"], me["scopes"], me["org_slug"]) == ("org_owner", ["admin", "read"], team.slug)
    team.lab.problem(
        call(team, given["access_token"], "POST", "/sandbox/init", repo_name="shop"), "policy_denied"
    )
    listed = team.lab.ok(ann.get("/v1/me/sessions").reply)["items"]
    assert any(
        (s["method"], s["client_id"], s["scopes"]) == ("code", program.id, ["read", "admin"]) for s in listed
    )
    assert given["access_token"] not in str(team.lab.sql("select * from ops.credentials"))
    assert back["code"].encode() not in str(team.lab.sql("select * from ops.oauth_codes")).encode()


def test_a_role_gives_no_more_than_it_has(team: Team, program: Program) -> None:
    viewer = member(team, "viewer", f"v{next(_numbers)}@acme.example")
    page = viewer.get(program.address(scope="read write approve admin"))
    assert [v for n, v in page.fields if n == "grant"] == ["read"]
    forged = [(n, v) for n, v in page.fields if n != "grant"] + [("grant", "admin"), ("decision", "allow")]
    assert viewer.form("/oauth/authorize", forged).back["error"] == "access_denied"
    assert viewer.get(program.address(scope="admin")).back["error"] == "invalid_scope"
    nothing = viewer.decide(page, without=("read",)).back
    assert nothing["error"] == "access_denied"
    assert viewer.decide(page, "deny").back["error"] == "access_denied"


def test_somebody_who_is_not_signed_in_signs_in_first_and_comes_back(team: Team, program: Program) -> None:
    browser = browser_of(team)
    address = program.address(scope="read")
    page = browser.get(address)
    assert (page.reply.status_code, page.reply.headers["location"]) == (303, "/sign-in")
    invite = team.invite(f"late{next(_numbers)}@acme.example", "builder")["invite_token"]
    assert browser.join(invite)["next"] == address
    assert browser.cookies[NEXT] == ""
    assert program.redeem(browser.decide(browser.get(address)).back["code"]).status_code == 200


@pytest.mark.parametrize(
    "way",
    ["//evil.example", "https://evil.example", "/oauth/authorize\\@evil", "/v1/me", "/device\r\nx: y", "é"],
)
def test_a_sign_in_leads_on_to_nothing_but_our_own_questions(team: Team, way: str) -> None:
    browser = browser_of(team)
    browser.cookies[NEXT] = base64.urlsafe_b64encode(way.encode()).rstrip(b"=").decode()
    invite = team.invite(f"open{next(_numbers)}@acme.example", "viewer")["invite_token"]
    assert browser.join(invite)["next"] is None


def test_the_server_says_where_everything_is(team: Team) -> None:
    http = team.lab.world.http
    server = http.get("/.well-known/oauth-authorization-server").json()
    assert (server["issuer"], server["code_challenge_methods_supported"]) == (SITE, ["S256"])
    assert server["authorization_response_iss_parameter_supported"] is True
    for part in ("", "/mcp", "/mcp/acme"):
        told = http.get(f"/.well-known/oauth-protected-resource{part}").json()
        assert (told["resource"], told["authorization_servers"]) == (SITE + part, [SITE])
        assert told["bearer_methods_supported"] == ["header"]
    team.lab.problem(http.get("/.well-known/oauth-protected-resource/mcp/No%20org"), "not_found")
    local = http.get("/.well-known/oauth-authorization-server", headers={"host": "localhost:8420"}).json()
    assert local["issuer"] == "http://localhost:8420", "what a client of this machine calls the server"


def test_a_program_makes_no_credential_that_would_outlive_it(
    team: Team, program: Program, ann: Browser
) -> None:
    token = program.whole_way(ann, scope="read write admin")["access_token"]
    body = {"label": "x", "scopes": ["read"]}
    for path in ("/v1/tokens", "/v1/api-keys"):
        problem = team.lab.problem(call(team, token, "POST", path, **body), "policy_denied")
        assert problem["policy_rule"] == "by-oneself"
    other = team.join("org_owner")
    for method, path in (
        ("POST", f"/v1/orgs/{team.made['id']}/close"),
        ("DELETE", "/v1/me/membership"),
        ("POST", f"/v1/members/{other.id}/ownership"),
    ):
        said = {} if "ownership" in path else {"confirm": team.slug}
        problem = team.lab.problem(call(team, token, method, path, **said), "policy_denied")
        assert problem["policy_rule"] == "by-oneself", path
    service = team.lab.ok(team.owner.call("POST", "/v1/service-accounts", label="ci", role="viewer"), 201)
    theirs = call(team, token, "POST", "/v1/tokens", service_account=service["id"], **body)
    team.lab.problem(theirs, "policy_denied")


def test_a_program_lets_nobody_in_and_gives_no_rights(team: Team, program: Program, ann: Browser) -> None:
    token, viewer = program.whole_way(ann, scope="read write admin")["access_token"], team.join("viewer")
    provider = {"label": "x", "issuer": "https://id.x.example", "client_id": "x"}
    for path, body in [*calls_that_let_in(viewer.id), ("/v1/identity-providers", provider)]:
        problem = team.lab.problem(call(team, token, "POST", path, **body), "policy_denied")
        assert problem["policy_rule"] == "by-oneself", path


# ------------------------------------------------------------ what a resource server answers


def test_a_refusal_leads_to_a_credential(team: Team, program: Program, ann: Browser) -> None:
    http, root = team.lab.world.http, f'resource_metadata="{SITE}/.well-known/oauth-protected-resource'
    none = http.get("/v1/repos").headers["www-authenticate"]
    assert none == f'Bearer realm="builderos", scope="read write promote", {root}"'
    wrong = http.get("/v1/repos", headers={"authorization": "Bearer nonsense"}).headers["www-authenticate"]
    assert wrong == f'Bearer realm="builderos", error="invalid_token", {root}"'
    token = program.whole_way(ann, scope="read")["access_token"]
    reply = call(team, token, path="/v1/audit")
    problem = team.lab.problem(reply, "policy_denied")
    assert problem["scope"] == "admin"
    expected = f'Bearer realm="builderos", error="insufficient_scope", scope="admin", {root}"'
    assert reply.headers["www-authenticate"] == expected
    viewer = team.join("viewer")
    assert "www-authenticate" not in viewer.call("GET", "/v1/audit").headers, "no scope would help this role"
    chat = http.post("/git/log", json={"repo_name": "shop", "branch": "main"})
    assert chat.headers["www-authenticate"].endswith(f'{root}"')
    assert (
        http.get("/git/lab.git/info/refs?service=git-upload-pack")
        .headers["www-authenticate"]
        .startswith("Basic")
    )


def test_git_takes_a_token_of_the_whole_server_as_password(
    team: Team, program: Program, ann: Browser
) -> None:
    refs = "/git/shop.git/info/refs?service=git-upload-pack"
    whole = program.whole_way(ann)["access_token"]
    part = program.whole_way(ann, resource=f"{SITE}/mcp")["access_token"]
    statuses = [team.lab.world.http.get(refs, auth=("me", token)).status_code for token in (whole, part)]
    assert statuses == [200, 401]


def test_a_token_in_the_address_is_no_credential(team: Team, program: Program, ann: Browser) -> None:
    token = program.whole_way(ann)["access_token"]
    for path in ("/v1/repos", "/v1/me", "/git/log"):
        reply = team.lab.world.http.request("GET", f"{path}?access_token={token}")
        team.lab.problem(reply, "validation_failed")
        assert token not in reply.text


def test_a_token_for_one_part_of_the_server_opens_no_other(
    team: Team, program: Program, ann: Browser
) -> None:
    address = program.address(resource=f"{SITE}/mcp")
    code = ann.decide(ann.get(address)).back["code"]
    refused(program.redeem(code, resource=SITE), "invalid_grant")
    given = program.redeem(code, resource=f"{SITE}/mcp").json()
    team.lab.problem(call(team, given["access_token"]), "token_invalid")
    refused(program.refresh(given["refresh_token"], resource=SITE), "invalid_scope")
    for foreign in (
        "https://evil.example/mcp",
        f"{SITE}1/mcp",
        f"{SITE}/v1",
        f"{SITE}/mcp/../v1",
        f"{SITE}@evil/mcp",
    ):
        assert ann.get(program.address(resource=foreign)).back["error"] == "invalid_target"


# ------------------------------------------------------------ codes


def test_a_code_is_good_for_its_program_its_address_and_its_verifier_alone(
    team: Team, program: Program, ann: Browser
) -> None:
    other = register(team)
    code = ann.decide(ann.get(program.address())).back["code"]
    other.verifier = program.verifier
    refused(other.redeem(code), "invalid_grant")
    for changes in (
        {"redirect_uri": "http://127.0.0.1:1/done"}, {"code_verifier": "x" * 43}, {"code_verifier": None},
        {"code_verifier": program.challenge}, {"code_verifier": ""},
    ):  # fmt: skip
        refused(program.redeem(code, **changes), "invalid_grant")
    refused(program.redeem("bos_ac_" + "0" * 43), "invalid_grant")
    refused(program.redeem(code, redirect_uri=None), "invalid_request")
    with team.lab.later(seconds=61):
        refused(program.redeem(code), "invalid_grant")
    assert program.redeem(code).status_code == 200


def test_a_code_that_comes_twice_ends_what_it_gave_and_raises_an_alert(
    team: Team, program: Program, ann: Browser
) -> None:
    code = ann.decide(ann.get(program.address())).back["code"]
    given = program.redeem(code).json()
    team.lab.ok(call(team, given["access_token"]))
    refused(program.redeem(code), "invalid_grant")
    team.lab.problem(call(team, given["access_token"]), "token_invalid")
    refused(program.refresh(given["refresh_token"]), "invalid_grant")
    alerts = team.lab.ok(team.owner.call("GET", "/v1/alerts", rule="token_abuse"))["items"]
    assert "authorization code used twice" in [a["detail"]["why"] for a in alerts]


def test_of_two_who_redeem_a_code_at_once_one_wins(team: Team, program: Program, ann: Browser) -> None:
    for _ in range(3):
        code = ann.decide(ann.get(program.address())).back["code"]
        with ThreadPoolExecutor(4) as pool:
            replies = list(pool.map(lambda _, c=code: program.redeem(c), range(4)))
        assert sorted(r.status_code for r in replies) == [200, 400, 400, 400]
        won = next(r for r in replies if r.status_code == 200).json()
        team.lab.problem(call(team, won["access_token"]), "token_invalid")


def test_a_stolen_code_that_is_put_into_anothers_sign_in_gives_nothing(
    team: Team, program: Program, ann: Browser
) -> None:
    """Code injection: the attacker's own program instance sends the victim's code with its own verifier."""
    stolen = ann.decide(ann.get(program.address())).back["code"]
    attacker = Program(team, program.id)
    refused(attacker.redeem(stolen), "invalid_grant")
    assert program.redeem(stolen).status_code == 200, "the victim is not kept out by that"


# ------------------------------------------------------------ refresh and revocation


def test_a_refresh_token_turns_over_and_a_second_use_ends_the_family_with_an_alert(
    team: Team, program: Program, ann: Browser
) -> None:
    first = program.whole_way(ann)
    second = program.refresh(first["refresh_token"]).json()
    assert second["scope"] == first["scope"]
    less = program.refresh(second["refresh_token"], scope="read").json()
    assert less["scope"] == "read"
    refused(program.refresh(less["refresh_token"], scope="read admin"), "invalid_scope")
    again = program.refresh(less["refresh_token"]).json()
    assert again["scope"] == "read write", "what was given is kept"
    refused(program.refresh(second["refresh_token"]), "invalid_grant")
    for token in (first, second, less, again):
        team.lab.problem(call(team, token["access_token"]), "token_invalid")
    refused(program.refresh(again["refresh_token"]), "invalid_grant")
    alerts = team.lab.ok(team.owner.call("GET", "/v1/alerts", rule="token_abuse"))["items"]
    assert "refresh token used twice" in [a["detail"]["why"] for a in alerts]


def test_a_refresh_token_of_a_program_is_good_for_that_program_alone(
    team: Team, program: Program, ann: Browser
) -> None:
    given = program.whole_way(ann)
    refused(register(team).refresh(given["refresh_token"]), "invalid_grant")
    plain = team.lab.world.http.post("/v1/auth/refresh", json={"refresh_token": given["refresh_token"]})
    team.lab.problem(plain, "token_invalid")
    own = team.lab.world.http.post(
        "/v1/auth/refresh", json={"refresh_token": team.join("viewer").tokens["refresh_token"]}
    )
    team.lab.ok(own)
    refused(program.refresh(team.join("viewer").tokens["refresh_token"]), "invalid_grant")
    assert program.refresh(given["refresh_token"]).status_code == 200


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_a_program_gives_its_tokens_back(team: Team, program: Program, ann: Browser, which: str) -> None:
    given = program.whole_way(ann)
    other = register(team)
    assert other.post("/oauth/revoke", client_id=other.id, token=given[which]).status_code == 200
    team.lab.ok(call(team, given["access_token"]))
    assert program.post("/oauth/revoke", client_id=program.id, token=given[which]).json() == {}
    team.lab.problem(call(team, given["access_token"]), "token_invalid")
    assert program.post("/oauth/revoke", client_id=program.id, token="nonsense").status_code == 200


def test_tokens_end_with_time_with_the_membership_and_with_the_member_s_word(
    team: Team, program: Program, ann: Browser
) -> None:
    given = program.whole_way(ann)
    with team.lab.later(minutes=16):
        team.lab.problem(call(team, given["access_token"]), "token_expired")
    sessions = team.lab.ok(call(team, given["access_token"], path="/v1/me/sessions"))["items"]
    mine = next(s["id"] for s in sessions if s["method"] == "code")
    browser = member(team, "viewer", f"gone{next(_numbers)}@acme.example")
    theirs = program.whole_way(browser)
    id_ = team.lab.ok(call(team, theirs["access_token"], path="/v1/me"))["id"]
    team.lab.ok(call(team, given["access_token"], "DELETE", f"/v1/me/sessions/{mine}"))
    team.lab.problem(call(team, given["access_token"]), "token_invalid")
    code = browser.decide(browser.get(program.address())).back["code"]
    team.lab.ok(team.owner.call("DELETE", f"/v1/members/{id_}"))
    team.lab.problem(call(team, theirs["access_token"]), "token_invalid")
    refused(program.refresh(theirs["refresh_token"]), "invalid_grant")
    refused(program.redeem(code), "invalid_grant")
