"""Signing in at a provider that is not ours: the whole way round, and everything that may be wrong with the answer."""

import base64
import hashlib
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.integrations.oidc.service import OidcProvider
from builderos.trust.orgs.ports import Errand, Providers
from tests.support.databases import Databases
from tests.support.lab import lab_in_temp
from tests.support.oidc import Provider, running_provider
from tests.support.teams import Team
from tests.support.world import Json

CLIENT, SECRET = "builderos", "s3cret/with+signs"
BROWSER, SESSION = "__Host-bos_browser", "__Host-bos"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with running_provider() as made:
        yield made


@pytest.fixture(scope="module")
def team(databases: Databases, provider: Provider) -> Iterator[Team]:
    settings = {"oidc_issuer": provider.issuer, "oidc_client_id": CLIENT, "oidc_client_secret": SECRET}
    with lab_in_temp(databases, **settings) as lab:
        yield Team(lab)


def depart(team: Team) -> tuple[str, str]:
    """Where the browser is sent, and its nonce."""
    reply = team.lab.world.http.get(f"/v1/auth/oidc/start?org_slug={team.slug}", follow_redirects=False)
    assert reply.status_code == 303
    nonce = re.search(rf"{BROWSER}=(\w+);", reply.headers["set-cookie"])
    assert nonce
    return reply.headers["location"], nonce[1]


def arrive(team: Team, nonce: str, **back: str) -> Any:
    headers = {"cookie": f"{BROWSER}={nonce}"}
    return team.lab.world.http.get(
        "/v1/auth/oidc/callback", params=back, headers=headers, follow_redirects=False
    )


def whole_way(team: Team, provider: Provider, sub: str) -> Any:
    address, nonce = depart(team)
    return arrive(team, nonce, **provider.approve(address, sub))


def member_of(team: Team, reply: Any) -> Json:
    """Who is signed in by a reply."""
    assert (reply.status_code, reply.headers["location"]) == (303, "http://127.0.0.1:8420/"), reply.text
    cookie = re.search(rf"{SESSION}=(bos_cs_\w+);", str(reply.headers.get_list("set-cookie")))
    assert cookie
    who = team.lab.world.http.get("/v1/auth/session", headers={"cookie": f"{SESSION}={cookie[1]}"})
    return team.lab.ok(who)


def test_a_member_signs_in_with_a_verified_address_and_is_known_by_id_from_then_on(
    team: Team, provider: Provider
) -> None:
    provider.person("ann-1", email="Ann@acme.example", email_verified=True, name="Ann")
    assert member_of(team, whole_way(team, provider, "ann-1"))["member_id"] == team.owner.id
    provider.person("ann-1", email="ann@elsewhere.example", email_verified=True)
    assert member_of(team, whole_way(team, provider, "ann-1"))["member_id"] == team.owner.id


def test_an_invited_person_joins_by_signing_in(team: Team, provider: Provider) -> None:
    invite = team.invite("ben@acme.example", "reviewer")
    provider.person("ben-1", email="ben@acme.example", email_verified=True, name="Ben")
    signed_in = member_of(team, whole_way(team, provider, "ben-1"))
    assert signed_in["role"] == "reviewer"
    team.lab.problem(team.try_accept(invite["invite_token"]), "token_invalid")


@pytest.mark.parametrize(
    "claims",
    [{"email": "ann@acme.example"}, {"email": "ann@acme.example", "email_verified": False},
     {"email": "ann@acme.example", "email_verified": "true"}, {},
     {"email": "eve@acme.example", "email_verified": True}],
)  # fmt: skip
def test_nobody_gets_in_by_an_address_that_is_unverified_or_unknown(
    team: Team, provider: Provider, claims: Json
) -> None:
    sub = f"eve-{hashlib.sha256(str(claims).encode()).hexdigest()[:8]}"
    provider.person(sub, **claims)
    team.lab.problem(whole_way(team, provider, sub), "policy_denied")


def test_the_way_there_and_back_belongs_to_one_browser_and_is_gone_once(
    team: Team, provider: Provider
) -> None:
    provider.person("ann-1", email="ann@acme.example", email_verified=True)
    address, nonce = depart(team)
    back = provider.approve(address, "ann-1")
    team.lab.problem(arrive(team, "x" * 43, **back), "token_invalid")
    team.lab.problem(arrive(team, nonce, **{**back, "state": "y" * 43}), "token_invalid")
    with team.lab.later(minutes=16):
        team.lab.problem(arrive(team, nonce, **back), "token_invalid")
    assert arrive(team, nonce, **back).status_code == 303
    team.lab.problem(arrive(team, nonce, **back), "token_invalid")


def test_the_code_is_bound_to_the_browser_by_pkce_and_to_us_by_our_secret(
    team: Team, provider: Provider
) -> None:
    address, nonce = depart(team)
    sent = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(address).query))
    assert (sent["response_type"], sent["code_challenge_method"]) == ("code", "S256")
    arrive(team, nonce, **provider.approve(address, "ann-1"))
    asked = provider.asked[-1]
    challenge = base64.urlsafe_b64encode(hashlib.sha256(asked["code_verifier"].encode()).digest())
    assert challenge.rstrip(b"=").decode() == sent["code_challenge"]
    assert len(asked["code_verifier"]) == 43
    assert asked["redirect_uri"] == sent["redirect_uri"] == "http://127.0.0.1:8420/v1/auth/oidc/callback"
    assert asked["code_verifier"] not in str(team.lab.sql("select * from ops.sign_ins"))
    assert SECRET not in str(asked) + address


