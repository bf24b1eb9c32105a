"""Act 3: agents bring a feature from a sentence to a preview. Models are scripted, or live; the rest is real."""

import base64
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from .samples import lay_out
from .shipping import Shipping, step_of
from .stage import Failed, Json, Stage
from .teashop import MODEL, NAME, provider_file, repository

GOAL: Final = "Add rate limiting to this API"
AGENTS: Final = {"think": "planner", "build": "builder", "document": "docwriter", "review": "reviewer"}
MOST: Final = 60  # requests of a client in a minute, as the scripted plan has it


class Team(Shipping):
    """The act, in the order it is told. `model`: a live one; without it every reply is scripted."""

    def __init__(self, stage: Stage, model: str | None) -> None:
        super().__init__(stage, "")
        self.model = model
        self.label = "live" if model else "scripted"
        stage.settings = {"BUILDEROS_AI_MODEL": model or MODEL, "BUILDEROS_SSOT": str(stage.home)}
        self.patience_s = 1800 if model else 60

    def scenes(self) -> tuple[tuple[str, Callable[[], None]], ...]:
        """Titles and scenes in order."""
        said = "whose replies are scripted: written by hand, for exactly this repository"
        return (
            (f"A small web service, and models {f'that are live: {self.model}' if self.model else said}", self.open),
            ("A plan", self.plan),
            ("Two lanes: code in rounds, documentation beside it", self.lanes),
            ("A review, and a person who says yes", self.people),
            ("A pull request, and a preview that answers", self.result),
            ("Why is this line there?", self.why),
            ("The receipt, without the server", self.receipt),
            ("The same with a live model" if not self.model else "Who answered", self.live),
        )  # fmt: skip

    def open(self) -> None:
        """A real git repository, a server, a workspace that a member opens, a run."""
        stage, folder = self.stage, self.stage.folder / NAME
        lay_out(repository(), folder)
        stage.git("init", "--quiet", "-b", "main", cwd=folder)
        stage.git("add", "-A", cwd=folder)
        stage.git("commit", "--quiet", "-m", "Sell tea", cwd=folder)
        if not self.model:
            models = stage.home / "ssot" / "providers" / "ai" / "provider.yaml"
            models.parent.mkdir(parents=True)
            models.write_text(provider_file(), "utf-8")
        stage.start()
        repo = stage.owner().call("POST", "/v1/repos/import", {"source": str(folder), "name": NAME})
        stage.say(f"imported {NAME}, {len(repository())} files", repo["head_sha"])
        opened = stage.owner().call("POST", "/sandbox/init", {"mode": "branch", "repo_name": NAME})
        self.token, self.branch = opened["reuse_token"], opened["branch"]
        wish = {
            "pipeline": "feature_pipeline", "repo_name": NAME, "branch": self.branch,
            "params": {"goal": GOAL, "by": "agents"},
        }  # fmt: skip
        self.run_id = stage.owner().call("POST", "/v1/runs", wish)["run_id"]
        stage.say(f"feature_pipeline with the goal “{GOAL}” started as {self.run_id}")

    def plan(self) -> None:
        """The planner has read and says what will be done."""
        step = self._done("think")
        self.stage.check(
            step["usage"]["model_calls"] >= 2, "the planner read before it planned", step["usage"]
        )
        self._show("the planner", step)

    def lanes(self) -> None:
        """Builder and docwriter work beside each other; a test that fails is repaired in the next round."""
        stage = self.stage
        build, written = self._done("build"), self._done("document")
        stage.check((build["lane"], written["lane"]) == ("code", "docs"), "there are two lanes", build)
        stage.check(
            written["start"] < build["end"] and build["start"] < written["end"],
            "both lanes worked at the same time", (build["start"], written["start"], written["end"]),
        )  # fmt: skip
        rounds = build["result"]["rounds"]
        for one in rounds:
            told = [line for line in one["said"].splitlines() if line.startswith(("FAIL:", "Ran ", "FAILED"))]
            stage.say(
                f"round {one['round']}: the tests {'pass' if one['passed'] else 'fail'}: {'; '.join(told)}"
            )
        if not self.model:
            stage.check(
                [one["passed"] for one in rounds] == [False, True], "the second round repairs", rounds
            )
            stage.check("FAIL: test_who_went_on" in rounds[0]["said"], "a real test failed", rounds[0])
        stage.check(rounds[-1]["passed"], "the last round passes", rounds)
        self._show("the builder", build)
        self._show("the docwriter", written)
        test = self._done("test")
        listed = stage.owner().call("GET", "/v1/sandbox-runs", {"run_id": self.run_id, "limit": 200})["items"]
        stage.check(test["exit_code"] == 0 and len(listed) > len(rounds), "tests ran in the sandbox", test)
        stage.say(f"both lanes together pass the tests; {len(listed)} commands ran in sandboxes so far")

    def people(self) -> None:
        """The reviewer's verdict; the workspace itself may not say yes, the owner may."""
        stage, review = self.stage, self._done("review")
        stage.check(review["result"]["verdict"] == "approve", "the reviewer approves", review["result"])
        stage.say(
            f"the reviewer ({self.label}): {review['result']['verdict']}, {review['result']['summary'].strip()}"
        )
        for found in review["result"]["findings"]:
            stage.say(f"{found['severity']} at {found['path']}:{found['line']}: {found['message']}")
        run = self._until("the run waits for a person", lambda run: run["status"] == "waiting_approval")
        id_ = step_of(run, "approve")["approval_id"]
        yes = {"decision": "approve"}
        stage.refused(
            "policy_denied", "a yes of the workspace itself", self._client, f"/v1/approvals/{id_}", yes
        )
        shown = stage.owner().call("GET", f"/v1/approvals/{id_}")
        stage.check("shop/api.py" in shown["diff"], "the approval shows what was made", shown["diff"][:200])
        stage.owner().call("POST", f"/v1/approvals/{id_}", yes)
        stage.say("the token of the workspace may not say yes; the owner has seen the difference, and did")

    def result(self) -> None:
        """Proposed, deployed, and what was built is what answers."""
        stage = self.stage
        run = self._until("the run succeeds", lambda run: run["status"] == "succeeded")
        pull = stage.owner().call("GET", f"/v1/pulls/{step_of(run, 'pr')['result']['promotion_id']}")
        stage.check(pull["title"] == GOAL, "a pull request was opened", pull)
        stage.say(f"pull request: {pull['title']} ({pull['state']})", run["provenance"]["commits"][0])
        probe = step_of(run, "probe")
        stage.check(probe["status"] == "succeeded", "the preview was probed", probe)
        url = step_of(run, "deploy_preview")["result"]["preview_url"]
        stage.check(_status(url, "/health") == 200, "the preview is well", url)
        statuses = [_status(url, "/items") for _ in range(MOST + 10)]
        if not self.model:
            stage.check(429 in statuses and statuses[0] == 200, "the preview limits requests", statuses)
            stage.check(_status(url, "/health") == 200, "its health is never refused")
        stage.say(
            f"the preview answers: {statuses.count(200)} × 200, {statuses.count(429)} × 429 of {len(statuses)}"
        )

    def why(self) -> None:
        """From a generated line to the prompt and the model, on the command line."""
        stage = self.stage
        read = {"repo_name": NAME, "branch": self.branch, "mode": "single", "path": "shop/api.py"}
        text = self._client.call("POST", "/system/fetch_files", read)["files"][0]["content"]
        number = next(
            n for n, line in enumerate(text.splitlines(), 1) if line not in repository()["shop/api.py"]
        )
        said = self._builderos("why", f"shop/api.py:{number}")
        who = "builder@1.0.0 (" + (
            "" if self.model else f"{MODEL}, scripted)"
        )  # a live model has the name that it gives itself
        for word in (who, "prompt builder@1.0.0#sha256:", self.run_id):
            stage.check(word in said, f"builderos why names {word}", said)
        print("\n".join(f"      {line}" for line in said.splitlines() if line), flush=True)

    def receipt(self) -> None:
        """The signed receipt names prompts, models and agents; then it is verified offline."""
        payload = self._client.call("GET", f"/v1/runs/{self.run_id}/receipt")["payload"]
        told = json.loads(base64.b64decode(payload))["predicate"]["buildDefinition"]["internalParameters"]
        for agent in AGENTS.values():
            self.stage.check(
                f"{agent}@1.0.0" in told["prompts"], f"the receipt names the prompt of {agent}", told
            )
            self.stage.check(agent in told["agents"], f"the receipt names the model of {agent}", told)
        for prompt, digest in sorted(told["prompts"].items()):
            model = told["agents"].get(prompt.partition("@")[0])
            self.stage.say(f"the receipt names {prompt} {digest[:19]}…, asked of {model}")
        used = self.stage.owner().call("GET", "/v1/ai/usage", {"run_id": self.run_id, "limit": 100})["items"]
        labels = {row["label"] for row in used}
        self.stage.check(labels == {self.label}, f"every reply of a model is {self.label}", labels)
        super().receipt()

    def live(self) -> None:
        """How the same is done with a live model."""
        if self.model:
            print(f"  Every reply of a model came from {self.model}.", flush=True)
            return
        print(
            "  No model was asked: every reply above was scripted. Files, tests, approvals, the deployment were real.\n"
            "  Point the same command at a live one, any that speaks OpenAI's interface:\n\n"
            "    OPENAI_BASE_URL=https://… OPENAI_API_KEY=… make demo ACT=3 MODEL=openai/<its name>\n",
            flush=True,
        )

    # ---------------------------------------------------------------- inside

    def _done(self, name: str) -> Json:
        """A step once it has succeeded, with its result."""
        run = self._until(f"{name} succeeds", lambda run: step_of(run, name)["status"] == "succeeded")
        return step_of(run, name)

    def _show(self, who: str, step: Json) -> None:
        self.stage.say(f"{who} ({self.label}) says:")
        print(
            "\n".join(f"      {line}".rstrip() for line in step["result"]["text"].strip().splitlines()),
            flush=True,
        )

    def _builderos(self, *args: str) -> str:
        """What the command line says to whoever holds the token of the workspace."""
        argv = [sys.executable, "-P", "-m", "builderos.interfaces.cli.main", *args]
        given = {
            "BUILDEROS_URL": self.stage.url,
            "BUILDEROS_TOKEN": self.token,
            "BUILDEROS_HOME": str(self.stage.home),
        }
        done = subprocess.run(
            argv,
            env={**os.environ, **given},
            cwd=self.stage.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Failed(f"builderos {' '.join(args)} failed: {done.stderr}")
        return done.stdout


def _status(url: str, path: str) -> int:
    place = urlsplit(url)
    line = http.client.HTTPConnection(str(place.hostname), place.port, timeout=10)
    try:
        line.request("GET", path)
        return line.getresponse().status
    finally:
        line.close()
