"""A coding agent of somebody else: it works in the jail, asks through the gate, and is held where it does not ask."""

import dataclasses
import site
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from builderos.execution.compute.schema import Mount, Sandbox, Spec
from builderos.execution.compute.service import SandboxProviders
from builderos.workloads.agents import journal
from builderos.workloads.agents.conversation import Answered
from builderos.workloads.agents.definition import ADAPTERS, agent_of, parse
from tests.support.databases import Databases
from tests.support.models import Json
from tests.support.runs import Ship, ship_in_temp
from tests.support.sandboxes import until

from .test_people import decide, entries, in_force, post, waiting

PYTHON = ("env", "LD_LIBRARY_PATH=/opt/python/lib", f"/opt/python/bin/python3.{sys.version_info.minor}")
MOUNTS = (
    Mount(sys.base_prefix, "/opt/python"),
    Mount(site.getsitepackages()[0], "/opt/agent/packages"),
    Mount(str(Path(__file__).resolve().parents[2] / "support" / "foreign_agent.py"), "/opt/agent/agent.py"),
)
STEPS = """
steps:
  - {id: build, agent: theirs, title: Work, inputs: {goal: Greet the lab}}
  - {id: save, needs: [build], action: git.commit, inputs: {message: Theirs}}
"""


def file(mode: str, more: str = "") -> str:
    command = [*PYTHON, "/opt/agent/agent.py", mode]
    return (
        f"name: theirs\nrole: Theirs\nprompt_ref: builder\ntoolset: []\nharness: {{acp: {command}}}\n{more}"
    )


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    """A ship in whose jail there is the agent's program: the interpreter, its library, and itself."""
    with databases.fresh() as database, ship_in_temp(database) as made:
        provider: Any = made.context.get(SandboxProviders).provider("local")
        start: Callable[[Spec], Sandbox] = provider.start
        provider.start = lambda spec: start(dataclasses.replace(spec, mounts=MOUNTS))
        yield made


def worked(ship: Ship, mode: str, more: str = "") -> Json:
    run = ship.done(STEPS, {"agents/theirs.yaml": file(mode, more)})
    return {**run, "build": ship.steps(run)["build"]}


def content(ship: Ship, path: str) -> str:
    found = ship.box.post("/system/fetch_files", mode="single", path=path)
    return str(found["files"][0]["content"])


def begun_with(ship: Ship, step_id: str) -> str:
    """The tree that the session of a step began with."""

    def read(unit: Unit) -> str:
        session = journal.newest(unit, step_id)
        assert session is not None
        return session.tree

    return as_system(ship.context, ship.world.org_id, read)


def test_a_foreign_agent_reads_asks_and_writes_and_its_files_reach_the_branch(ship: Ship) -> None:
    run = worked(ship, "good")
    assert run["status"] == "succeeded", run["build"]
    assert content(ship, "src/hello.py") == "print('hello')\n"
    assert content(ship, "src/deep/via.py") == "via = 1\n"
    calls = entries(ship, run["build"]["id"])
    assert [(call.name, call.status) for call in calls if call.kind == "tool"] == [
        ("foreign_agent", "done"), ("read_file", "done"), ("foreign_edit", "done"), ("write_file", "done"),
    ]  # fmt: skip
    talk = next(call for call in calls if call.kind == "model")
    assert talk.response is not None
    assert talk.response["text"] == "answer yes; # Lab; told True"
    assert talk.response["tool_calls"][0]["title"] == "Write src/hello.py"
    assert talk.tree is not None


def test_a_refused_request_is_answered_with_no_and_stands_in_the_journal(ship: Ship) -> None:
    run = worked(ship, "shell", "policy: {deny: {tools: [foreign_execute]}}\n")
    assert run["status"] == "succeeded", run["build"]
    calls = entries(ship, run["build"]["id"])
    assert [call.status for call in calls if call.name == "foreign_execute"] == ["refused"]
    assert [call.response["text"] for call in calls if call.kind == "model" and call.response] == ["no"]


