"""Act 4: a model from data to people. Real training in the sandbox, a real endpoint, a real Streamlit that asks it."""

import asyncio
import csv
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from builderos.client import artifacts

from .samples import files_of, lay_out
from .stage import Act, Failed, Json, Stage

NAME: Final = "irises"
PACKAGES: Final = ("scikit-learn>=1.7,<2", "skops>=0.13,<1", "streamlit>=1.50,<2")
# Imported once where they can be compiled: inside the sandbox nothing can be kept.
_MODULES: Final = (
    "sklearn.linear_model, sklearn.model_selection, skops.io, streamlit.web.cli, pandas, pyarrow"
)
_EXPORT: Final = """
import csv, sys
from sklearn.datasets import load_iris
data = load_iris()
with open(sys.argv[1], "w", newline="") as file:
    out = csv.writer(file)
    out.writerow(["sepal_length", "sepal_width", "petal_length", "petal_width", "kind"])
    out.writerows([*row, data.target_names[kind]] for row, kind in zip(data.data.tolist(), data.target.tolist()))
"""
PATIENCE_S: Final = 120.0


class Workbench(Act):
    """The act, in the order it is told."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.flowers: list[Json] = []
        self.kinds: list[str] = []

    def scenes(self) -> tuple[tuple[str, Callable[[], None]], ...]:
        """Titles and scenes in order."""
        return (
            ("150 irises, and what it takes to learn from them", self.open),
            ("A search in the sandbox", self.search),
            ("The best becomes a model, and a person lets it into production", self.promote),
            ("Behind a URL", self.serve),
            ("A page in front", self.show),
            ("Where did that come from?", self.origin),
            ("A worse one, and back", self.back),
        )

    def open(self) -> None:
        """An environment for the sandbox, a repository, a dataset by its hash."""
        stage, folder = self.stage, self.stage.folder / NAME
        python = self._environment()
        data = stage.folder / "iris.csv"
        subprocess.run([python, "-c", _EXPORT, data], check=True)
        with data.open() as file:
            rows = list(csv.DictReader(file))
        for row in rows[::30]:
            self.kinds.append(row.pop("kind"))
            self.flowers.append({name: float(value) for name, value in row.items()})
        lay_out(files_of("iris.txt"), folder)
        stage.git("init", "--quiet", "-b", "main", cwd=folder)
        stage.git("add", "-A", cwd=folder)
        stage.git("commit", "--quiet", "-m", "Tell irises apart", cwd=folder)
        stage.start()
        self.owner = stage.owner()
        repo = self._post("/v1/repos/import", source=str(folder), name=NAME)
        opened = self._post("/sandbox/init", mode="branch", repo_name=NAME)
        self.branch, self.token = opened["branch"], opened["reuse_token"]
        stage.say(f"imported {NAME}, opened {self.branch}", repo["head_sha"])
        kept = artifacts.put(self.owner, data, data.name, "dataset")
        made = self._post("/v1/datasets", name="iris", artifacts=[kept["id"]])
        again = self._post("/v1/datasets", name="iris", artifacts=[kept["id"]])
        stage.check(again["ref"] == made["ref"], "the same content is the same version", again["ref"])
        self.data = made["ref"]
        stage.say(f"{self.data}: {len(rows)} flowers, by their hash", str(made["digest"]).rpartition(":")[2])

    def search(self) -> None:
        """Four values, two at once; every trial a run of its own, the best one first."""
        stage = self.stage
        experiment = self._post("/v1/experiments", name="irises")["id"]
        sweep = self._post(
            f"/v1/experiments/{experiment}/sweeps", repo_name=NAME, branch=self.branch, dataset_ref=self.data,
            code_sha=self.branch, runtime="ml", command="python train.py", parallel=2,
            space={"C": [0.001, 0.01, 0.1, 1.0]}, goal={"metric": "accuracy", "mode": "max"},
        )  # fmt: skip
        path = f"/v1/experiment-runs/{sweep['id']}/sweep"
        done = self._until("the search ends", path, lambda told: told["counts"].get("finished") == 4)
        self.trials = done["trials"]
        for trial in self.trials:
            stage.say(f"C = {trial['params']['C']}: accuracy {trial['value']:.3f}")
        best, worst = self.trials[0], self.trials[-1]
        stage.check(best["value"] > worst["value"], "the best one stands first", self.trials)
        runs = ",".join(trial["id"] for trial in (best, worst))
        compared = self._get(f"/v1/experiments/{experiment}/compare?runs={runs}")
        differ = [param["key"] for param in compared["params"] if param["differs"]]
        stage.check(differ == ["C"], "the two differ in one parameter", differ)
        stage.say(f"the best beats the last by {best['value'] - worst['value']:.3f}; they differ in C alone")

    def promote(self) -> None:
        """No version without the run it came from, none in production without a decision."""
        stage = self.stage
        self._post("/v1/models", name="iris")
        self.first = self._register(self.trials[0])
        asked = self._to_production(1)
        metrics = {metric["name"]: metric["after"] for metric in asked["shown"]["metrics"]}
        stage.check("accuracy" in metrics, "whoever decides sees how good it is", metrics)
        stage.say(f"asked: iris@1 into production, accuracy {metrics['accuracy']:.3f}; the server waits")
        stage.refused("illegal_transition", "an endpoint in production of a version that is not there", self.owner,
                      "/v1/endpoints", self._endpoint())  # fmt: skip
        self._decide(asked)
        shown = self._get("/v1/models/iris/versions/1")
        stage.check(shown["stage"] == "production", "after the decision it is", shown["stage"])
        stage.say("approved: iris@1 is in production")

    def serve(self) -> None:
        """Rows in, kinds out; what does not fit is told by name."""
        stage = self.stage
        self.endpoint = self._post("/v1/endpoints", **self._endpoint())["id"]
        self._ready()
        found = self._ask()
        right = sum(one == other for one, other in zip(found, self.kinds, strict=True))
        stage.check(right >= len(found) - 1, "it knows its flowers", found)
        stage.say(f"{self.endpoint} tells {right} of {len(found)} flowers right")
        path, without = (
            f"/v1/endpoints/{self.endpoint}/invoke",
            {"dataframe_records": [{"sepal_length": 5.0}]},
        )
        stage.refused("validation_failed", "a flower without petals", self.owner, path, without)
        told = self._get(f"/v1/audit/access?object={self.endpoint}&action=endpoint.invoke")["items"]
        stage.check(told, "each call is an access that somebody can look up")

    def show(self) -> None:
        """A Streamlit page at a name of its own, for whoever is let in; it asks the endpoint as the app that it is."""
        stage = self.stage
        self.answers = self._ask()
        self._release_page("iris@1")
        made = self._post(
            "/v1/apps", name="irises", type="streamlit", runtime="ml",
            source={"repo_name": NAME, "branch": self.branch, "path": "page.py"}, endpoints=["iris"],
        )  # fmt: skip
        self.app = made["id"]
        self.release = self._live()
        page = self._open_app()
        stage.check(b"Streamlit" in page[1], "the page is Streamlit's", page)
        stranger = self._at_app(None)
        stage.check(stranger[0] in (303, 401, 403), "who is not let in sees nothing", stranger[0])
        stage.say(f"live at {self._get(f'/v1/apps/{self.app}')['url']}")
        shown = self._shown("iris@1", self.answers)
        stage.say(f"it asked the endpoint, and shows: {shown}")
        told = self._get(f"/v1/audit/access?object={self.endpoint}&action=endpoint.invoke")["items"]
        stage.check(told[0]["actor"] == self.app, "the record names the app as the caller", told[0])

    def origin(self) -> None:
        """From the page back to data and code."""
        graph = self._get(f"/v1/lineage/{self.app}?direction=up&depth=10")
        names = {node["kind"]: node["name"] for node in graph["nodes"]}
        wanted = {"app", "endpoint", "model", "experiment_run", "dataset", "code"}
        self.stage.check(wanted <= names.keys(), "the way back leads to data and code", names)
        for kind in ("app", "endpoint", "model", "experiment_run", "dataset", "code"):
            self.stage.say(f"{kind.replace('_', ' '):15} {names[kind]}")

    def back(self) -> None:
        """The worst trial gets into production, and out again: endpoint, page, registry."""
        stage = self.stage
        self._register(self.trials[-1])
        mistake = self._to_production(2)
        self._decide(mistake)
        self._post(f"/v1/endpoints/{self.endpoint}/deploy", model_version="iris@2")
        self._ready()
        self._release_page("iris@2")
        worse, wrong = self._live(), self._ask()
        stage.check(wrong != self.answers, "the worst one tells them apart otherwise", wrong)
        stage.check(worse != self.release, "the page is another release", worse)
        stage.say(f"iris@2 answers, and it is worse: {self._shown('iris@2', wrong)}")
        self._post(f"/v1/endpoints/{self.endpoint}/rollback")
        stage.check(self._ask() == self.answers, "after the rollback it answers as before")
        self._post(f"/v1/apps/{self.app}/rollback", reason="worse")
        self._until("the page before is live", f"/v1/apps/{self.app}",
                    lambda told: told["current"]["id"] == self.release)  # fmt: skip
        self._post(f"/v1/promotions/{mistake['id']}/rollback", reason="worse")
        shown = self._get("/v1/models/iris/versions/1")
        stage.check(shown["stage"] == "production", "the registry knows it, too", shown["stage"])
        stage.say(f"endpoint, page and registry are back at iris@1: {self._shown('iris@1', self.answers)}")

    # ---------------------------------------------------------------- behind the scenes

    def _environment(self) -> Path:
        """What trains and serves, apart from the server; approved in the server's own file. Raises `Failed`."""
        began, place = time.monotonic(), self.stage.folder / "environment"
        python = place / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-qq", "--no-compile"]
        done = subprocess.run(
            [*pip, "--only-binary", ":all:", *PACKAGES], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Failed(
                f"act 4 needs {', '.join(PACKAGES)} from the package index; acts 1 to 3 go without.\n{done.stderr}"
            )
        subprocess.run([python, "-c", f"import {_MODULES}"], check=True)
        file = self.stage.home / "ssot" / "workbench" / "runtimes.yaml"
        file.parent.mkdir(parents=True)
        runtime = {
            "name": "ml",
            "kind": "local",
            "languages": ["python"],
            "folders": [str(place), sys.base_prefix],
        }
        profile = {"name": "small", "cpu": 1, "memory": "1Gi", "max_seconds": 3600, "price": 1}
        file.write_text(json.dumps({"runtimes": [runtime], "profiles": [profile]}))
        took = time.monotonic() - began
        self.stage.say(f"scikit-learn and Streamlit in an environment of their own, in {took:.0f} s")
        return python

    def _endpoint(self) -> Json:
        return {"name": "iris", "model_version": "iris@1", "env": "prod", "runtime": "ml", "profile": "small"}

    def _register(self, trial: Json) -> Json:
        made = self._post("/v1/promotions", kind="run_to_model",
                          **{"from": {"run_id": trial["id"], "path": "model"}, "to": {"name": "iris"}})  # fmt: skip
        done = self._decide(made)
        number = done["result"]["version"]
        self._post(f"/v1/models/iris/versions/{number}/stage", stage="staged")
        return done

    def _to_production(self, version: int) -> Json:
        return self._post(
            "/v1/promotions", kind="stage_to_prod", **{"from": {"name": "iris", "version": version}}
        )

    def _decide(self, promotion: Json) -> Json:
        if promotion["state"] != "applied":
            self._post(f"/v1/approvals/{promotion['approval_id']}", decision="approve")
        return self._get(f"/v1/promotions/{promotion['id']}")

    def _ready(self) -> None:
        def newest(told: Json) -> bool:
            first = told["deployments"][0]
            return first["status"] == "ready" and first["share"] == 100

        self._until("the endpoint answers", f"/v1/endpoints/{self.endpoint}", newest)

    def _ask(self) -> list[str]:
        reply = self._post(f"/v1/endpoints/{self.endpoint}/invoke", dataframe_records=self.flowers)
        return [str(kind) for kind in reply["predictions"]]

    def _release_page(self, model: str) -> None:
        """Commit what the page asks about."""
        text = json.dumps({"model": model, "flowers": self.flowers}, indent=1)
        body = {"file_path": "page.json", "content": text, "message": f"Show what {model} says"}
        self.stage.client(self.token).call("POST", "/commit_and_log_output", body)

    def _live(self) -> str:
        """Release the branch; the release once it is live."""
        made = self._post(f"/v1/apps/{self.app}/releases")["id"]
        told = self._until("the page comes up", f"/v1/apps/{self.app}",
                           lambda app: app["latest"]["status"] in ("live", "failed"))  # fmt: skip
        self.stage.check(told["latest"]["status"] == "live", "the page is live", told["latest"])
        return made

    def _open_app(self) -> tuple[int, bytes]:
        found = self._at_app(str(self._post(f"/v1/apps/{self.app}/token")["token"]))
        self.stage.check(found[0] == 200, "who is let in sees the page", found)
        return found

    def _at_app(self, token: str | None) -> tuple[int, bytes]:
        """Ask at the app's own name, as a browser on this machine would."""
        address = urlsplit(str(self._get(f"/v1/apps/{self.app}")["url"]))
        line = http.client.HTTPConnection("127.0.0.1", address.port or 80, timeout=60)
        sent = {"Host": address.netloc, **({"Authorization": f"Bearer {token}"} if token else {})}
        try:
            line.request("GET", "/", headers=sent)
            reply = line.getresponse()
            return reply.status, reply.read()
        finally:
            line.close()

    def _shown(self, model: str, kinds: list[str]) -> str:
        """What Streamlit shows, heard on its socket as a browser hears it. Raises `Failed` where it is not this."""
        token = str(self._post(f"/v1/apps/{self.app}/token")["token"])
        url = str(self._get(f"/v1/apps/{self.app}")["url"])
        wanted = "They are: " + ", ".join(kinds)
        heard = asyncio.run(_heard(url, token, wanted.encode()))
        self.stage.check(f"as {model} tells".encode() in heard, f"the page speaks of {model}", heard[-300:])
        self.stage.check(wanted.encode() in heard, "the page shows what the endpoint answers", heard[-300:])
        return wanted

    def _post(self, path: str, **body: object) -> Json:
        return self.owner.call("POST", path, dict(body))

    def _get(self, path: str) -> Json:
        return self.owner.call("GET", path)

    def _until(self, what: str, path: str, holds: Callable[[Json], bool]) -> Json:
        """What is read there once this holds of it. Raises `Failed` when it takes too long."""
        until = time.monotonic() + PATIENCE_S
        while not holds(found := self._get(path)):
            if time.monotonic() > until:
                raise Failed(f"not true: {what} (found: {found})")
            time.sleep(0.1)
        return found


async def _heard(url: str, token: str, wanted: bytes) -> bytes:
    """What Streamlit sends whoever opens its page, until `wanted` is among it or it has been silent for a while."""
    import aiohttp

    address = urlsplit(url)
    headers = {"Host": address.netloc, "Authorization": f"Bearer {token}"}
    socket, heard = f"http://127.0.0.1:{address.port or 80}/_stcore/stream", b""
    async with (
        aiohttp.ClientSession(headers=headers) as browser,
        browser.ws_connect(socket, protocols=("streamlit",), origin=f"http://{address.netloc}") as line,
    ):
        await line.send_bytes(bytes.fromhex("5a00"))  # BackMsg.rerun_script, with nothing in it
        while wanted not in heard:
            try:
                message = await line.receive(timeout=PATIENCE_S)
            except TimeoutError:
                break
            if message.type is not aiohttp.WSMsgType.BINARY:
                break
            heard += message.data
    return heard
