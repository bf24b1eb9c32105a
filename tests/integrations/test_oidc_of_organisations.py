"""Providers that organisations choose for themselves: who gets in, as what, and what strangers learn of them."""

import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.oauth import Browser, browser_of, register
from tests.support.oidc import Provider, running_provider
from tests.support.teams import Team
from tests.support.world import Json

_numbers = count()
SESSION = "__Host-bos"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with running_provider() as made:
        yield made


@pytest.fixture(scope="module")
def lab(databases: Databases) -> Iterator[Lab]:
    with lab_in_temp(databases, oidc_networks="127.0.0.0/8") as made:
        yield made


@pytest.fixture
def team(lab: Lab) -> Team:
    return Team(lab)


def connect(team: Team, provider: Provider, **body: Any) -> Json:
    """Let the team's members sign in there."""
    whole = {
        "label": "Acme ID",
        "issuer": provider.issuer,
        "client_id": "us",
        "client_secret": "s3cret",
        **body,
    }
    return team.lab.ok(team.owner.call("POST", "/v1/identity-providers", **whole), 201)


def sign_in(browser: Browser, provider: Provider, made: Json, sub: str) -> Any:
    """The whole way there and back."""
    away = browser.get(f"/v1/auth/oidc/start?provider={made['id']}")
    assert away.reply.status_code == 303, away.text
    address = away.reply.headers["location"]
    assert address.startswith(provider.issuer)
    back = provider.approve(address, sub)
    query = "&".join(f"{name}={value}" for name, value in back.items())
    return browser.get(f"/v1/auth/oidc/callback?{query}").reply


def who(browser: Browser, team: Team) -> Json:
    return team.lab.ok(browser.get("/v1/auth/session").reply)


def test_a_colleague_joins_with_an_address_of_the_organisation(team: Team, provider: Provider) -> None:
    made = connect(team, provider, domains=["acme.example"], join_role="builder")
    provider.person("cy", email="Cy@acme.example", email_verified=True, name="Cy")
    browser = browser_of(team)
    assert sign_in(browser, provider, made, "cy").status_code == 303
    joined = who(browser, team)
    assert (joined["role"], joined["org_slug"]) == ("builder", team.slug)
    members = team.lab.ok(team.owner.call("GET", "/v1/members"))["items"]
    assert [m["name"] for m in members if m["email"] == "cy@acme.example"] == ["Cy"]
    again = browser_of(team)
    sign_in(again, provider, made, "cy")
    assert who(again, team)["member_id"] == joined["member_id"]
    events = team.lab.sql("select body from ops.ledger where strpos(body, 'member.joined') > 0")
    assert made["id"] in str(events)


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "eve@evil.example", "email_verified": True}, {"email": "eve@acme.example", "email_verified": False},
        {"email": "eve@acme.example"}, {"email": "eve@acme.example.evil.example", "email_verified": True},
        {"email": "acme.example", "email_verified": True}, {"email": "eve@sub.acme.example", "email_verified": True},
        {"email": "eve@acme.example@evil.example", "email_verified": True}, {},
    ],
)  # fmt: skip
def test_nobody_else_does(team: Team, provider: Provider, claims: Json) -> None:
    made = connect(team, provider, domains=["acme.example"], join_role="builder")
    sub = f"eve{next(_numbers)}"
    provider.person(sub, **claims)
    browser = browser_of(team)
    team.lab.problem(sign_in(browser, provider, made, sub), "policy_denied")
    assert SESSION not in browser.cookies


def test_without_a_role_to_join_an_invite_comes_first(team: Team, provider: Provider) -> None:
    made = connect(team, provider)
    provider.person("dan", email="dan@else.example", email_verified=True)
    team.lab.problem(sign_in(browser_of(team), provider, made, "dan"), "policy_denied")
    team.invite("dan@else.example", "reviewer")
    browser = browser_of(team)
    sign_in(browser, provider, made, "dan")
    assert who(browser, team)["role"] == "reviewer"