def test_the_same_request_goes_through_once_a_person_has_said_yes(ship: Ship) -> None:
    policy = "version: 1\napprovals:\n  - {id: theirs, when: {action: [tool.foreign]}, from: [Owner]}\n"
    with in_force(ship, policy):
        id_ = ship.start(ship.pipeline(STEPS, {"agents/theirs.yaml": file("shell")}))
        step = waiting(ship, id_)
        asked = entries(ship, step["id"])
        assert [call.status for call in asked if call.name == "foreign_execute"] == ["waiting"]
        decide(ship, str(asked[-1].decision["approval_id"]), "approve")
        run = ship.until(id_)
    assert run["status"] == "succeeded", ship.steps(run)["build"]
    after = entries(ship, step["id"])
    assert [call.status for call in after if call.name == "foreign_execute"] == ["failed", "done"]
    assert content(ship, "released.txt") == "yes\n"


def test_an_interrupted_agent_begins_anew_with_what_it_was_told_on_the_files_of_before(ship: Ship) -> None:
    id_ = ship.start(ship.pipeline(STEPS, {"agents/theirs.yaml": file("waits_for_word")}))
    step_id = ship.steps(ship.run(id_))["build"]["id"]
    until(lambda: any(call.name == "read_file" for call in entries(ship, step_id)))
    post(ship, f"/v1/steps/{step_id}/interrupt")
    waiting(ship, id_, "waiting_input")
    post(ship, f"/v1/runs/{id_}/answer", answer="Write the second file")
    run = ship.until(id_)
    assert run["status"] == "succeeded", ship.steps(run)["build"]
    talks = [call for call in entries(ship, step_id) if call.kind == "model"]
    assert [call.status for call in talks] == ["failed", "done"]
    assert content(ship, "second.txt") == "told True; first here False\n"


def test_an_agent_that_ignores_a_refusal_fails_with_all_that_it_wrote(ship: Ship) -> None:
    run = worked(ship, "ignores")
    assert (run["build"]["status"], run["build"]["reason"]) == ("failed", "policy")
    assert "builderos.policy.yaml" in run["build"]["error"]
    calls = entries(ship, run["build"]["id"])
    assert [call.status for call in calls if call.name == "foreign_edit"] == ["refused"]


def test_an_agent_finds_no_network_no_secrets_and_nothing_of_the_machine(ship: Ship) -> None:
    run = worked(ship, "looks_around")
    assert run["status"] == "succeeded", run["build"]
    said = run["build"]["result"]["text"] if "result" in run["build"] else run["build"]["outputs"]["text"]
    assert said.startswith("env [] outside [] network ")
    assert not said.endswith("reached")


KEY = "foreign-key-0a4f7713c2d94e55"


def test_a_key_comes_out_of_the_vault_into_the_environment_and_nowhere_else(ship: Ship) -> None:
    world = ship.world
    world.ok(world.as_owner("POST", "/v1/secrets", json={"key_name": "LAB_KEY", "value": KEY}))
    command = [*PYTHON, "/opt/agent/agent.py", "keyed"]
    theirs = (
        "name: theirs\nrole: Theirs\nprompt_ref: builder\ntoolset: []\n"
        f"harness: {{acp: {command}, secrets: [LAB_KEY], env: {{LAB_PLACE: here}}, authenticate: api-key}}\n"
    )
    run = ship.done(STEPS, {"agents/theirs.yaml": theirs})
    build = ship.steps(run)["build"]
    assert (build["status"], build["reason"]) == ("failed", "policy"), "no rule allows it"
    allowed = "version: 1\nrules:\n  - {id: key, scope: {agent: theirs}, allow: {secrets: [LAB_KEY]}}\n"
    with in_force(ship, allowed):  # the agent may have it, but not whoever started the run
        run = ship.done(STEPS, {"agents/theirs.yaml": theirs})
        assert ship.steps(run)["build"]["reason"] == "policy"
    with in_force(ship, "version: 1\nrules:\n  - {id: key, allow: {secrets: [LAB_KEY]}}\n"):
        run = ship.done(STEPS, {"agents/theirs.yaml": theirs})
    build = ship.steps(run)["build"]
    assert build["status"] == "succeeded", build
    assert build["result"]["text"].startswith(f"api-key here {len(KEY)} False ")
    log = world.as_owner("GET", f"/v1/steps/{build['id']}/logs").text
    assert "the key is" in log
    calls = entries(ship, build["id"])
    told = repr([(call.request, call.response) for call in calls]) + log + repr(run)
    assert KEY not in told


