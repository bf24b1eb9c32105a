"""Machines without a browser: a short code that a member types elsewhere (RFC 8628)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from unittest import mock

import pytest

from builderos.core.clock import utcnow
from builderos.trust.orgs import service as orgs
from tests.support.databases import Databases
from tests.support.lab import lab_in_temp
from tests.support.oauth import Browser, Page, Program, browser_of, call, member, refused, register
from tests.support.teams import Team
from tests.support.world import Json

_numbers = count()
GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(scope="module")
def team(databases: Databases) -> Iterator[Team]:
    with lab_in_temp(databases) as lab:
        yield Team(lab)


@pytest.fixture(scope="module")
def machine(team: Team) -> Program:
    return Program(team, "builderos-cli")


@pytest.fixture
def ann(team: Team) -> Browser:
    return member(team, "org_owner", f"ann{next(_numbers)}@acme.example")


def begin(machine: Program, **form: str) -> Json:
    return machine.team.lab.ok(machine.post("/oauth/device_authorization", client_id=machine.id, **form))


def poll(machine: Program, shown: Json) -> object:
    return machine.token(grant_type=GRANT, device_code=shown["device_code"])


def typed(browser: Browser, code: str) -> Page:
    """The question that follows when this code is typed."""
    page = browser.get("/device")
    return browser.form("/device", [*((n, v) for n, v in page.fields if n == "csrf"), ("user_code", code)])


def test_a_machine_is_let_in_by_a_code_that_is_typed_elsewhere(
    team: Team, machine: Program, ann: Browser
) -> None:
    shown = begin(machine, scope="read write")
    assert shown["verification_uri"] == "http://127.0.0.1/device"
    refused(poll(machine, shown), "authorization_pending")
    page = typed(ann, f" {shown['user_code'].lower().replace('-', ' ')} ")
    assert "Go on only if you have just started this" in page.text
    assert "comes with BuilderOS" in page.text
    assert "is connected" in ann.decide(page, without=("write",)).text
    given = team.lab.ok(poll(machine, shown))
    assert given["scope"] == "read"
    team.lab.ok(call(team, given["access_token"]))
    sessions = team.lab.ok(ann.get("/v1/me/sessions").reply)["items"]
    assert ("device", "builderos-cli") in [(s["method"], s["client_id"]) for s in sessions]
    refused(poll(machine, shown), "invalid_grant")
    assert "No machine waits" in typed(ann, shown["user_code"]).text
    assert shown["user_code"].replace("-", "") not in str(team.lab.sql("select * from ops.device_codes"))


def test_the_address_with_the_code_in_it_fills_the_form_and_decides_nothing(
    team: Team, machine: Program, ann: Browser
) -> None:
    shown = begin(machine)
    page = ann.get(shown["verification_uri_complete"])
    assert shown["user_code"].replace("-", "") in page.text
    assert "Allow" not in page.text
    refused(poll(machine, shown), "authorization_pending")
    late = browser_of(team)
    assert late.get(shown["verification_uri_complete"]).reply.headers["location"] == "/sign-in"
    invite = team.invite(f"late{next(_numbers)}@acme.example", "viewer")["invite_token"]
    assert late.join(invite)["next"] == f"/device?user_code={shown['user_code'].replace('-', '')}"


def test_a_no_is_a_no(machine: Program, ann: Browser) -> None:
    shown = begin(machine)
    assert "Nothing was let in" in ann.decide(typed(ann, shown["user_code"]), "deny").text
    refused(poll(machine, shown), "access_denied")
    refused(poll(machine, shown), "access_denied")


def test_a_code_is_over_after_ten_minutes(team: Team, machine: Program, ann: Browser) -> None:
    shown, yes = begin(machine), begin(machine)
    question = typed(ann, yes["user_code"])
    later = mock.Mock(return_value=utcnow() + orgs.devices.LIFE)
    with mock.patch("builderos.trust.orgs.devices.utcnow", later), team.lab.later(minutes=10):
        refused(poll(machine, shown), "expired_token")
        assert "No machine waits" in typed(ann, shown["user_code"]).text
        assert "too old" in ann.decide(question).text


def test_who_asks_too_often_is_told_to_slow_down(machine: Program) -> None:
    shown = begin(machine)
    refused(poll(machine, shown), "authorization_pending")
    refused(poll(machine, shown), "slow_down")


def test_of_two_members_who_decide_at_once_one_does_and_of_two_polls_one_gets_tokens(
    team: Team, machine: Program, ann: Browser
) -> None:
    shown = begin(machine)
    eve = member(Team(team.lab), "org_owner", "eve@other.example")
    questions = [(who, typed(who, shown["user_code"])) for who in (ann, eve)]
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda q: q[0].decide(q[1]).text, questions))
    assert sorted("is connected" in text for text in said) == [False, True]
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: poll(machine, shown), range(4)))
    assert sorted(r.status_code for r in replies) == [200, 400, 400, 400]


def test_only_the_page_that_asked_can_let_a_machine_in(team: Team, machine: Program, ann: Browser) -> None:
    shown, other = begin(machine), begin(machine)
    page = typed(ann, shown["user_code"])
    code = shown["user_code"].replace("-", "")
    for fields in (
        [("user_code", code), ("decision", "allow"), ("grant", "read")],
        [*[(n, v) for n, v in page.fields if n != "user_code"],
         ("user_code", other["user_code"].replace("-", "")), ("decision", "allow")],
    ):  # fmt: skip
        team.lab.problem(ann.form("/device", fields).reply, "policy_denied")
    yes = [*page.fields, ("decision", "allow")]
    team.lab.problem(ann.form("/device", yes, origin="https://evil.example").reply, "policy_denied")
    eve = member(team, "org_owner", f"eve{next(_numbers)}@acme.example")
    team.lab.problem(eve.form("/device", yes).reply, "policy_denied")
    assert browser_of(team).form("/device", yes).reply.headers["location"] == "/sign-in"
    refused(poll(machine, shown), "authorization_pending")


def test_a_device_code_is_for_its_program_alone(team: Team, machine: Program, ann: Browser) -> None:
    shown = begin(machine)
    ann.decide(typed(ann, shown["user_code"]))
    refused(poll(register(team), shown), "invalid_grant")
    refused(machine.token(grant_type=GRANT, device_code="bos_dc_" + "0" * 43), "invalid_grant")
    refused(machine.token(grant_type=GRANT), "invalid_request")
    assert poll(machine, shown).status_code == 200
    unknown = machine.post("/oauth/device_authorization", client_id="nobody")
    refused(unknown, "invalid_client", 401)


def test_guessing_codes_is_counted(databases: Databases) -> None:
    with lab_in_temp(databases, rate_invalid_tokens=8) as lab:
        team = Team(lab)
        ann = member(team, "viewer", "ann2@acme.example")
        codes = [typed(ann, f"BCDFGHJ{letter}").reply.status_code for letter in orgs.devices.LETTERS]
        assert codes[0] == 200
        assert codes[-1] == 429
        assert codes.count(200) <= 8
