"""Killed again and again: no finished call of a model is paid twice, no finished call of a tool is made twice."""

import json
import os
import random
from pathlib import Path

import pytest
import sqlalchemy as sa

from builderos.assets.memory.model import memory_items
from builderos.core.unit import Unit, as_system
from builderos.trust.ledger import service as ledger
from builderos.workloads.agents.model import calls
from tests.support.agent_kills import carry_on
from tests.support.databases import Databases, FreshDatabase
from tests.support.models import say, use
from tests.support.world import Json, Sandbox, World, world_in_temp

SOAK = bool(os.environ.get("BUILDEROS_SOAK"))
KILLS = 200 if SOAK else 1
MOMENTS = (1, 7) if SOAK else (9, 15)  # how far a process comes
PIPELINE = """
name: kill
steps:
  - {id: build, agent: mason, title: Work}
  - {id: save, needs: [build], action: git.commit}
"""
AGENT = """
name: mason
role: Mason
prompt_ref: builder
toolset: [read_file, write_file, edit_file, run_shell, remember]
memory_profile: {remember: true}
"""
LINES = [
    use(("write_file", {"path": "a.txt", "content": "one\n"}), ("read_file", {"path": "a.txt"})),
    use(("remember", {"text": "The lab counts in words."}), ("run_shell", {"command": "echo two >> a.txt"})),
    use(("edit_file", {"path": "a.txt", "old": "two", "new": "two and a half"})),
    say("Counted."),
]


def start(world: World, box: Sandbox) -> str:
    body = {"pipeline": "kill", "repo_name": box.repo_name, "branch": box.branch}
    return str(world.ok(world.http.post("/v1/runs", json=body, headers=box.headers), 202)["run_id"])


def told(world: World, run: Json) -> tuple[list[Json], list[Json]]:
    """The journal's rows, and the lines of the ledger about tools."""
    step_id = next(step["id"] for step in run["steps"] if step["name"] == "build")

    def read(unit: Unit) -> tuple[list[Json], list[Json]]:
        rows = unit.execute(sa.select(calls).where(calls.c.step_id == step_id).order_by(calls.c.n))
        lines = ledger.lines_about(unit, step_id, type_="tool.used")
        return [dict(row._mapping) for row in rows], lines

    return as_system(world.context, world.org_id, read)


def killed_until_done(
    world: World, database: FreshDatabase, box: Sandbox, folder: Path, dice: random.Random
) -> int:
    folder.mkdir()
    (folder / "lines.json").write_text(json.dumps(LINES))
    run_id = start(world, box)
    kills = 0
    while carry_on(world.home, database, folder, run_id, dice.randint(*MOMENTS)):
        kills += 1
        assert kills < 100
    run = world.ok(world.as_owner("GET", f"/v1/runs/{run_id}"))
    assert run["status"] == "succeeded", [(s["name"], s["status"], s["error"]) for s in run["steps"]]
    found = box.post("/system/fetch_files", mode="single", path="a.txt")
    assert found["files"][0]["content"] == "one\ntwo and a half\n"
    rows, lines = told(world, run)
    assert [row["n"] for row in rows] == list(range(1, 10))
    assert {row["status"] for row in rows} == {"done"}
    assert [line["payload"]["call"] for line in lines] == [2, 3, 5, 6, 8]
    paid_once(folder)
    return kills


def paid_once(folder: Path) -> None:
    """Once the next turn was asked, the one before had a result: nobody asks it again."""
    turns = [json.loads(line)["turn"] for line in (folder / "asked.jsonl").read_text().splitlines()]
    assert turns == sorted(turns)
    assert set(turns) == {1, 2, 3, 4}


@pytest.mark.soak
def test_whatever_moment_the_process_is_killed_in_each_call_has_one_result(
    databases: Databases, tmp_path: Path
) -> None:
    dice = random.Random(20261121)
    with databases.fresh() as database, world_in_temp(database) as world:
        kills = rounds = 0
        while kills < KILLS:
            box = world.open_sandbox()
            box.commit({"ship/kill/pipeline.yaml": PIPELINE, "agents/mason.yaml": AGENT})
            kills += killed_until_done(world, database, box, tmp_path / str(rounds), dice)
            rounds += 1
            assert rounds <= KILLS
        items = as_system(world.context, world.org_id, remembered)
        assert items == rounds


# A foreign agent of the system's own Python, which lies in the repository: no library is in the jail.
STRANGER = """
import json, os, sys
number = 100
def say(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
def ask(method, **params):
    global number
    number += 1
    say(id=number, method=method, params={"sessionId": "s", **params})
    while True:
        reply = json.loads(sys.stdin.readline())
        if reply.get("id") == number and "method" not in reply:
            return reply["result"]
for line in sys.stdin:
    message = json.loads(line)
    result = {"initialize": {"protocolVersion": 1}, "session/new": {"sessionId": "s"}}.get(message["method"])
    if message["method"] == "session/prompt":
        with open("direct.txt", "a") as file:
            file.write("once\\n")
        options = [{"optionId": "yes", "kind": "allow_once", "name": "Yes"}]
        call = {"toolCallId": "c", "kind": "edit", "title": "More", "locations": [{"path": "/workspace/more.txt"}]}
        ask("session/request_permission", options=options, toolCall=call)
        was = open("told.txt").read() if os.path.exists("told.txt") else ""
        ask("fs/write_text_file", path="/workspace/told.txt", content=was + "once\\n")
        result = {"stopReason": "end_turn"}
    say(id=message["id"], result=result)
"""
THEIRS = """
name: kill
steps:
  - {id: build, agent: stranger, title: Work}
  - {id: save, needs: [build], action: git.commit}
"""
FOREIGN = (
    "name: stranger\nrole: Stranger\nprompt_ref: builder\ntoolset: []\n"
    "harness: {acp: [python3, theirs/agent.py]}\n"
)


def test_a_foreign_agent_that_is_killed_with_its_server_begins_anew_and_leaves_everything_once(
    databases: Databases, tmp_path: Path
) -> None:
    moments = (
        range(1, 26) if SOAK else (7, 9)
    )  # in the middle of its work, and right before it is written down
    with databases.fresh() as database, world_in_temp(database) as world:
        (tmp_path / "lines.json").write_text("[]")
        box = world.open_sandbox()
        files = {
            "ship/kill/pipeline.yaml": THEIRS,
            "agents/stranger.yaml": FOREIGN,
            "theirs/agent.py": STRANGER,
        }
        box.commit(files)
        run_id, kills = start(world, box), 0
        for moment in (*moments, 1000):
            if not carry_on(world.home, database, tmp_path, run_id, moment):
                break
            kills += 1
        run = world.ok(world.as_owner("GET", f"/v1/runs/{run_id}"))
        assert run["status"] == "succeeded", [(s["name"], s["status"], s["error"]) for s in run["steps"]]
        assert kills >= 2
        for path in ("direct.txt", "told.txt"):
            found = box.post("/system/fetch_files", mode="single", path=path)
            assert found["files"][0]["content"] == "once\n", path
        rows, _ = told(world, run)
        assert [row["n"] for row in rows] == list(range(1, len(rows) + 1))
        prompts = [row["status"] for row in rows if row["kind"] == "model"]
        assert prompts.count("done") == 1
        assert set(prompts[:-1]) <= {"failed"}


def remembered(unit: Unit) -> int:
    return int(unit.execute(sa.select(sa.func.count()).select_from(memory_items)).scalar_one())
