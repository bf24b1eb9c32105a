"""Sessions, mailed links and cookies through HTTP, with a real mail server."""

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from email.message import Message
from itertools import count
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from builderos import app as root
from builderos.engine import outbox
from builderos.trust.orgs import service as orgs
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.teams import Person, Team

_numbers = count()
SITE = "http://127.0.0.1"
SESSION, BROWSER = "__Host-bos", "__Host-bos_browser"


class Inbox:
    """Keeps what a mail server is handed."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], Message]] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - its name in aiosmtpd
        self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content)))
        return "250 OK"


@pytest.fixture(scope="module")
def inbox() -> Iterator[tuple[Inbox, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    inbox = Inbox()
    server = Controller(inbox, hostname="127.0.0.1", port=port)
    server.start()
    yield inbox, port
    server.stop()


@pytest.fixture(scope="module")
def team(databases: Databases, inbox: tuple[Inbox, int]) -> Iterator[Team]:
    with lab_in_temp(databases, smtp_url=f"smtp://127.0.0.1:{inbox[1]}", mail_from="bos@acme.example") as lab:
        yield Team(lab)


def deliver(lab: Lab) -> None:
    """Carry out what waits in the outbox, as the engine does."""
    for due in outbox.due(lab.world.context):
        outbox.deliver(lab.world.context, root.outbox_handlers(), due.org_id, due.id)


def post(team: Team, path: str, cookies: dict[str, str] | None = None, **more: Any) -> Any:
    """A call of a browser that holds these cookies."""
    headers = {"origin": SITE, **more.pop("headers", {})}
    if cookies:
        headers["cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return team.lab.world.http.post(path, json=more, headers=headers)


def cookie(reply: Any, name: str) -> str:
    """The value of a cookie that a reply sets; checks how it is set."""
    [line] = [v for v in reply.headers.get_list("set-cookie") if v.startswith(f"{name}=")]
    assert line.endswith(
        tuple(f"; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={n}" for n in (0, 900, 1209600))
    )
    return line.partition("=")[2].partition(";")[0]


def ask_for_link(team: Team, inbox: Inbox, email: str) -> tuple[str, str]:
    """The secret that arrives by mail, and the browser's nonce."""
    reply = post(team, "/v1/auth/link", email=email, org_slug=team.slug)
    assert reply.status_code == 202
    deliver(team.lab)
    to, mail = inbox.mails[-1]
    assert to == [email]
    found = re.search(r"/sign-in#(bos_ml_\w{43})\s*$", mail.get_payload(decode=True).decode(), re.MULTILINE)
    assert found
    return found[1], cookie(reply, BROWSER)


def sign_in(team: Team, inbox: Inbox) -> tuple[str, str]:
    """The session's cookie of a new viewer and its CSRF token."""
    email = f"cookie{next(_numbers)}@acme.example"
    team.accept(team.invite(email, "viewer")["invite_token"])
    secret, nonce = ask_for_link(team, inbox, email)
    reply = post(team, "/v1/auth/link/finish", {BROWSER: nonce}, token=secret)
    return cookie(reply, SESSION), team.lab.ok(reply)["csrf_token"]


def test_a_link_signs_in_once_and_only_in_the_browser_that_asked(
    team: Team, inbox: tuple[Inbox, int]
) -> None:
    secret, nonce = ask_for_link(team, inbox[0], "ann@acme.example")
    for elsewhere in ({}, {BROWSER: "x" * 43}):
        team.lab.problem(post(team, "/v1/auth/link/finish", elsewhere, token=secret), "token_invalid")
    with team.lab.later(minutes=16):
        team.lab.problem(post(team, "/v1/auth/link/finish", {BROWSER: nonce}, token=secret), "token_invalid")
    with ThreadPoolExecutor(3) as pool:
        replies = list(
            pool.map(lambda _: post(team, "/v1/auth/link/finish", {BROWSER: nonce}, token=secret), range(3))
        )
    assert sorted(r.status_code for r in replies) == [200, 401, 401]
    assert (
        next(r for r in replies if r.status_code == 200).json().items()
        >= {
            "member_id": team.owner.id,
            "role": "org_owner",
            "org_slug": team.slug,
        }.items()
    )


def test_nobody_learns_from_the_answer_who_is_a_member(team: Team, inbox: tuple[Inbox, int]) -> None:
    before, rows = len(inbox[0].mails), team.lab.sql("select count(*) from ops.sign_ins")[0][0]
    known = post(team, "/v1/auth/link", email="Ann@Acme.example", org_slug=team.slug)
    unknown = post(team, "/v1/auth/link", email="eve@acme.example", org_slug=team.slug)
    nowhere = post(team, "/v1/auth/link", email="eve@acme.example", org_slug="no-such-org")
    assert known.json() == unknown.json() == nowhere.json()
    assert {r.status_code for r in (known, unknown, nowhere)} == {202}
    assert {len(cookie(r, BROWSER)) for r in (known, unknown, nowhere)} == {43}
    assert team.lab.sql("select count(*) from ops.sign_ins")[0][0] == rows + 3, "the same work for all"
    deliver(team.lab)
    assert len(inbox[0].mails) == before + 1
    assert "eve@" not in str(team.lab.sql("select * from ops.outbox")) + str(
        team.lab.sql("select * from ops.sign_ins")
    )