def test_an_address_that_leaves_the_domain_does_not_come_back(team: Team, provider: Provider) -> None:
    made = connect(team, provider, domains=["acme.example"], join_role="viewer")
    provider.person("flo", email="flo@acme.example", email_verified=True)
    assert sign_in(browser_of(team), provider, made, "flo").status_code == 303
    provider.person("flo", email="flo@gone.example", email_verified=True)
    team.lab.problem(sign_in(browser_of(team), provider, made, "flo"), "policy_denied")


def test_a_provider_changes_without_changing_its_address(team: Team, provider: Provider) -> None:
    made = connect(team, provider, domains=["acme.example"])
    path = f"/v1/identity-providers/{made['id']}"
    provider.person("ida", email="ida@acme.example", email_verified=True)
    team.lab.problem(sign_in(browser_of(team), provider, made, "ida"), "policy_denied")
    changed = team.lab.ok(team.owner.call("POST", path, join_role="viewer", client_secret="n3w", listed=True))
    assert (changed["join_role"], changed["listed"], changed["domains"]) == ("viewer", True, ["acme.example"])
    assert changed["sign_in_url"] == made["sign_in_url"]
    assert sign_in(browser_of(team), provider, made, "ida").status_code == 303
    team.lab.problem(team.owner.call("POST", path, domains=[]), "validation_failed")
    team.lab.problem(team.owner.call("POST", path, issuer="https://evil.example"), "validation_failed")
    assert team.lab.ok(team.owner.call("POST", path, join_role=None))["join_role"] is None
    other = Team(team.lab)
    team.lab.problem(other.owner.call("POST", path, listed=False), "not_found")
    kept = str(team.lab.sql("select * from ops.identity_providers")) + str(
        team.lab.sql("select * from ops.ledger")
    )
    assert "n3w" not in kept


def test_a_provider_of_one_organisation_signs_nobody_into_another(lab: Lab, provider: Provider) -> None:
    mine, theirs = Team(lab), Team(lab)
    made = connect(mine, provider, domains=["acme.example"], join_role="viewer")
    connect(theirs, provider, client_id="them")
    provider.person("ann", email="ann@acme.example", email_verified=True)
    browser = browser_of(mine)
    sign_in(browser, provider, made, "ann")
    assert who(browser, mine)["member_id"] == mine.owner.id
    assert who(browser, mine)["member_id"] != theirs.owner.id


def test_a_sign_in_ends_with_its_provider(team: Team, provider: Provider) -> None:
    made = connect(team, provider, domains=["acme.example"], join_role="viewer")
    provider.person("gus", email="gus@acme.example", email_verified=True)
    browser = browser_of(team)
    address = browser.get(f"/v1/auth/oidc/start?provider={made['id']}").reply.headers["location"]
    back = provider.approve(address, "gus")
    team.lab.ok(team.owner.call("DELETE", f"/v1/identity-providers/{made['id']}"))
    query = "&".join(f"{name}={value}" for name, value in back.items())
    team.lab.problem(browser.get(f"/v1/auth/oidc/callback?{query}").reply, "not_found")
    team.lab.problem(browser.get(f"/v1/auth/oidc/start?provider={made['id']}").reply, "not_found")
    assert team.lab.ok(team.owner.call("GET", "/v1/identity-providers"))["items"] == []


def test_the_page_shows_strangers_only_what_owners_list(lab: Lab, provider: Provider) -> None:
    hidden, listed = Team(lab), Team(lab)
    secret = connect(hidden, provider, label="Secret Corp")
    connect(listed, provider, label="<b>Public</b> & Sons", listed=True)
    browser = browser_of(hidden)
    page = browser.get("/sign-in").text
    assert "&lt;b&gt;Public&lt;/b&gt; &amp; Sons" in page
    for word in ("Secret Corp", hidden.slug, listed.slug, secret["id"]):
        assert word not in page
    own = browser.get(secret["sign_in_url"].removeprefix("http://127.0.0.1:8420")).text
    assert "Continue with Secret Corp" in own
    assert hidden.slug not in own
    for guess in ("idp_" + "0" * 26, "nonsense", hidden.slug, hidden.made["id"]):
        lab.problem(browser.get(f"/sign-in?provider={guess}").reply, "not_found")
        lab.problem(browser.get(f"/v1/auth/oidc/start?provider={guess}").reply, "not_found")


