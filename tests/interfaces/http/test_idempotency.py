"""Repeating a call: one effect, one reply, for a day; for nobody else and for no other body."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, get_args

import pytest
import sqlalchemy as sa

from builderos.core import unit as units
from builderos.core.clock import utcnow
from builderos.core.unit import Unit, as_system
from builderos.interfaces.http import idempotency
from builderos.trust.secrets.service import Box, Keyring
from tests.support.lab import Lab
from tests.support.teams import Team
from tests.support.world import Json, Sandbox, World

COMMIT = "/commit_and_log_output"


@pytest.fixture(scope="module")
def sandbox(shared_world: World) -> Sandbox:
    return shared_world.open_sandbox()


def change(**more: Any) -> Json:
    return {
        "message": "Once",
        "file_path": f"{uuid.uuid4()}",
        "content": "x",
        "idempotency_key": str(uuid.uuid4()),
    } | more


def commits(sandbox: Sandbox) -> int:
    return len(sandbox.post("/git/log", limit=200)["items"])


def test_the_same_key_and_body_give_the_same_reply_and_one_effect(sandbox: Sandbox) -> None:
    body, before = change(), commits(sandbox)
    first, second = sandbox.try_post(COMMIT, **body), sandbox.try_post(COMMIT, **body)
    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    assert commits(sandbox) == before + 1


def test_the_same_key_with_another_body_is_a_conflict_and_changes_nothing(sandbox: Sandbox) -> None:
    body = change()
    sandbox.post(COMMIT, **body)
    before = commits(sandbox)
    World.problem(sandbox.try_post(COMMIT, **body | {"content": "other"}), "idempotency_conflict")
    assert commits(sandbox) == before


def test_the_status_of_the_first_reply_comes_back_too(sandbox: Sandbox) -> None:
    key = str(uuid.uuid4())
    first = sandbox.try_post("/system/backup", idempotency_key=key)
    second = sandbox.try_post("/system/backup", idempotency_key=key)
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()


def test_a_key_belongs_to_one_caller_and_one_operation(shared_world: World, sandbox: Sandbox) -> None:
    other, body = shared_world.open_sandbox(), change()
    mine = sandbox.post(COMMIT, **body)
    theirs = other.post(COMMIT, **body)
    assert mine["branch"] != theirs["branch"]
    assert sandbox.try_post("/system/backup", idempotency_key=body["idempotency_key"]).status_code == 201


def test_a_refused_call_does_not_use_its_key_up(sandbox: Sandbox) -> None:
    body = change(file_path="../escape")
    World.problem(sandbox.try_post(COMMIT, **body), "invalid_path")
    assert sandbox.try_post(COMMIT, **body | {"file_path": "inside.txt"}).status_code == 200


def test_a_repeated_init_gives_the_same_token(shared_world: World) -> None:
    body = {"repo_name": "lab", "idempotency_key": str(uuid.uuid4())}
    first = World.ok(shared_world.http.post("/sandbox/init", json=body))
    second = World.ok(shared_world.http.post("/sandbox/init", json=body))
    assert first == second
    assert first["reuse_token"].startswith("bos_rt_")
    assert World.ok(shared_world.http.post("/git/log", json={"reuse_token": second["reuse_token"]}))


def test_what_is_kept_of_an_init_is_encrypted(shared_world: World) -> None:
    body = {"repo_name": "lab", "idempotency_key": str(uuid.uuid4())}
    token = World.ok(shared_world.http.post("/sandbox/init", json=body))["reuse_token"]
    rows = as_system(
        shared_world.context,
        shared_world.org_id,
        lambda u: u.execute(sa.select(idempotency.kept_replies)).all(),
    )
    assert rows
    assert all(token.encode() not in bytes(row.reply) for row in rows)


def test_without_a_credential_a_key_that_can_be_guessed_is_refused(shared_world: World) -> None:
    body = {"repo_name": "lab", "idempotency_key": "1"}
    World.problem(shared_world.http.post("/sandbox/init", json=body), "validation_failed")


def test_a_key_is_forgotten_after_a_day(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    body = change()
    first = sandbox.post(COMMIT, **body)
    later = utcnow() + timedelta(hours=sandbox.world.settings.idempotency_hours - 1)
    monkeypatch.setattr(units, "utcnow", lambda: later)
    assert sandbox.post(COMMIT, **body) == first
    monkeypatch.setattr(units, "utcnow", lambda: later + timedelta(hours=2))
    again = sandbox.try_post(COMMIT, **body | {"content": "tomorrow"})
    assert again.status_code == 200, "a day later the key is free, for another body, too"


def test_what_has_expired_is_swept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = world.open_sandbox()
    sandbox.post(COMMIT, **change())
    assert as_system(world.context, world.org_id, idempotency.sweep) == 0
    later = utcnow() + timedelta(hours=25)
    monkeypatch.setattr(units, "utcnow", lambda: later)
    assert as_system(world.context, world.org_id, idempotency.sweep) == 1


def test_twins_at_the_same_time_have_one_effect(world: World) -> None:
    sandbox, body = world.open_sandbox(), change()
    before = commits(sandbox)
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda _: sandbox.try_post(COMMIT, **body), range(6)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({json.dumps(reply.json(), sort_keys=True) for reply in replies}) == 1
    assert commits(sandbox) == before + 1


SECRETS = {"api_key", "client_secret", "invite_token", "reuse_token", "secret", "share_token", "token"}


@pytest.fixture(scope="module")
def team(lab: Lab) -> Team:
    return Team(lab)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def token_of(team: Team, *scopes: str) -> dict[str, str]:
    made = team.lab.ok(team.owner.call("POST", "/v1/tokens", label="t", scopes=list(scopes)), 201)
    return bearer(made["token"])


def deploy_key() -> Json:
    return {"label": "deploy", "scopes": ["read", "write"], "idempotency_key": "deploy-1"}


def test_a_weaker_token_of_the_same_person_gets_no_stored_reply(team: Team) -> None:
    strong, weak = token_of(team, "admin", "approve", "read", "write"), token_of(team, "read")
    http, body = team.lab.world.http, deploy_key()
    made = team.lab.ok(http.post("/v1/tokens", json=body, headers=strong), 201)
    refused = http.post("/v1/tokens", json=body, headers=weak)
    team.lab.problem(refused, "policy_denied")
    assert "bos_pt_" not in refused.text
    assert team.lab.ok(http.post("/v1/tokens", json=body, headers=strong), 201) == made


def test_another_token_with_the_same_scopes_acts_for_itself(team: Team) -> None:
    http, body = team.lab.world.http, deploy_key()
    made = [
        team.lab.ok(http.post("/v1/tokens", json=body, headers=token_of(team, "read", "write")), 201)
        for _ in range(2)
    ]
    assert made[0]["token"] != made[1]["token"]


def test_a_session_repeats_with_its_next_access_token_and_no_other_session_does(team: Team) -> None:
    person, body = team.join("builder"), deploy_key()
    http, ok = team.lab.world.http, team.lab.ok
    made = ok(person.call("POST", "/v1/tokens", **body), 201)
    following = ok(http.post("/v1/auth/refresh", json={"refresh_token": person.tokens["refresh_token"]}))
    assert ok(http.post("/v1/tokens", json=body, headers=bearer(following["access_token"])), 201) == made
    mine = {**body, "label": "other"}
    problem = http.post("/v1/tokens", json=mine, headers=bearer(following["access_token"]))
    team.lab.problem(problem, "idempotency_conflict")


def test_a_workspace_repeats_its_rotation_with_the_token_it_gave(lab: Lab) -> None:
    box = lab.open_sandbox()
    path = f"/v1/sandboxes/{lab.sandbox_id(box)}/token"
    body = {"action": "rotate", "idempotency_key": "turn"}
    turned = lab.ok(lab.world.http.post(path, json=body, headers=box.headers))
    lab.problem(lab.world.http.post(path, json=body, headers=box.headers), "token_invalid")
    assert lab.ok(lab.world.http.post(path, json=body, headers=bearer(turned["reuse_token"]))) == turned


def test_a_kept_credential_opens_under_the_organisations_own_key_alone(team: Team) -> None:
    key = str(uuid.uuid4())
    made = team.lab.ok(team.owner.call("POST", "/v1/tokens", **deploy_key() | {"idempotency_key": key}), 201)
    context = team.lab.world.context

    def kept(unit: Unit) -> tuple[bytes, bytes]:
        c = idempotency.kept_replies.c
        row = unit.execute(sa.select(c.scope, c.reply).where(c.key == key)).one()
        purpose = f"idempotency:{row.scope}:{key}"
        with pytest.raises(ValueError, match="belongs elsewhere"):
            unit.get(Box).open(row.reply, purpose)
        return bytes(row.reply), unit.get(Keyring).box(unit).open(row.reply, purpose)

    sealed, opened = as_system(context, team.made["id"], kept)
    assert made["token"].encode() in opened
    assert made["token"].encode() not in sealed


def test_every_operation_that_answers_with_a_credential_says_so(shared_world: World) -> None:
    answering = {
        op.name
        for op in shared_world.app.operations()
        if "idempotency_key" in op.body.model_fields
        for form in (get_args(op.document) or (op.document,))
        if SECRETS & set(getattr(form, "model_fields", ()))
    }
    declared = {op.name for op in shared_world.app.operations() if op.secret_reply}
    assert {"createToken", "createKey", "initSandbox", "changeToken"} <= answering
    assert declared == answering | {"switchOnTriggers"}  # whose secrets stand in a list
