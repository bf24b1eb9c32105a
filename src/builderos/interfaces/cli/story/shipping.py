"""Act 2: a pipeline carries work through whatever happens to the server; what it did can be proved and repeated."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from builderos.client.http import Client

from .stage import Act, Failed, Json, Stage

REPO: Final = "demo"
PATIENCE_S: Final = 60
PIPELINE: Final = """\
name: shipping
version: 1.0.0
description: Two lanes, a test that fails once, a question, an approval, one commit.
params:
  goal: {type: string}
steps:
  - {id: plan, run: 'LC_ALL=C ls -A > plan.txt; echo "$GOAL" >> plan.txt', env: {GOAL: "${{ params.goal }}"}}
  - {id: code, needs: [plan], lane: code, run: 'sleep 2; wc -l < plan.txt > counted.txt'}
  - {id: docs, needs: [plan], lane: docs, run: 'sleep 0.3; { echo "# Contents"; cat plan.txt; } > CONTENTS.md'}
  - {id: test, needs: [code, docs], retries: {max: 2, backoff: 200ms}, gates: [tests_pass],
     run: 'test -s CONTENTS.md && test "$BUILDEROS_ATTEMPT" -ge 2'}
  - {id: ask, needs: [test], question: {message: Which release is this?, choices: [alpha, beta]}}
  - {id: label, needs: [ask], run: 'echo "$RELEASE" > RELEASE', env: {RELEASE: "${{ steps.ask.outputs.answer }}"}}
  - {id: approve, needs: [label], approval: {message: Put it on the branch?}}
  - {id: save, needs: [approve], action: git.commit, inputs: {message: Add contents and release}}
