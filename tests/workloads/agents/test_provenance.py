"""Who wrote a line: the story goes to the agent, its model and the version of its prompt."""

from tests.support.models import Json, Scripted, say, use
from tests.support.runs import Ship

PIPELINE = """
steps:
  - {id: plan, agent: planner, title: Plan}
  - {id: build, agent: builder, title: Build, needs: [plan]}
  - {id: look, run: "true", needs: [build]}
  - {id: save, needs: [look], action: git.commit, inputs: {message: Build it}}
"""


def built(ship: Ship, model: Scripted, content: str = "x = 1\n") -> Json:
    model.lines["planner"] = [use(("list_files", {})), say("One file.")]
    model.lines["builder"] = [
        use(("write_file", {"path": "src/story.py", "content": content})),
        say("Done."),
    ]
    run = ship.done(PIPELINE)
    assert run["status"] == "succeeded", [(s["name"], s["error"]) for s in run["steps"]]
    return run


def test_why_reaches_the_prompt_version_and_the_model(ship: Ship, model: Scripted) -> None:
    run = built(ship, model)
    asked = {"repo_name": ship.box.repo_name, "branch": ship.box.branch, "path": "src/story.py", "line": "1"}
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    found = ship.world.ok(ship.world.http.get(f"/v1/why?{query}", headers=ship.box.headers))
    prompt = ship.steps(run)["build"]["result"]["made_with"]["prompt"]
    assert found["commit"]["prompt_version"] == prompt
    assert prompt.startswith("builder@1.0.0#sha256:")
    assert found["commit"]["agent_version"] == "builder@1.0.0 (scripted-1)"
    assert found["commit"]["run_id"] == run["id"]
    told = " ".join(found["story"])
    assert f"It names agent builder@1.0.0 (scripted-1), prompt {prompt}" in told


def test_the_commit_carries_trailers_that_every_git_shows(ship: Ship, model: Scripted) -> None:
    run = built(ship, model, "x = 2\n")
    newest = ship.box.post("/git/log")["items"][0]
    assert newest["sha"] == run["provenance"]["commits"][0]
    assert newest["agent_version"] == "builder@1.0.0 (scripted-1)"
    assert newest["tool"] == "git.commit@1"


def test_the_key_of_a_step_changes_with_its_prompt_and_not_with_its_name(ship: Ship, model: Scripted) -> None:
    lines = [use(("list_files", {})), say("Nothing to do.")]
    model.lines["builder"] = lines
    one = "steps:\n  - {id: %s, agent: builder, title: Look}\n"
    keys = [ship.done(one % name)["steps"][0]["cache_key"] for name in ("a", "a")]
    assert keys[0].startswith("sha256:")
    prompt = "name: builder\nversion: 9.0.0\nchangelog: Ours.\ntemplate: Do it.\n"
    other = ship.done(one % "a", {"prompts/builder.yaml": prompt})["steps"][0]
    assert other["cache_key"] not in keys