def test_a_wrong_code_or_a_refusal_signs_nobody_in(team: Team, provider: Provider) -> None:
    for back in ({"code": "invented"}, {"error": "access_denied"}):
        address, nonce = depart(team)
        state = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(address).query))["state"]
        assert arrive(team, nonce, state=state, **back).json()["code"] in ("token_invalid", "policy_denied")


FOREIGN = RSAKey.generate_key(2048, {"kid": "foreign"})


def _none(claims: Json, _token: str) -> str:
    parts = ({"alg": "none"}, claims)
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*texts, ""])


def _unsigned_change(claims: Json, token: str) -> str:
    head, _, signature = token.split(".")
    body = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "ann-2"}).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


FORGERIES: dict[str, Callable[[Json, str], str]] = {
    "another key": lambda claims, _: jwt.encode({"alg": "RS256", "kid": "foreign"}, claims, FOREIGN),
    "no signature": _none,
    "a shared secret": lambda c, _: jwt.encode(
        {"alg": "HS256"}, c, OctKey.import_key(SECRET + "0" * 32), algorithms=["HS256"]
    ),
    "changed after signing": _unsigned_change,
    "nothing": lambda _claims, _token: "",
    "no token": lambda _claims, _token: "a.b.c",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_token_is_refused(team: Team, provider: Provider, forgery: str) -> None:
    provider.sign = FORGERIES[forgery]
    try:
        team.lab.problem(whole_way(team, provider, "ann-1"), "token_invalid")
    finally:
        provider.sign = None


class Signed:
    """A provider in this process that signs whatever it is told, to look at one claim at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
        key = RSAKey.generate_key(2048, {"kid": "k"})
        issuer, now = "https://id.example", int(time.time())
        claims = {
            "iss": issuer, "aud": CLIENT, "sub": "s", "nonce": "n", "iat": now, "exp": now + 60,
            "email": "A@b.example", "email_verified": True,
        }  # fmt: skip
        claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        answers = {
            "/.well-known/openid-configuration": {
                "issuer": issuer, "token_endpoint": f"{issuer}/token", "jwks_uri": f"{issuer}/jwks",
                "authorization_endpoint": f"{issuer}/auth", "authorization_response_iss_parameter_supported": True,
            },
            "/token": {"id_token": jwt.encode({"alg": "RS256", "kid": "k"}, claims, key)},
            "/jwks": {"keys": [key.as_dict(private=False)]},
        }  # fmt: skip
        self.provider = OidcProvider(issuer, CLIENT, None)
        monkeypatch.setattr(self.provider, "_ask", lambda url, *_: answers[urllib.parse.urlsplit(url).path])

    def exchange(self, issuer: str | None = "https://id.example") -> Any:
        return self.provider.exchange(Errand("s", "n", "v"), "https://us.example/back", "c", issuer)


def test_a_token_that_is_right_in_every_claim_names_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    person = Signed(monkeypatch, aud=[CLIENT, "other"], azp=CLIENT).exchange()
    assert (person.issuer, person.subject, person.email) == ("https://id.example", "s", "a@b.example")


@pytest.mark.parametrize(
    "changes",
    [{"iss": "https://id.example/"}, {"aud": "other"}, {"aud": ["other"]}, {"nonce": "m"}, {"nonce": None},
     {"exp": 1}, {"exp": None}, {"iat": None}, {"sub": None}, {"azp": "other"}, {"iat": 2**33}, {"aud": None}],
    ids=str,
)  # fmt: skip
def test_a_token_with_one_wrong_claim_is_refused(monkeypatch: pytest.MonkeyPatch, changes: Json) -> None:
    with pytest.raises(Problem) as refused:
        Signed(monkeypatch, **changes).exchange()
    assert refused.value.code == "token_invalid"


@pytest.mark.parametrize("issuer", [None, "https://evil.example"])
def test_an_answer_that_names_another_issuer_is_refused(
    monkeypatch: pytest.MonkeyPatch, issuer: str | None
) -> None:
    with pytest.raises(Problem) as refused:
        Signed(monkeypatch).exchange(issuer)
    assert refused.value.code == "token_invalid"


def test_a_provider_is_asked_over_https_follows_nowhere_and_must_be_who_it_says(provider: Provider) -> None:
    for issuer in ("http://id.example", "ftp://127.0.0.1", provider.issuer + "/", "http://127.0.0.1:9"):
        with pytest.raises(Problem) as refused:
            OidcProvider(issuer, CLIENT, None).address(Errand("s", "n", "v"), "x")
        assert refused.value.code == "upstream_failed"


def test_a_server_without_a_provider_says_so(databases: Databases) -> None:
    with lab_in_temp(databases) as lab:
        assert isinstance(lab.world.context, Context)
        assert lab.world.context.get(Providers).provider is None
        lab.problem(lab.world.http.get("/v1/auth/oidc/start"), "not_found")


def test_nobody_learns_from_the_departure_which_organisations_there_are(
    team: Team, provider: Provider
) -> None:
    reply = team.lab.world.http.get("/v1/auth/oidc/start?org_slug=no-such-org", follow_redirects=False)
    assert reply.status_code == 303
    nonce = re.search(rf"{BROWSER}=(\w+);", reply.headers["set-cookie"])
    assert nonce
    back = provider.approve(reply.headers["location"], "ann-1")
    team.lab.problem(arrive(team, nonce[1], **back), "token_invalid")
