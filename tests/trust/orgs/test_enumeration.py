"""What a stranger learns from asking: nothing of which organisations, members, tokens and programs there are.

Neither the words of an answer, nor the work behind it: for what exists and what does not the same statements are sent
to the database in the same order. Where that holds, time tells nothing; one measurement looks at the whole as well.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import psycopg
import pytest
import sqlalchemy as sa

from builderos.core.database import Database
from builderos.core.exchange import Exchange
from builderos.trust.identity import service as identity
from tests.support.databases import Databases
from tests.support.lab import lab_in_temp
from tests.support.oauth import BACK, Program, browser_of, member, register
from tests.support.teams import Team

SMTP = "smtp://127.0.0.1:9"  # nothing is delivered: the outbox keeps what would be sent


@pytest.fixture(scope="module")
def team(databases: Databases) -> Iterator[Team]:
    with lab_in_temp(databases, smtp_url=SMTP) as lab:
        yield Team(lab)


@contextmanager
def listening(team: Team) -> Iterator[list[str]]:
    """The texts of all statements, by whichever way they are sent."""
    said: list[str] = []
    engine = team.lab.world.context.get(Database).engine
    run, execute = Exchange.run, psycopg.Connection.execute

    def on_cursor(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        said.append(statement)

    def on_run(self: Exchange, statements: Any, meanwhile: Any = None) -> Any:
        said.extend(text for text, _ in statements)
        return run(self, statements, meanwhile)

    def on_execute(self: Any, query: Any, *args: Any, **more: Any) -> Any:
        said.append(str(query))
        return execute(self, query, *args, **more)

    sa.event.listen(engine, "before_cursor_execute", on_cursor)
    with (
        mock.patch.object(Exchange, "run", on_run),
        mock.patch.object(psycopg.Connection, "execute", on_execute),
    ):
        yield said
    sa.event.remove(engine, "before_cursor_execute", on_cursor)


def heard(team: Team, call: Callable[[], Any]) -> tuple[Any, list[str]]:
    """Answer and statements of a call; the second time, so that nothing is prepared any more."""
    call()
    with listening(team) as said:
        return call(), list(said)


def alike(team: Team, *calls: Callable[[], Any]) -> None:
    """All calls get the same answer for the same work."""
    found = [heard(team, call) for call in calls]
    first, work = found[0]
    assert work, "it asks the database"
    for reply, statements in found[1:]:
        assert reply.status_code == first.status_code
        told, wanted = ({k: v for k, v in r.json().items() if k != "request_id"} for r in (reply, first))
        assert told == wanted
        assert statements == work


def test_a_mailed_link_is_the_same_work_for_everybody(team: Team) -> None:
    http = team.lab.world.http

    def ask(email: str, slug: str) -> Callable[[], Any]:
        return lambda: http.post("/v1/auth/link", json={"email": email, "org_slug": slug})

    alike(
        team, ask("ann@acme.example", team.slug), ask("eve@acme.example", team.slug),
        ask("ann@acme.example", "no-such-organisation"), ask("eve@acme.example", "another-invented-one"),
    )  # fmt: skip


def test_a_secret_is_looked_up_alike_whatever_is_wrong_with_it(team: Team) -> None:
    http, real = team.lab.world.http, team.owner.tokens["access_token"]
    ended = team.join("viewer")
    team.lab.ok(team.owner.call("DELETE", f"/v1/members/{ended.id}"))
    near = real[:-1] + ("a" if real[-1] != "a" else "b")

    def show(secret: str) -> Callable[[], Any]:
        return lambda: http.get("/v1/repos", headers={"authorization": f"Bearer {secret}"})

    alike(
        team,
        show(near),
        show("bos_at_" + "0" * 43),
        show(ended.tokens["access_token"]),
        show("bos_pt_" + "1" * 43),
    )


def test_an_invite_is_looked_up_alike_in_a_browser_and_by_a_program(team: Team) -> None:
    http = team.lab.world.http
    used = team.invite("used@acme.example", "viewer")["invite_token"]
    team.accept(used)
    gone = team.invite("gone@acme.example", "viewer")
    team.lab.ok(team.owner.call("DELETE", f"/v1/invites/{gone['id']}"))
    secrets = (used, gone["invite_token"], "bos_in_" + "0" * 43)
    for path in ("/v1/auth/invite", "/v1/invites/accept"):
        alike(team, *(lambda s=s, p=path: http.post(p, json={"invite_token": s}) for s in secrets))


def test_a_program_and_its_secret_are_looked_up_alike(team: Team) -> None:
    program = register(team, token_endpoint_auth_method="client_secret_post")
    unknown = "oac_" + "0" * 26

    def ask(client_id: str, secret: str) -> Callable[[], Any]:
        return lambda: Program(team, client_id, secret).token(grant_type="refresh_token", refresh_token="x")

    near = str(program.secret)[:-1] + "_"
    alike(
        team, ask(program.id, "bos_os_" + "0" * 43), ask(program.id, near), ask(unknown, "bos_os_" + "0" * 43)
    )


def test_codes_refresh_tokens_and_links_that_never_were_sound_like_those_that_are_over(team: Team) -> None:
    ann = member(team, "org_owner", "ann2@acme.example")
    program = register(team)
    code = ann.decide(ann.get(program.address())).back["code"]
    refresh = program.redeem(code).json()["refresh_token"]
    program.post("/oauth/revoke", client_id=program.id, token=refresh)
    replies = [program.redeem("bos_ac_" + "0" * 43), program.redeem(code), program.refresh(refresh),
               program.refresh("bos_rf_" + "0" * 43)]  # fmt: skip
    assert {(r.status_code, r.json()["error"]) for r in replies} == {(400, "invalid_grant")}
    finish = [
        team.lab.world.http.post("/v1/auth/link/finish", json={"token": t})
        for t in ("x", "bos_ml_" + "0" * 43)
    ]
    assert {(r.status_code, r.json()["code"]) for r in finish} == {(401, "token_invalid")}


def test_pages_name_no_organisation_to_a_stranger(team: Team) -> None:
    browser = browser_of(team)
    there = f"/mcp/{team.slug}"  # the address says what was asked for
    pages = [
        browser.get(path).text.replace(there, "")
        for path in (
            "/sign-in",
            "/oauth/authorize?client_id=x",
            "/.well-known/oauth-authorization-server",
            f"/.well-known/oauth-protected-resource{there}",
        )
    ]
    for text in pages:
        assert team.slug not in text
    for slug in (team.slug, "no-such-org"):
        assert browser.get(f"/.well-known/oauth-protected-resource/mcp/{slug}").reply.status_code == 200
    registered = team.lab.world.http.post("/oauth/register", json={"redirect_uris": [BACK]}).text
    assert team.lab.world.org_id not in registered


def test_time_does_not_tell_how_much_of_a_token_is_right(team: Team) -> None:
    database, hasher = team.lab.world.context.get(Database), team.lab.world.context.get(identity.Hasher)
    real = team.owner.tokens["access_token"]
    near, far = real[:-1] + ("a" if real[-1] != "a" else "b"), "bos_at_" + "0" * 43
    took: dict[str, list[float]] = {near: [], far: []}
    for _ in range(300):
        for secret, times in took.items():
            began = time.perf_counter()
            assert identity.authenticate(database, hasher, secret).presented == "invalid"
            times.append(time.perf_counter() - began)
    ratio = statistics.median(took[near]) / statistics.median(took[far])
    assert 0.5 < ratio < 2, ratio
