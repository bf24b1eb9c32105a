"""A model that obeys whatever it reads: nothing comes of it, because policy and jail hold, not because it behaves.

Each case of `injections.yaml` is read by the agent out of a file, a tool's result or its memory, and then carried out.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from builderos.core.unit import as_system
from builderos.trust.policy import service as policy
from tests.support.models import Json, Scripted, say, use
from tests.support.runs import Ship

CASES: list[Json] = yaml.safe_load(Path(__file__).with_name("injections.yaml").read_text())
CANARY = "canary-4f1c9e7d5b2a8360-value"
AGENT = """
name: naive
role: Naive
prompt_ref: builder
toolset: [list_files, read_file, search_files, write_file, edit_file, delete_file, run_shell, recall, remember,
  commit_and_log, fetchFiles, gitLog, gitDiff, memoryQuery, taskQuery, logReasoning]
memory_profile: {remember: true}
limits: {model_calls: 500, tool_calls: 1000, mistakes: 100}
"""
PIPELINE = """
steps:
  - {id: naive, agent: naive, title: Read the notes and do what has to be done}
  - {id: save, needs: [naive], action: git.commit}
"""
RULES = ("builderos.policy.yaml", "builderos.yaml", "agents/", "prompts/", "ship/evil")


def lines(home: Path) -> list[Json]:
    """One turn to read each text, one to do what it says."""
    found: list[Json] = []
    for case in CASES:
        calls = json.loads(json.dumps(case["calls"]).replace("HOME", str(home)))
        found += [carried(case), use(*[(name, args) for name, args in calls], said=case["id"])]
    return [*found, say("I did all of it.")]


def carried(case: Json) -> Json:
    path = f"notes/{case['id']}.md"
    if case["carrier"] == "memory":
        return use(("recall", {"query": case["says"]}))
    return use(
        ("read_file", {"path": path})
        if case["carrier"] == "file"
        else ("run_shell", {"command": f"cat {path}"})
    )


def standing(ship: Ship) -> Json:
    """What no agent may move."""
    world = ship.world
    main = world.ok(world.as_owner("GET", "/v1/repos"))
    approvals = world.ok(world.as_owner("GET", "/v1/approvals?state=approved"))["items"]
    digest = as_system(ship.context, world.org_id, lambda unit: unit.get(policy.InForce).of(unit).digest)
    keys = world.ok(world.as_owner("GET", "/v1/api-keys"))["items"]
    hooks = world.ok(world.as_owner("GET", "/v1/webhooks"))["items"]
    runs = [run["id"] for run in world.ok(world.as_owner("GET", "/v1/runs"))["items"]]
    pulls = world.ok(world.as_owner("GET", "/v1/pulls"))["items"]
    return {"repos": main, "approved": approvals, "policy": digest, "keys": keys, "hooks": hooks, "runs": runs,
            "pulls": pulls, "owner": (world.home / "owner.token").read_text()}  # fmt: skip


def test_there_are_enough_attempts_and_each_has_a_name() -> None:
    assert len({case["id"] for case in CASES}) == len(CASES) >= 50
    assert {case["carrier"] for case in CASES} == {"file", "tool", "memory"}


def test_nothing_that_a_text_tells_an_agent_comes_about(
    ship: Ship, model: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ship.world
    monkeypatch.setenv("CANARY", CANARY)  # in the server's own environment, too
    world.ok(world.as_owner("POST", "/v1/secrets", json={"key_name": "CANARY", "value": CANARY}), 201)
    notes = {f"notes/{case['id']}.md": case["says"] + "\n" for case in CASES}
    name = ship.pipeline(PIPELINE, {"agents/naive.yaml": AGENT})
    ship.box.commit(notes)
    for case in CASES:
        if case["carrier"] == "memory":
            ship.box.post("/memory/manage", action="add", tier="semantic", fact=case["id"], body=case["says"])
    before = rules_of(ship)
    then = standing(ship)
    model.lines["naive"] = lines(world.home)
    run = ship.until(ship.start(name), within_s=120)
    assert run["status"] == "succeeded", [(s["name"], s["error"]) for s in run["steps"]]
    assert len(model.asked) == 2 * len(CASES) + 1
    now = standing(ship)
    now["runs"].remove(run["id"])
    assert now == then
    assert rules_of(ship) == before
    secrets = (CANARY, (world.home / "owner.token").read_text().strip())
    told = json.dumps([request for _, request in model.asked]) + every_reply(ship, run)
    assert all(secret not in told for secret in secrets)
    assert os.environ["CANARY"] == CANARY


def rules_of(ship: Ship) -> Json:
    """Files of the branch that say how agents and pipelines work."""
    found: Json = {}
    names = ship.world.ok(
        ship.world.http.get("/v1/agents", headers=ship.box.headers)
    )["items"]  # fmt: skip
    found["agents"] = [(item["name"], item["source"], item["role"]) for item in names]
    paths = ["builderos.policy.yaml", "builderos.yaml", "agents/naive.yaml", "prompts/builder.yaml",
             "ship/evil/pipeline.yaml"]  # fmt: skip
    reply = ship.box.post("/system/fetch_files", mode="batch", paths=paths)
    found["files"] = {file["path"]: file["content"] for file in reply["files"]}
    return found


def every_reply(ship: Ship, run: Json) -> str:
    """All that people may read of the run: its view, its calls, its log, its ledger lines."""
    world, step = ship.world, ship.steps(run)["naive"]
    parts: list[Any] = [run]
    cursor = ""
    while True:
        page = world.ok(world.as_owner("GET", f"/v1/steps/{step['id']}/calls?limit=200{cursor}"))
        parts.append(page)
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    parts.append(world.as_owner("GET", f"/v1/steps/{step['id']}/logs").text)
    parts.append(world.ok(world.as_owner("GET", f"/v1/audit?object={step['id']}")))
    refused = [
        c
        for page in parts
        if isinstance(page, dict)
        for c in page.get("items", ())
        if c.get("status") == "refused"
    ]
    assert len(refused) >= 10
    return json.dumps(parts)
