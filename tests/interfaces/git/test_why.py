"""Why a line is there that came by git push: named like any other, with what its maker said of itself."""

from typing import Any

from .conftest import Live


def why(live: Live, path: str, line: int, branch: str) -> dict[str, Any]:
    asked = {"repo_name": "lab", "path": path, "line": line, "branch": branch}
    return live.world.ok(live.world.as_owner("GET", "/v1/why", params=asked))


def test_each_line_of_a_push_has_its_own_commit_and_the_one_line_of_the_push(alone: Live) -> None:
    desk = alone.clone()
    named = ("Prompt-Version: planner@1.3.0#sha256:abc", "Agent-Version: model-x", "Run: run_7")
    said = "Add it\n\n" + "\n".join(f"BuilderOS-{line}" for line in named)
    first = desk.commit({"pushed.py": "one\n"}, said)
    second = desk.commit({"pushed.py": "one\ntwo\n"}, "And more")
    assert desk.push().ok
    told = why(alone, "pushed.py", 1, alone.sandbox.branch)
    commit = told["commit"]
    assert (commit["sha"], commit["act"]["type"], commit["act"]["door"]) == (first, "push", "git")
    assert (commit["prompt_version"], commit["agent_version"], commit["run_id"]) == (
        "planner@1.3.0#sha256:abc", "model-x", "run_7",
    )  # fmt: skip
    edges = {(e["subject"], e["relation"], e["object"]) for e in told["edges"]}
    assert (f"commit:{first}", "with_prompt_version", "prompt_version:planner@1.3.0#sha256:abc") in edges
    story = " ".join(told["story"])
    assert "pushed it" in story
    assert "prompt planner@1.3.0#sha256:abc" in story
    other = why(alone, "pushed.py", 2, alone.sandbox.branch)["commit"]
    assert (other["sha"], other["prompt_version"], other["act"]["seq"]) == (
        second,
        None,
        commit["act"]["seq"],
    )


def test_a_pushed_line_is_followed_into_main_and_the_approval_shows_its_prompt(alone: Live) -> None:
    desk = alone.clone()
    sha = desk.commit({"led.py": "x\n"}, "Add\n\nBuilderOS-Prompt-Version: planner@2")
    assert desk.push().ok
    opened = alone.sandbox.post("/git/promote", title="Bring it")
    shown = alone.world.ok(alone.world.as_owner("GET", f"/v1/approvals/{opened['approval_id']}"))
    assert shown["prompt_version"] == "planner@2"
    decide = {"decision": "approve", "comment": "Fine"}
    alone.world.ok(alone.world.as_owner("POST", f"/v1/approvals/{opened['approval_id']}", json=decide))
    told = why(alone, "led.py", 1, "main")
    assert told["commit"]["sha"] == sha
    assert [step["target"] for step in told["promotions"]] == ["main"]
    assert told["promotions"][0]["approval"]["decisions"][0]["comment"] == "Fine"
