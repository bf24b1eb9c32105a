"""Steps that send mail: to whom the policy lets them, once whatever happens."""

import smtplib
from collections.abc import Iterator
from typing import Any

import pytest

from builderos.core.problems import Problem
from builderos.core.unit import as_system
from builderos.execution.runs.effects import Effect, effects_of, once
from builderos.execution.runs.rows import call_of, find_run
from builderos.integrations.smtp import service as smtp
from tests.support.databases import Databases
from tests.support.lab import Lab
from tests.support.mail import Mailbox, mail_server
from tests.support.runs import Ship, ship_in_temp

SECRET = "a-value-that-no-letter-may-hold"
POLICY = """version: 1
rules:
  - id: all
    scope: {org: "*"}
    allow: {tools: ["*"], paths: ["**"], network: [acme.example], secrets: []}
"""
STEP = """
steps:
  - id: tell
    action: mail.send
    retries: {max: 2, backoff: 10ms}
    inputs: {to: [%s], subject: "Built ${{ run.branch }}", text: "All well. %s"}
"""


@pytest.fixture(scope="module")
def post() -> Iterator[Mailbox]:
    with mail_server() as box:
        yield box


@pytest.fixture(scope="module")
def ship(databases: Databases, post: Mailbox) -> Iterator[Ship]:
    with (
        databases.fresh() as database,
        ship_in_temp(database, smtp_url=f"smtp://127.0.0.1:{post.port}") as made,
    ):
        lab = Lab(made.world, database)
        lab.ok(lab.as_owner("POST", "/v1/secrets", json={"key_name": "SHY", "value": SECRET}), 201)
        content = POLICY
        asked = lab.ok(lab.as_owner("PUT", "/v1/policies", json={"content": content, "reason": "Letters"}))
        lab.ok(lab.as_owner("POST", f"/v1/approvals/{asked['approval_id']}", json={"decision": "approve"}))
        yield made


@pytest.fixture(autouse=True)
def empty(post: Mailbox) -> None:
    post.mails.clear()
    post.says = "250 OK"


def sent(ship: Ship, to: str = "ann@acme.example", text: str = "") -> Any:
    """The run, as the server's owner, and its step."""
    name = ship.pipeline(STEP % (to, text))
    body = {"pipeline": name, "repo_name": ship.box.repo_name, "branch": ship.box.branch}
    id_ = ship.world.ok(ship.world.as_owner("POST", "/v1/runs", json=body), 202)["run_id"]
    run = ship.until(id_)
    return run, ship.steps(run)["tell"]


def test_a_letter_goes_to_domains_that_the_policy_grants_and_holds_no_secret(
    ship: Ship, post: Mailbox
) -> None:
    run, step = sent(ship, "ann@acme.example, bob@acme.example", SECRET)

    assert run["status"] == "succeeded", step
    ((to, mail),) = post.mails
    assert to == ["ann@acme.example", "bob@acme.example"]
    assert mail["Subject"] == f"Built {ship.box.branch}"
    assert SECRET not in mail.get_payload()
    assert "All well." in mail.get_payload()

    refused, no = sent(ship, "ann@acme.example, eve@elsewhere.example")
    assert (refused["status"], no["reason"]) == ("failed", "policy")
    assert "elsewhere.example" in no["error"]
    assert len(post.mails) == 1


def test_a_letter_that_was_sent_is_not_sent_again_and_one_that_may_have_been_is_told(
    ship: Ship, post: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = sent(ship)
    context, org = ship.context, ship.world.org_id
    call = as_system(context, org, lambda unit: call_of(find_run(unit, run["id"])), read_only=True)
    (row,) = as_system(context, org, lambda unit: effects_of(unit, run["id"]), read_only=True)
    effect = Effect("mail.send", row.key, row.run_id, row.step_id, row.request)
    assert once(context, call, effect)["message_id"] == post.mails[0][1]["Message-ID"]
    assert len(post.mails) == 1

    def torn(*_args: Any) -> None:
        raise smtplib.SMTPServerDisconnected("gone in the midst")

    with monkeypatch.context() as patch:
        patch.setattr(smtplib.SMTP, "send_message", torn)
        ended, step = sent(ship)
    assert (ended["status"], step["attempt"]) == ("failed", 3)
    assert "nobody can say" in step["error"]
    (row,) = as_system(context, org, lambda unit: effects_of(unit, ended["id"]), read_only=True)
    with pytest.raises(Problem, match="nobody can say"):
        once(context, call, Effect("mail.send", row.key, row.run_id, row.step_id, row.request))
    assert len(post.mails) == 1


def test_where_nothing_was_sent_it_is_tried_again(
    ship: Ship, post: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = smtp.connect, list[int]()

    def away_once(context: Any) -> smtplib.SMTP:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionRefusedError
        return real(context)

    monkeypatch.setattr(smtp, "connect", away_once)
    run, step = sent(ship)
    assert (run["status"], step["attempt"], len(post.mails)) == ("succeeded", 2, 1)

    post.says = "550 no"
    run, step = sent(ship)
    assert (run["status"], step["attempt"]) == ("failed", 3)
    assert "550" in step["error"]


@pytest.mark.parametrize("to", ["ann", "ann@acme.example\\nBcc: eve@acme.example", "{a: b}", '""'])
def test_what_is_no_address_is_refused(ship: Ship, post: Mailbox, to: str) -> None:
    run, step = sent(ship, f'"{to}"' if "\\n" in to else to)
    assert (run["status"], step["attempt"], post.mails) == ("failed", 1, [])
    assert "no address" in step["error"]
