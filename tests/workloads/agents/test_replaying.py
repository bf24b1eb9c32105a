"""A run of agents that is replayed with another version of a prompt: the first step that would be asked otherwise."""

import pytest

from builderos.workloads.agents.ports import Models
from tests.support.models import Json, Scripted, say, use
from tests.support.runs import Ship

PIPELINE = """
params: {word: {type: string, default: hello}}
steps:
  - {id: plan, agent: planner, title: Plan}
  - {id: build, agent: builder, title: Build, needs: [plan], inputs: {word: "${{ params.word }}"}}
  - {id: look, run: "cat src/*", needs: [build]}
"""
NEXT = "name: builder\nversion: 2.0.0\nchangelog: Ours.\ntemplate: Do it otherwise.\n"


@pytest.fixture(scope="module")
def built(ship: Ship) -> Json:
    model = Scripted()
    ship.context.put(Models, model)  # type: ignore[type-abstract]
    model.lines["planner"] = [use(("list_files", {})), say("One file.")]
    model.lines["builder"] = [use(("write_file", {"path": "src/a.py", "content": "x = 1\n"})), say("Done.")]
    run = ship.done(PIPELINE)
    assert run["status"] == "succeeded", [(s["name"], s["error"]) for s in run["steps"]]
    ship.box.commit({"prompts/builder/2.0.0.yaml": NEXT})
    return run


def replayed(ship: Ship, run: Json, against: str) -> Json:
    http, headers = ship.world.http, ship.box.headers
    asked = http.post(f"/v1/runs/{run['id']}/replay", json={"against": against}, headers=headers)
    ship.until(begun := ship.world.ok(asked, 202)["run_id"])
    return ship.world.ok(http.get(f"/v1/runs/{begun}/replay", headers=headers))


def test_another_version_of_a_prompt_is_the_divergence_of_the_step_that_was_given_it(
    ship: Ship, built: Json, model: Scripted
) -> None:
    for against in ("builder@2.0.0", "prompt.builder@2.0.0", "builder@^2"):
        found = replayed(ship, built, against)
        verdicts = {step["name"]: step["verdict"] for step in found["steps"]}
        assert verdicts == {"plan": "unchanged", "build": "diverged", "look": "skipped"}, found
        assert (found["reproduced"], found["executed"], found["served"]) == (False, 0, 1)
        first = found["first_divergence"]
        assert (first["step"], first["differs"]) == ("build", ["definition.prompt", "prompt"])
        assert first["expected"]["prompt"].startswith("builder@1.0.0#sha256:")
        assert first["found"]["prompt"].startswith("builder@2.0.0#sha256:")
        assert first["expected"]["key"] == ship.steps(built)["build"]["cache_key"] != first["found"]["key"]
        assert "definition.prompt, prompt" in first["error"]
    assert model.asked == [], "no model is asked in a replay"


def test_the_version_that_was_used_and_what_agents_are_not_told_change_nothing(
    ship: Ship, built: Json
) -> None:
    for against in ("builder@1.0.0", "env.NOBODY_READS=1"):
        found = replayed(ship, built, against)
        verdicts = [step["verdict"] for step in found["steps"]]
        assert verdicts[:2] == ["unchanged", "unchanged"], found
        assert found["reproduced"] is True


def test_an_agent_that_would_be_given_other_inputs_is_the_divergence_too(ship: Ship, built: Json) -> None:
    first = replayed(ship, built, "param.word=servus")["first_divergence"]
    assert (first["step"], first["differs"]) == ("build", ["inputs.word"])


@pytest.mark.parametrize(
    ("against", "code", "hint"),
    [
        ("reviewer@1.0.0", "validation_failed", "Used were: builder, planner."),
        ("prompt@2.0.0", "validation_failed", "Used were: builder, planner."),
        ("builder@7.0.0", "not_found", ""),
        ("builder@", "validation_failed", "NAME@VERSION of a prompt"),
    ],
)
def test_what_no_agent_was_given_cannot_be_changed(
    ship: Ship, built: Json, against: str, code: str, hint: str
) -> None:
    reply = ship.world.http.post(
        f"/v1/runs/{built['id']}/replay", json={"against": against}, headers=ship.box.headers
    )
    assert (reply.json()["code"], hint in reply.json()["hint"]) == (code, True), reply.text


def test_prompt_alone_means_the_only_one_of_the_run(ship: Ship, model: Scripted) -> None:
    model.lines["builder"] = [use(("list_files", {})), say("Nothing.")]
    run = ship.done("steps:\n  - {id: work, agent: builder, title: Look}\n")
    used = ship.steps(run)["work"]["result"]["made_with"]["prompt"]
    ship.box.commit({"prompts/builder/3.0.0.yaml": NEXT.replace("2.0.0", "3.0.0")})
    found = replayed(ship, run, "prompt@3.0.0")
    assert found["first_divergence"]["expected"]["prompt"] == used
    assert found["steps"][0]["verdict"] == "diverged"
