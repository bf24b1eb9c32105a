"""Who wrote a line: the story goes to the agent, its session, its model and the version of its prompt."""

import base64
import hashlib
import json
from typing import Any

from jsonschema import Draft202012Validator

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
    assert found["commit"]["agent_version"] == "builder@1.0.0 (double/scripted-1, scripted)"
    assert found["commit"]["run_id"] == run["id"]
    told = " ".join(found["story"])
    assert f"It names agent builder@1.0.0 (double/scripted-1, scripted), prompt {prompt}" in told


def test_the_commit_carries_trailers_that_every_git_shows(ship: Ship, model: Scripted) -> None:
    run = built(ship, model, "x = 2\n")
    newest = ship.box.post("/git/log")["items"][0]
    assert newest["sha"] == run["provenance"]["commits"][0]
    assert newest["agent_version"] == "builder@1.0.0 (double/scripted-1, scripted)"
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


# The form of a record as agent-trace.dev has it (0.1.0, CC BY 4.0), as far as a record of ours has members.
_RANGE = {
    "type": "object", "required": ["start_line", "end_line"],
    "properties": {
        "start_line": {"type": "integer", "minimum": 1}, "end_line": {"type": "integer", "minimum": 1},
        "content_hash": {"type": "string"},
    },
}  # fmt: skip
_CONVERSATION = {
    "type": "object", "required": ["ranges"],
    "properties": {
        "url": {"type": "string", "format": "uri"}, "ranges": {"type": "array", "items": _RANGE},
        "contributor": {
            "type": "object", "required": ["type"],
            "properties": {
                "type": {"enum": ["human", "ai", "mixed", "unknown"]}, "model_id": {"type": "string", "maxLength": 250},
            },
        },
        "related": {"type": "array", "items": {"type": "object", "required": ["type", "url"]}},
    },
}  # fmt: skip
RECORD = {
    "type": "object", "required": ["version", "id", "timestamp", "files"],
    "properties": {
        "version": {"type": "string", "pattern": "^[0-9]+\\.[0-9]+$"}, "id": {"type": "string", "format": "uuid"},
        "timestamp": {"type": "string", "format": "date-time"},
        "vcs": {"type": "object", "required": ["type", "revision"], "properties": {"type": {"enum": ["git"]}}},
        "files": {
            "type": "array",
            "items": {
                "type": "object", "required": ["path", "conversations"],
                "properties": {"conversations": {"type": "array", "items": _CONVERSATION}},
            },
        },
    },
}  # fmt: skip
TWO = """
steps:
  - {id: build, agent: builder, title: Build}
  - {id: shape, run: "printf '# shaped\\n' >> src/story.py", needs: [build]}
  - {id: words, agent: docwriter, title: Tell, needs: [shape], tools: [write_file]}
  - {id: save, needs: [words], action: git.commit, inputs: {message: Two of them}}
"""
THEIRS = "name: docwriter\nversion: 2.0.0\nrole: Writer\nprompt_ref: docwriter\ntoolset: [write_file]\n"


