"""Questions of runs come to whoever may answer them, and to nobody else."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from builderos.core.unit import Unit, as_system
from builderos.execution.runs import watching
from builderos.execution.runs.model import runs, steps
from builderos.execution.runs.rows import task_of
from builderos.trust.notices import service as notices
from tests.support.databases import Databases
from tests.support.mail import Mailbox, mail_server
from tests.support.runs import Ship, ship_in_temp
from tests.support.servers import until
from tests.support.world import make_repository

ASK = """
steps:
  - {id: ask, question: {message: %s, choices: [red, blue]}}
"""


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as box:
        yield box


@pytest.fixture(scope="module")
def ship(databases: Databases, mailbox: Mailbox) -> Iterator[Ship]:
    smtp = f"smtp://127.0.0.1:{mailbox.port}"
    with (
        databases.fresh() as database,
        ship_in_temp(database, smtp_url=smtp, mail_from="bos@acme.example") as made,
    ):
        yield made


def inbox(ship: Ship, token: str, query: str = "") -> list[dict[str, object]]:
    reply = ship.world.http.get(f"/v1/inbox{query}", headers={"authorization": f"Bearer {token}"})
    return list(ship.world.ok(reply)["items"])


def asked(ship: Ship, message: str) -> str:
    run_id = ship.start(ship.pipeline(ASK % message))
    ship.until(run_id, "waiting_input")
    return run_id


def test_a_question_stands_in_the_inbox_until_it_is_answered(ship: Ship) -> None:
    run_id = asked(ship, "Which colour?")
    owner = ship.world.owner_token
    (item,) = [one for one in inbox(ship, owner, "?kind=question") if one["object"] == run_id]
    assert (item["title"], item["kind"], item["read"]) == ("Which colour?", "question", False)
    assert item in inbox(ship, owner)
    assert item not in inbox(ship, owner, "?kind=approval")
    ship.world.ok(ship.world.as_owner("POST", "/v1/inbox/read", json={"items": [item["id"]]}))
    assert run_id not in [one["object"] for one in inbox(ship, owner, "?unread=true")]
    ship.world.ok(ship.world.as_owner("POST", f"/v1/runs/{run_id}/answer", json={"answer": "red"}))
    assert run_id not in [one["object"] for one in inbox(ship, owner)]
    refused = ship.world.as_owner("POST", "/v1/inbox/read", json={"items": [item["id"]]})
    ship.world.problem(refused, "not_found")


def test_a_step_that_asks_is_not_asked_anew_by_who_looks_after_lost_ones(ship: Ship) -> None:
    run_id = asked(ship, "Once?")
    before = inbox(ship, ship.world.owner_token, "?kind=question")

    def seen_a_moment_ago(unit: Unit) -> None:  # when its task had just ended
        step = unit.execute(sa.select(steps).where(steps.c.run_id == run_id)).one()
        run = unit.execute(sa.select(runs).where(runs.c.id == run_id)).one()
        watching._again(unit, step.id, task_of(run, step, heavy=False))

    as_system(ship.world.context, ship.world.org_id, seen_a_moment_ago)
    assert ship.run(run_id)["status"] == "waiting_input"
    assert inbox(ship, ship.world.owner_token, "?kind=question") == before


def test_questions_come_page_by_page_newest_first(ship: Ship) -> None:
    runs = [asked(ship, f"Question {number}?") for number in range(3)]
    owner = ship.world.owner_token
    seen: list[object] = []
    cursor = ""
    for _ in range(len(runs)):
        reply = ship.world.ok(ship.world.as_owner("GET", f"/v1/inbox?kind=question&limit=1{cursor}"))
        seen += [one["object"] for one in reply["items"]]
        cursor = f"&cursor={reply['next_cursor']}"
    assert seen == runs[::-1]
    assert [one["object"] for one in inbox(ship, owner, "?kind=question")][:3] == runs[::-1]


def test_who_may_not_answer_is_not_asked(ship: Ship) -> None:
    run_id = asked(ship, "Only for some?")
    created = ship.world.as_owner("POST", "/v1/api-keys", json={"label": "reader", "scopes": ["read"]})
    reader = ship.world.ok(created)["api_key"]
    reply = ship.world.http.get("/v1/inbox", headers={"authorization": f"Bearer {reader}"})
    assert reply.status_code == 403 or run_id not in [one["object"] for one in reply.json()["items"]]


def test_a_question_is_announced_to_receivers_followers_and_by_mail(
    ship: Ship,
    mailbox: Mailbox,
    tmp_path: Path,
) -> None:
    for role in ("builder", "viewer"):
        body = {"email": f"{role}@acme.example", "role": role}
        invite = ship.world.ok(ship.world.as_owner("POST", "/v1/invites", json=body))["invite_token"]
        ship.world.ok(ship.world.http.post("/v1/invites/accept", json={"invite_token": invite, "name": role}))
    hook = {"url": "https://hooks.example.com/", "events": ["run.asked"]}
    hook_id = ship.world.ok(ship.world.as_owner("POST", "/v1/webhooks", json=hook))["id"]
    page = {"topics": "inbox", "stream": False}
    cursor = ship.world.ok(ship.world.as_owner("GET", "/v1/stream", params=page))["next_cursor"]
    files = {"ship/hats/pipeline.yaml": "name: hats\n" + ASK % "Which hat?"}
    ship.world.import_repo(make_repository(tmp_path / "hats", files), "hats")
    body = {"pipeline": "hats", "repo_name": "hats", "branch": "main"}
    run_id = ship.world.ok(ship.world.as_owner("POST", "/v1/runs", json=body))["run_id"]
    until(lambda: any(one["object"] == run_id for one in inbox(ship, ship.world.owner_token)))
    (item,) = [one for one in inbox(ship, ship.world.owner_token) if one["object"] == run_id]
    found = ship.world.ok(ship.world.as_owner("GET", "/v1/stream", params=page | {"cursor": cursor}))["items"]
    assert [(one["topic"], one["type"], one["object"]) for one in found] == [("inbox", "run.asked", run_id)]
    (line,) = ship.world.ok(
        ship.world.as_owner("GET", "/v1/audit", params={"object": run_id, "type": "run.asked"})
    )["items"]
    assert line["payload"]["question"] == item["id"]
    assert "Which" not in str(line)
    notices.feed.pass_on(ship.world.context)
    path = f"/v1/webhooks/{hook_id}/deliveries"
    (sent,) = ship.world.ok(ship.world.as_owner("GET", path))["items"]
    whole = ship.world.ok(ship.world.as_owner("GET", f"/v1/deliveries/{sent['id']}"))
    event = json.loads(whole["body"])
    assert (event["type"], event["object"]) == ("run.asked", run_id)
    assert event["question"]["message"] == "Which hat?"
    until(lambda: bool(mailbox.to("builder@acme.example")))
    (letter,) = mailbox.to("builder@acme.example")
    assert letter["Subject"] == "A question: Which hat?"
    assert f"builderos answer {run_id}" in letter.get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert mailbox.to("viewer@acme.example") == []
    ship.world.ok(ship.world.as_owner("POST", f"/v1/runs/{run_id}/answer", json={"answer": "red"}))
    found = ship.world.ok(ship.world.as_owner("GET", "/v1/stream", params=page | {"cursor": cursor}))["items"]
    assert "run.answered" in [one["type"] for one in found]


def test_a_question_of_a_workspace_is_mailed_to_the_member_who_opened_it(
    ship: Ship, mailbox: Mailbox, tmp_path: Path
) -> None:
    tokens: dict[str, str] = {}
    for name in ("opener", "colleague"):
        body = {"email": f"{name}@acme.example", "role": "builder"}
        invite = ship.world.ok(ship.world.as_owner("POST", "/v1/invites", json=body))["invite_token"]
        accept = {"invite_token": invite, "name": name}
        tokens[name] = ship.world.ok(ship.world.http.post("/v1/invites/accept", json=accept))["access_token"]
    files = {"ship/gloves/pipeline.yaml": "name: gloves\n" + ASK % "Which gloves?"}
    ship.world.import_repo(make_repository(tmp_path / "gloves", files), "gloves")
    headers = {"authorization": f"Bearer {tokens['opener']}"}
    reply = ship.world.http.post("/sandbox/init", json={"repo_name": "gloves"}, headers=headers)
    made = ship.world.ok(reply)
    headers = {"authorization": f"Bearer {made['reuse_token']}"}
    body = {"pipeline": "gloves", "repo_name": "gloves", "branch": made["branch"]}
    run_id = ship.world.ok(ship.world.http.post("/v1/runs", json=body, headers=headers))["run_id"]
    page = f"/v1/runs/{run_id}"
    until(lambda: ship.world.http.get(page, headers=headers).json()["status"] == "waiting_input")
    notices.feed.pass_on(ship.world.context)
    until(lambda: bool(mailbox.to("opener@acme.example")))
    (letter,) = mailbox.to("opener@acme.example")
    assert letter["Subject"] == "A question: Which gloves?"
    assert mailbox.to("colleague@acme.example") == []