def test_a_member_comes_back_from_the_provider_to_the_program_that_asked(
    team: Team, provider: Provider
) -> None:
    made = connect(team, provider, domains=["acme.example"], join_role="builder")
    provider.person("hal", email="hal@acme.example", email_verified=True)
    program, browser = register(team), browser_of(team)
    assert browser.get(program.address()).reply.headers["location"] == "/sign-in"
    home = sign_in(browser, provider, made, "hal").headers["location"]
    assert home == f"http://127.0.0.1:8420{program.address()}"
    code = browser.decide(browser.get(program.address())).back["code"]
    assert program.redeem(code).status_code == 200


@pytest.mark.parametrize(
    "issuer",
    [
        "http://id.example", "https://user@id.example", "https://id.example/#x", "https://id.example/?x=1",
        "https://127.0.0.1", "https://[::1]", "https://169.254.169.254", "https://10.0.0.1", "https://2130706433",
        "https://id.example:22", "https://[::ffff:127.0.0.1]", "nonsense", "https://x y", "ftp://id.example",
    ],
)  # fmt: skip
def test_an_organisation_cannot_point_this_server_at_its_own_network(plain: Team, issuer: str) -> None:
    body = {"label": "x", "issuer": issuer, "client_id": "x"}
    plain.lab.problem(plain.owner.call("POST", "/v1/identity-providers", **body), "validation_failed")


@pytest.fixture(scope="module")
def plain(databases: Databases) -> Iterator[Team]:
    with lab_in_temp(databases) as lab:
        yield Team(lab)


def test_a_name_that_leads_into_the_own_network_is_not_dialled(
    plain: Team, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"label": "x", "issuer": "https://id.rebound.example", "client_id": "x"}
    made = plain.lab.ok(plain.owner.call("POST", "/v1/identity-providers", **body), 201)
    row = (2, 1, 6, "", ("127.0.0.1", 443))
    monkeypatch.setattr("builderos.core.dialing.socket.getaddrinfo", lambda *_a, **_k: [row])
    reply = browser_of(plain).get(f"/v1/auth/oidc/start?provider={made['id']}").reply
    assert "127.0.0.1" not in plain.lab.problem(reply, "upstream_failed")["detail"]
    assert provider.asked is not None


def test_what_is_wrong_with_a_provider_is_said_before_it_is_kept(team: Team, provider: Provider) -> None:
    whole = {"label": "x", "issuer": provider.issuer, "client_id": "x"}
    for body in (
        {"join_role": "viewer"}, {"join_role": "admin", "domains": ["acme.example"]}, {"domains": ["ACME.example"]},
        {"domains": ["acme"]}, {"domains": ["a b.example"]}, {"domains": ["*.example"]}, {"label": ""},
    ):  # fmt: skip
        team.lab.problem(
            team.owner.call("POST", "/v1/identity-providers", **whole | body), "validation_failed"
        )
    for _ in range(10):
        connect(team, provider)
    team.lab.problem(team.owner.call("POST", "/v1/identity-providers", **whole), "quota_exceeded")


def test_owners_alone_choose_whom_the_organisation_trusts_and_nobody_reads_the_secret(
    team: Team, provider: Provider
) -> None:
    made = connect(team, provider)
    for refusing in (team.join("admin"), team.join("builder")):
        for method, path in (("GET", ""), ("DELETE", f"/{made['id']}")):
            reply = refusing.call(method, f"/v1/identity-providers{path}")
            team.lab.problem(reply, "policy_denied")
    shown = str(team.lab.ok(team.owner.call("GET", "/v1/identity-providers")))
    stored = str(team.lab.sql("select * from ops.identity_providers")) + str(
        team.lab.sql("select * from ops.ledger")
    )
    assert "s3cret" not in shown + stored
    assert not re.search("client_secret", shown)
