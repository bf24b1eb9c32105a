"""An agent from the pipeline file to the commit: its tools work, its calls are kept, its receipt tells of it."""

import base64
import json

from tests.support.models import Scripted, say, use
from tests.support.runs import Ship

PIPELINE = """
params: {goal: {type: string, required: true}}
steps:
  - {id: build, agent: builder, action: generate}
  - {id: save, needs: [build], action: git.commit, inputs: {message: Say hello}}
"""


def test_an_agent_reads_writes_and_answers_and_its_files_reach_the_branch(
    ship: Ship, model: Scripted
) -> None:
    model.lines["builder"] = [
        use(("list_files", {}), ("read_file", {"path": "README.md"})),
        use(("write_file", {"path": "src/hello.py", "content": "print('hello')\n"})),
        use(("edit_file", {"path": "src/hello.py", "old": "hello", "new": "hello, lab"})),
        say("Done: src/hello.py greets."),
    ]
    run = ship.done(PIPELINE, params={"goal": "Greet the lab"})
    assert run["status"] == "succeeded", [(s["name"], s["status"], s["error"]) for s in run["steps"]]
    build = ship.steps(run)["build"]
    assert build["usage"]["model_calls"] == 4
    found = ship.box.post("/system/fetch_files", mode="single", path="src/hello.py")
    assert found["files"][0]["content"] == "print('hello, lab')\n"
    first = model.requests("builder")[0]
    assert first["messages"][0]["role"] == "system"
    assert "Greet the lab" in first["messages"][1]["content"]
    second = model.requests("builder")[1]["messages"]
    assert [m["role"] for m in second[2:]] == ["assistant", "tool", "tool"]
    assert "README.md" in second[3]["content"]
    assert "# Lab" in second[4]["content"]


def test_the_receipt_names_the_prompt_and_the_model(ship: Ship, model: Scripted) -> None:
    model.lines["builder"] = [use(("write_file", {"path": "a.txt", "content": "a"})), say("Done.")]
    run = ship.done(PIPELINE, params={"goal": "Make a"})
    envelope = ship.world.ok(ship.world.as_owner("GET", f"/v1/runs/{run['id']}/receipt"))
    known = json.loads(base64.b64decode(envelope["payload"]))["predicate"]["buildDefinition"][
        "internalParameters"
    ]
    assert list(known["prompts"]) == ["builder@1.0.0"]
    assert known["prompts"]["builder@1.0.0"].startswith("sha256:")
    assert known["agents"] == {"builder": "double/scripted-1, scripted"}
    assert known["tools"]["write_file"] == "1"