def traced(ship: Ship, sha: str) -> Json:
    found = ship.world.ok(ship.world.http.get(f"/v1/provenance/{sha}/trace", headers=ship.box.headers))
    Draft202012Validator(RECORD, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(found)
    assert found["vcs"] == {"type": "git", "revision": sha}
    return found


def lines_by(found: Json, path: str) -> dict[str, list[tuple[int, int]]]:
    """Who (a session, or the kind of contributor) → ranges of a file."""
    told: dict[str, list[tuple[int, int]]] = {}
    for file in found["files"]:
        for one in file["conversations"] if file["path"] == path else ():
            who = one.get("url", one["contributor"]["type"])
            told[who] = [(r["start_line"], r["end_line"]) for r in one["ranges"]]
    return told


def test_a_record_names_the_session_of_each_line_and_nobody_for_what_a_command_wrote(
    ship: Ship, model: Scripted
) -> None:
    first = "a = 1\nb = 2\nc = 3\n"
    model.lines["builder"] = [use(("write_file", {"path": "src/story.py", "content": first})), say("Done.")]
    model.lines["docwriter"] = [
        use(("write_file", {"path": "src/story.py", "content": "a = 1\n# two\nc = 3\n# shaped\n"})),
        say("Told."),
    ]
    run = ship.done(TWO, {"agents/docwriter.yaml": THEIRS})
    assert run["status"] == "succeeded", [(s["name"], s["error"]) for s in run["steps"]]
    steps = ship.steps(run)
    sha = run["provenance"]["commits"][0]
    found = traced(ship, sha)
    told = lines_by(found, "src/story.py")
    urls = {name: f"http://127.0.0.1/v1/steps/{steps[name]['id']}/calls" for name in ("build", "words")}
    by = {url.partition("/v1/")[2]: ranges for url, ranges in told.items()}
    assert by[urls["build"].partition("/v1/")[2]] == [(1, 1), (3, 3)]
    assert by[urls["words"].partition("/v1/")[2]] == [(2, 2)]
    assert told["unknown"] == [(4, 4)]
    talk = next(file for file in found["files"] if file["path"] == "src/story.py")["conversations"][0]
    assert talk["contributor"] == {"type": "ai", "model_id": "double/scripted-1"}
    assert talk["ranges"][0]["content_hash"] == "sha256:" + hashlib.sha256(b"a = 1\n").hexdigest()
    assert traced(ship, sha) == found

    asked = f"repo_name={ship.box.repo_name}&branch={ship.box.branch}&path=src/story.py"
    stories = {
        line: ship.world.ok(ship.world.http.get(f"/v1/why?{asked}&line={line}", headers=ship.box.headers))[
            "story"
        ]
        for line in (1, 2, 4)
    }
    session = (
        f"Session {steps['words']['id']}.1 of agent docwriter@2.0.0 wrote the line, "
        "with model double/scripted-1, scripted and prompt "
    )
    assert any(told.startswith(session) and "prompt docwriter@" in told for told in stories[2]), stories[2]
    assert any(f"Session {steps['build']['id']}.1 of agent builder@1.0.0" in told for told in stories[1])
    assert not any(told.startswith("Session") for told in stories[4])


def test_a_commit_that_only_says_that_a_run_made_it_is_not_believed(ship: Ship, model: Scripted) -> None:
    run = built(ship, model, "x = 5\n")
    reply = ship.box.commit({"src/mine.py": "mine = True\n"}, message=f"Mine\n\nBuilderOS-Run: {run['id']}")
    found = traced(ship, reply["commit_sha"])
    assert lines_by(found, "src/mine.py") == {"unknown": [(1, 1)]}
    ship.world.problem(
        ship.world.http.get(f"/v1/provenance/{'0' * 40}/trace", headers=ship.box.headers), "not_found"
    )


def test_a_receipt_names_everybody_who_took_part_in_rounds(ship: Ship, model: Scripted) -> None:
    judge = (
        "name: judge\nrole: Judge\nprompt_ref: reviewer\ntoolset: [read_file]\n"
        "output: {schema: {type: object, required: [verdict], properties: {verdict: {type: string}}}}\n"
        "verdict: {field: verdict, passes: [good]}\n"
    )
    steps = (
        "steps:\n"
        "  - {id: build, action: rounds, inputs: {goal: Do it, executor: builder, evaluator: judge, max: 2}}\n"
        "  - {id: save, needs: [build], action: git.commit, inputs: {message: Judged}}\n"
    )
    model.lines["builder"] = [use(("write_file", {"path": "src/j.py", "content": "j = 1\n"})), say("Done.")]
    model.lines["judge"] = [use(("final_answer", {"verdict": "good"}))]
    run = ship.done(steps, {"agents/judge.yaml": judge})
    assert run["status"] == "succeeded", [(s["name"], s["error"]) for s in run["steps"]]
    made_by: list[Any] = ship.steps(run)["build"]["result"]["made_by"]
    assert [one["agent"] for one in made_by] == ["builder@1.0.0", "judge@1.0.0"]
    envelope = ship.world.ok(ship.world.as_owner("GET", f"/v1/runs/{run['id']}/receipt"))
    known = json.loads(base64.b64decode(envelope["payload"]))["predicate"]["buildDefinition"][
        "internalParameters"
    ]
    assert known["agents"] == {
        "builder": "double/scripted-1, scripted",
        "judge": "double/scripted-1, scripted",
    }
    assert {name.partition("@")[0] for name in known["prompts"]} == {"builder", "reviewer"}
    assert all(sha.startswith("sha256:") for sha in known["prompts"].values())
    told = lines_by(traced(ship, run["provenance"]["commits"][0]), "src/j.py")
    assert list(told.values()) == [[(1, 1)]]
    assert "unknown" not in told


def test_lines_of_a_proposal_that_was_not_chosen_are_nobodys(ship: Ship, model: Scripted) -> None:
    for agent, text in (("builder", "same\nshort\n"), ("docwriter", "same\na long one\n")):
        model.lines[agent] = [
            use(("write_file", {"path": "docs/c.md", "content": text})),
            say(f"{agent} did"),
        ]
    model.lines["reviewer"] = [use(("final_answer", {"choice": "short", "reasons": "It says all."}))]
    run = ship.done(
        "steps:\n"
        "  - {id: long, agent: docwriter, lane: b}\n"
        "  - {id: short, agent: builder, lane: a}\n"
        "  - {id: choose, action: choose, needs: [short, long], inputs: {goal: The shorter one}}\n"
        "  - {id: save, needs: [choose], action: git.commit, inputs: {message: Chosen}}\n"
    )
    assert run["status"] == "succeeded", [(s["name"], s["error"]) for s in run["steps"]]
    told = lines_by(traced(ship, run["provenance"]["commits"][0]), "docs/c.md")
    (who,) = told
    assert ship.steps(run)["short"]["id"] in who
    assert told[who] == [(1, 2)]