"""
OVER: Final = frozenset({"succeeded", "failed", "denied", "cancelled", "timed_out"})


class Shipping(Act):
    """The act, in the order it is told."""

    def __init__(self, stage: Stage, source: str) -> None:
        self.stage = stage
        self.source = source
        self.token = ""
        self.branch = ""
        self.run_id = ""
        self.before: dict[str, Json] = {}
        self.patience_s: float = PATIENCE_S

    def scenes(self) -> tuple[tuple[str, Callable[[], None]], ...]:
        """Titles and scenes in order."""
        return (
            ("A real repository, and a pipeline on a branch of it", self.open),
            ("Killed in the middle of two lanes", self.crash),
            ("A test that fails, a question, an approval", self.people),
            ("What was done, and how often", self.result),
            ("The same again, from its records", self.replay),
            ("The receipt, without the server", self.receipt),
        )

    @property
    def _client(self) -> Client:
        return self.stage.client(self.token)

    def _run(self) -> Json:
        return self._client.call("GET", f"/v1/runs/{self.run_id}")

    def _until(self, what: str, holds: Callable[[Json], bool]) -> Json:
        """The run once this holds. Raises `Failed` when it ends before, or takes too long."""
        until = time.monotonic() + self.patience_s
        while True:
            run = self._run()
            if holds(run):
                return run
            if run["status"] in OVER or time.monotonic() > until:
                wrong = [
                    (s["name"], s["status"], s["reason"], s["error"]) for s in run["steps"] if s["error"]
                ]
                raise Failed(f"not true: {what} (found: {run['status']} {run['detail']} {wrong})")
            time.sleep(0.05)

    def open(self) -> None:
        """Import, open a workspace, commit the pipeline, start it."""
        stage = self.stage
        stage.start()
        repo = stage.owner().call("POST", "/v1/repos/import", {"source": self.source, "name": REPO})
        stage.say(f"imported {self.source}", repo["head_sha"])
        opened = stage.client().call("POST", "/sandbox/init", {"mode": "branch", "repo_name": REPO})
        self.token, self.branch = opened["reuse_token"], opened["branch"]
        checked = stage.owner().call(
            "POST", "/v1/pipelines/validate", {"content": PIPELINE, "name": "shipping"}
        )
        stage.check(checked["valid"], "the pipeline has no mistake", checked["errors"])
        body = {
            "repo_name": REPO, "branch": self.branch, "message": "Add a pipeline",
            "files": [{"path": "ship/shipping/pipeline.yaml", "content": PIPELINE}],
        }  # fmt: skip
        made = self._client.call("POST", "/commit_and_log_output", body)
        stage.say(f"a pipeline of {checked['steps']} steps is on {self.branch}", made["commit_sha"])
        wish = {
            "pipeline": "shipping",
            "repo_name": REPO,
            "branch": self.branch,
            "params": {"goal": "A table of contents"},
        }
        self.run_id = self._client.call("POST", "/v1/runs", wish)["run_id"]
        stage.say(f"started as {self.run_id}")

    def crash(self) -> None:
        """SIGKILL while one lane is at work and the other is done; the next process goes on where it was."""
        stage = self.stage
        run = self._until("one lane is done while the other works", _in_the_middle)
        self.before = {s["name"]: _recorded(s) for s in run["steps"] if s["end"] is not None}
        stage.kill()
        stage.say(f"SIGKILL while code runs; {' and '.join(sorted(self.before))} were done")
        began = time.monotonic()
        stage.start()
        self._until("the run goes on by itself", lambda run: step_of(run, "code")["status"] == "succeeded")
        stage.say(f"it went on by itself, {time.monotonic() - began:.1f} s after the restart began")

    def people(self) -> None:
        """The test fails once and is tried again; somebody answers; somebody says yes."""
        stage = self.stage
        run = self._until("the run asks its question", lambda run: run["status"] == "waiting_input")
        test = step_of(run, "test")
        stage.check(
            (test["status"], test["attempt"]) == ("succeeded", 2), "the test failed once, then passed", test
        )
        stage.say("the test failed, was tried again, and passed")
        where = f"/v1/runs/{self.run_id}/answer"
        stage.refused(
            "validation_failed", "an answer that is no choice", self._client, where, {"answer": "gamma"}
        )
        self._client.call("POST", where, {"answer": "beta"})
        stage.say("somebody answered: beta")
        run = self._until("the run waits for an approval", lambda run: run["status"] == "waiting_approval")
        id_ = step_of(run, "approve")["approval_id"]
        stage.refused(
            "policy_denied", "a yes of the workspace itself", self._client, f"/v1/approvals/{id_}",
            {"decision": "approve"},
        )  # fmt: skip
        shown = stage.owner().call("GET", f"/v1/approvals/{id_}")
        stage.check("+beta" in shown["diff"], "the approval shows exactly what was made", shown["diff"][:200])
        stage.owner().call("POST", f"/v1/approvals/{id_}", {"decision": "approve"})
        stage.say("the owner has seen the difference and said yes")
        self._until("the run succeeds", lambda run: run["status"] == "succeeded")

    def result(self) -> None:
        """Finished steps were not done again; one commit is on the branch."""
        stage, run = self.stage, self._run()
        after = {s["name"]: _recorded(s) for s in run["steps"]}
        changed = {name for name, was in self.before.items() if after[name] != was}
        stage.check(not changed, "what was done before the kill is as it was recorded", changed)
        listed = stage.owner().call("GET", "/v1/sandbox-runs", {"run_id": self.run_id, "limit": 200})["items"]
        for name in self.before:
            count = sum(item["step_id"] == name for item in listed)
            stage.check(count == 1, f"the command of {name} ran once", count)
        stage.say(f"{' and '.join(sorted(self.before))} ran once each, {len(listed)} commands in all")
        (sha,) = run["provenance"]["commits"]
        read = {
            "repo_name": REPO,
            "branch": self.branch,
            "mode": "batch",
            "paths": ["RELEASE", "CONTENTS.md"],
        }
        files = {
            f["path"]: f["content"] for f in self._client.call("POST", "/system/fetch_files", read)["files"]
        }
        stage.check(files["RELEASE"] == "beta\n", "the answer is on the branch", files.get("RELEASE"))
        stage.check("A table of contents" in files["CONTENTS.md"], "the parameter is on the branch", files)
        stage.say("one commit has brought it to the branch", sha)
        verdict = stage.owner().call("GET", "/v1/audit/verify")
        stage.check(verdict["ok"], "the ledger verifies", verdict)

    def replay(self) -> None:
        """Executed again without network and effects: the same trees."""
        stage = self.stage
        id_ = self._client.call("POST", f"/v1/runs/{self.run_id}/replay", {})["run_id"]
        until = time.monotonic() + PATIENCE_S
        while self._client.call("GET", f"/v1/runs/{id_}")["status"] not in OVER:
            if time.monotonic() > until:
                raise Failed("not true: the replay comes to an end")
            time.sleep(0.05)
        found = self._client.call("GET", f"/v1/runs/{id_}/replay")
        stage.check(found["reproduced"], "the replay comes to the same hashes", found["message"])
        trees = [s["output_tree"] for s in self._run()["steps"] if s["output_tree"]]
        stage.say(f"{len(found['steps'])} steps came to the same trees", trees[-1])

    def receipt(self) -> None:
        """Verified with the server away; one changed byte is found."""
        stage = self.stage
        paper = stage.folder / "receipt.json"
        envelope = self._client.call("GET", f"/v1/runs/{self.run_id}/receipt")
        paper.write_text(json.dumps(envelope))
        key = stage.owner().call("POST", "/v1/audit/checkpoint", {})["public_key"]
        stage.stop()
        said = _verified(paper, key)
        stage.check(said.returncode == 0, "the receipt verifies offline", said.stdout + said.stderr)
        stage.say("the server is stopped; the receipt verifies with nothing but its public key")
        envelope["payload"] = _one_letter_off(envelope["payload"])
        paper.write_text(json.dumps(envelope))
        stage.check(_verified(paper, key).returncode == 1, "a receipt with one byte changed does not")
        stage.say("one byte changed in a copy: it does not verify")


def _in_the_middle(run: Json) -> bool:
    states = {s["name"]: s["status"] for s in run["steps"]}
    return states["docs"] == "succeeded" and states["code"] == "running"


def step_of(run: Json, name: str) -> Json:
    """One step of a run, by its name."""
    return next(step for step in run["steps"] if step["name"] == name)


def _recorded(step: Json) -> Json:
    return {key: step[key] for key in ("status", "attempt", "start", "end", "output_tree")}


def _verified(paper: Path, key: str) -> "subprocess.CompletedProcess[str]":
    """What the verifier says that comes along; it needs neither a server nor this package."""
    script = Path(__file__).parents[1] / "verify_receipt.py"
    argv: list[Any] = [sys.executable, "-I", script, paper, "--key", key]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def _one_letter_off(payload: str) -> str:
    at = len(payload) // 2
    return payload[:at] + ("A" if payload[at] != "A" else "B") + payload[at + 1 :]