def test_an_inbox_is_not_flooded_and_no_mail_shows_its_secret_in_the_database(
    team: Team, inbox: tuple[Inbox, int]
) -> None:
    email = "flood@acme.example"
    team.accept(team.invite(email, "viewer")["invite_token"])
    for _ in range(orgs.signing_in.MAX_LINKS + 3):
        post(team, "/v1/auth/link", email=email, org_slug=team.slug)
    deliver(team.lab)
    mails = [mail for to, mail in inbox[0].mails if to == [email]]
    assert len(mails) == orgs.signing_in.MAX_LINKS
    for table in ("outbox", "sign_ins", "ledger"):
        assert "bos_ml_" not in str(team.lab.sql(f"select * from ops.{table}"))


def test_a_line_break_in_an_address_goes_nowhere(team: Team) -> None:
    for email in (
        "a@b.example\r\nBcc: x@y.example",
        "a@b.example,x@y.example",
        "no-address",
        "a b@c.example",
    ):
        team.lab.problem(post(team, "/v1/auth/link", email=email, org_slug=team.slug), "validation_failed")


def test_a_cookie_reads_but_writes_only_from_a_page_of_ours(team: Team, inbox: tuple[Inbox, int]) -> None:
    secret, csrf = sign_in(team, inbox[0])
    jar, body = {SESSION: secret}, {"label": "x", "scopes": ["read"]}
    http, ours = team.lab.world.http, {"x-csrf-token": csrf}
    team.lab.ok(http.get("/v1/members", headers={"cookie": f"{SESSION}={secret}"}))
    for headers in (
        {},
        {"x-csrf-token": "0" * 64},
        {**ours, "origin": "https://evil.example"},
        {**ours, "origin": "null"},
        {**ours, "origin": ""},
        {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate"},
    ):
        team.lab.problem(post(team, "/v1/tokens", jar, headers=headers, **body), "unauthenticated")
    team.lab.ok(post(team, "/v1/tokens", jar, headers=ours, **body), 201)
    refs = "/git/lab.git/info/refs?service=git-upload-pack"
    assert http.get(refs, headers={"cookie": f"{SESSION}={secret}"}).status_code == 401
    other, _ = sign_in(team, inbox[0])
    team.lab.problem(post(team, "/v1/tokens", {SESSION: other}, headers=ours, **body), "unauthenticated")


def test_the_page_of_a_link_runs_no_script_but_its_own_and_sends_no_secret(team: Team) -> None:
    page = team.lab.world.http.get("/sign-in")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "location.hash" in team.lab.world.http.get("/sign-in.js").text


def test_signing_out_ends_the_cookie_and_nothing_else(team: Team, inbox: tuple[Inbox, int]) -> None:
    secret, csrf = sign_in(team, inbox[0])
    who = {"cookie": f"{SESSION}={secret}"}
    http = team.lab.world.http
    assert team.lab.ok(http.get("/v1/auth/session", headers=who))["csrf_token"] == csrf
    team.lab.problem(post(team, "/v1/auth/sign-out", {SESSION: secret}), "policy_denied")
    reply = post(team, "/v1/auth/sign-out", {SESSION: secret}, headers={"x-csrf-token": csrf})
    assert cookie(reply, SESSION) == ""
    team.lab.problem(http.get("/v1/auth/session", headers=who), "unauthenticated")
    team.lab.problem(http.get("/v1/members", headers=who), "token_invalid")
    team.lab.ok(team.owner.call("GET", "/v1/members"))


def refresh(team: Team, token: str) -> Any:
    return post(team, "/v1/auth/refresh", refresh_token=token)


def test_a_refresh_token_is_good_for_one_use_and_a_second_one_ends_the_session(team: Team) -> None:
    person = team.join("viewer")
    first = team.lab.ok(refresh(team, person.tokens["refresh_token"]))
    assert first["session_id"] == person.tokens["session_id"]
    assert first["expires_in_s"] == 900
    second = team.lab.ok(refresh(team, first["refresh_token"]))
    fresh = Person(team, person.id, second)
    team.lab.ok(fresh.call("GET", "/v1/repos"))
    team.lab.problem(refresh(team, person.tokens["refresh_token"]), "token_invalid")
    team.lab.problem(refresh(team, second["refresh_token"]), "token_invalid")
    for pair in (person, Person(team, person.id, first), fresh):
        team.lab.problem(pair.call("GET", "/v1/repos"), "token_invalid")
    ended = team.lab.sql("select ended_why from ops.member_sessions where id = %s", first["session_id"])
    assert ended == [("refresh token used twice",)]


def test_two_who_use_a_refresh_token_at_once_do_not_both_get_a_session(team: Team) -> None:
    person = team.join("viewer")
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: refresh(team, person.tokens["refresh_token"]), range(4)))
    assert sorted(r.status_code for r in replies) == [200, 401, 401, 401]
    pair = next(r for r in replies if r.status_code == 200).json()
    team.lab.problem(Person(team, person.id, pair).call("GET", "/v1/repos"), "token_invalid")


def test_a_refresh_token_is_no_credential_and_ends_with_the_membership_and_after_two_weeks(
    team: Team,
) -> None:
    person = team.join("viewer")
    token = person.tokens["refresh_token"]
    team.lab.problem(Person(team, "x", {"access_token": token}).call("GET", "/v1/repos"), "token_invalid")
    with team.lab.later(days=15):
        team.lab.problem(refresh(team, token), "token_invalid")
    team.lab.ok(team.owner.call("DELETE", f"/v1/members/{person.id}"))
    team.lab.problem(refresh(team, token), "token_invalid")
    team.lab.problem(refresh(team, "bos_rf_" + "0" * 43), "token_invalid")