def test_what_an_agent_puts_into_git_folders_is_not_taken(ship: Ship) -> None:
    look = "  - {id: look, needs: [build], run: 'find . -name .git > found.txt; ls src >> found.txt'}\n"
    steps = STEPS.replace("  - {id: save, needs: [build]", f"{look}  - {{id: save, needs: [look]")
    run = ship.done(steps, {"agents/theirs.yaml": file("writes_git")})
    assert run["status"] == "succeeded", run["steps"]
    assert "ok.py" in content(ship, "found.txt").split()
    assert ".git" not in content(ship, "found.txt")


def test_files_outside_of_the_workspace_are_not_served(ship: Ship) -> None:
    run = worked(ship, "escapes")
    calls = entries(ship, run["build"]["id"])
    talk = next(call for call in calls if call.kind == "model")
    assert talk.response is not None
    assert len(talk.response["text"].split()) == 11  # each of them was refused
    assert talk.response["text"].endswith(" no")
    told = [
        (call.name, call.status, (call.response or {}).get("code")) for call in calls if call.kind == "tool"
    ]
    outside = [(name, "refused", "invalid_path") for name in ("read_file", "write_file")]
    assert told[1:5] == outside * 2
    assert told[-3] == ("write_file", "refused", "invalid_path")  # it would be another text without its NUL
    assert told[-2] == ("terminal/create", "refused", "tool_not_allowed")
    assert told[-1] == ("foreign_edit", "refused", "invalid_path")
    found = ship.world.ok(
        ship.world.as_owner("GET", f"/v1/audit?type=tool.refused&object={run['build']['id']}")
    )
    assert [line["payload"]["tool"] for line in found["items"]].count("terminal/create") == 1
    assert len(found["items"]) == 7


def test_a_program_that_is_not_in_the_sandbox_is_named(ship: Ship) -> None:
    text = file("good").replace(str(PYTHON[0]), "no-such-agent")
    run = ship.done(STEPS, {"agents/theirs.yaml": text})
    assert "the sandbox has no program 'no-such-agent'" in ship.steps(run)["build"]["error"]


def test_an_agent_without_a_key_is_told_where_keys_go() -> None:
    said = str(Answered("session/prompt", {"code": -32000, "message": "Authentication required"}))
    assert "Authentication required" in said
    assert "harness: {secrets: [NAME]}" in said


@pytest.mark.parametrize(
    ("mode", "word"),
    [("endless", "output"), ("garbage", "mistakes"), ("early", "could not be started|answer")],
)
def test_what_speaks_no_acp_fails_its_step(ship: Ship, mode: str, word: str) -> None:
    run = worked(ship, mode)
    assert (run["build"]["status"], run["build"]["reason"]) == ("failed", "problem")
    assert any(one in run["build"]["error"] for one in word.split("|"))


def test_an_agent_that_never_ends_is_ended_and_nothing_of_its_work_is_taken(ship: Ship) -> None:
    run = worked(ship, "never_ends", "limits: {seconds: 3}\n")
    assert run["build"]["status"] == "timed_out"
    talk = entries(ship, run["build"]["id"])[-1]
    assert (talk.kind, talk.status, talk.tree) == ("model", "begun", None)
    assert run["build"]["output_tree"] == begun_with(ship, run["build"]["id"])


def test_an_agent_file_says_its_command_or_the_name_of_a_published_one() -> None:
    head = "name: theirs\nrole: Theirs\nprompt_ref: builder\ntoolset: []\n"
    agent = parse(f"{head}harness: {{acp: claude-code}}\n", "a.yaml")
    assert agent.harness == ADAPTERS["claude-code"]
    assert agent_of(agent.as_json()) == agent
    assert parse(f'{head}harness: {{acp: [mine, "--acp", "--acp"]}}\n', "a.yaml").harness == (
        "mine",
        "--acp",
        "--acp",
    )
    for wrong in (
        "{acp: other}",
        "{acp: []}",
        "{acp: [1]}",
        "{}",
        "{acp: codex}\nverdict: {field: a, passes: [b]}",
    ):
        with pytest.raises(Problem, match=r"a\.yaml"):
            parse(f"{head}harness: {wrong}\n", "a.yaml")
