"""Whatever is sent to the doors of OAuth, the answer is a refusal of ours, and no log or answer repeats a secret."""

import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.databases import Databases
from tests.support.lab import lab_in_temp
from tests.support.oauth import Browser, Program, browser_of, member, register
from tests.support.teams import Team

FORM = {"content-type": "application/x-www-form-urlencoded"}
NAMES = st.sampled_from([
    "response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method",
    "resource", "prompt", "grant_type", "code", "code_verifier", "refresh_token", "device_code", "user_code", "token",
    "csrf", "decision", "grant", "client_secret", "request_uri",
])  # fmt: skip
FUZZ = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def team(databases: Databases) -> Iterator[Team]:
    with lab_in_temp(databases) as lab:
        yield Team(lab)


@pytest.fixture(scope="module")
def program(team: Team) -> Program:
    return register(team)


@pytest.fixture(scope="module")
def ann(team: Team) -> Browser:
    return member(team, "org_owner", "ann2@acme.example")


def values(program: Program) -> st.SearchStrategy[str]:
    """What a parameter might hold: sensible words, and anything at all."""
    sensible = [program.id, program.redirect_uri, "builderos-cli", "code", "S256", program.challenge, program.verifier,
                "authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code", "read", "allow",
                "bos_ac_" + "0" * 43, "bos_rf_" + "0" * 43, "BCDF-GHJK", "http://127.0.0.1/mcp"]  # fmt: skip
    return st.one_of(st.sampled_from(sensible), st.text(max_size=60))


def sound(reply: Any) -> None:
    """No fault of ours, and nobody is sent anywhere but to the registered address or our own page."""
    assert reply.status_code < 500, reply.text
    there = reply.headers.get("location", "/sign-in")
    assert there == "/sign-in" or there.startswith("http://127.0.0.1:7171/done?"), there


@FUZZ
@given(data=st.data())
def test_no_request_is_too_odd(team: Team, program: Program, ann: Browser, data: Any) -> None:
    pairs = data.draw(st.lists(st.tuples(NAMES, values(program)), max_size=12))
    text = urlencode([(name, value.encode("utf-8", "replace")) for name, value in pairs])
    http = team.lab.world.http
    for browser in (ann, browser_of(team)):
        sound(browser.get(f"/oauth/authorize?{text}").reply)
        sound(browser.get(f"/device?{text}").reply)
        for path in ("/oauth/authorize", "/device"):
            sound(browser.form(path, [(n, v.encode("utf-8", "replace").decode()) for n, v in pairs]).reply)
    for path in ("/oauth/token", "/oauth/revoke", "/oauth/device_authorization"):
        reply = http.post(path, content=text, headers=FORM)
        sound(reply)
        assert reply.status_code == 200 or "error" in reply.json() or "code" in reply.json()


@FUZZ
@given(body=st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["redirect_uris", "client_name", "token_endpoint_auth_method", "jwks"]), inner, max_size=4),
    max_leaves=12,
))  # fmt: skip
def test_no_registration_is_too_odd(team: Team, body: Any) -> None:
    text = json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    sound(team.lab.world.http.post("/oauth/register", content=text, headers=headers))
    for path in ("/v1/auth/invite", "/v1/auth/link"):
        sound(team.lab.world.http.post(path, content=text, headers=headers))


@FUZZ
@given(raw=st.binary(max_size=80))
def test_no_bytes_are_too_odd(team: Team, raw: bytes) -> None:
    http = team.lab.world.http
    for path in ("/oauth/token", "/oauth/authorize", "/device"):
        sound(http.post(path, content=raw, headers=FORM, follow_redirects=False))
    basic = {**FORM, "authorization": "Basic " + raw.hex()}
    sound(http.post("/oauth/token", content=b"grant_type=refresh_token", headers=basic))


def test_no_log_holds_a_secret(
    team: Team, program: Program, ann: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    page = ann.get(program.address())
    code = ann.decide(page).back["code"]
    given_ = program.redeem(code).json()
    again = program.refresh(given_["refresh_token"]).json()
    program.refresh(given_["refresh_token"])
    program.redeem(code)
    program.post("/oauth/revoke", client_id=program.id, token=again["refresh_token"])
    csrf = next(value for name, value in page.fields if name == "csrf")
    secrets = [
        code,
        csrf,
        program.verifier,
        *(t[k] for t in (given_, again) for k in ("access_token", "refresh_token")),
    ]
    ours = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("httpx"))
    assert ours
    assert [secret for secret in secrets if secret in ours] == []
