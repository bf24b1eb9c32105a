"""Models behind endpoints: the scoring process called directly, through an endpoint, and beside `mlflow models serve`.

The model is trained and served with the environment in BENCH_MLFLOW, or one that is made for this.
"""

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from builderos.client import artifacts
from builderos.client.http import Client
from builderos.workloads.endpoints import scoring

from .report import Report
from .stage import Home, Server

PACKAGES = ("mlflow-skinny==3.17.2", "scikit-learn", "skops", "pandas", "flask", "uvicorn", "fastapi")
CLIENTS = 4
BODY = json.dumps(
    {"dataframe_split": {"columns": ["a", "b", "c", "d"], "data": [[5.1, 3.5, 1.4, 0.2]]}}
).encode()
TRAIN = """
import sys, mlflow.sklearn, pandas
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
iris = load_iris()
rows = pandas.DataFrame(iris.data, columns=list("abcd"))
model = LogisticRegression(max_iter=500).fit(rows, iris.target)
mlflow.sklearn.save_model(model, sys.argv[1], input_example=rows[:2], serialization_format="skops")
"""


def served(report: Report, source: Path, place: Path, seconds: float, rival: bool) -> None:
    """All rows."""
    env = Path(os.environ.get("BENCH_MLFLOW") or place / "scoring-env")
    if not env.exists():
        subprocess.run([sys.executable, "-m", "venv", env], check=True)
        subprocess.run([env / "bin" / "pip", "install", "-qq", *PACKAGES], check=True)
    model = place / "iris-model"
    subprocess.run([env / "bin" / "python", "-W", "ignore", "-c", TRAIN, model], check=True, cwd=place)
    with _direct(env, model) as port:
        direct = _per_second(port, "/invocations", {}, seconds)
        report.shown(
            "scoring process called directly, 4 clients, rows/s", direct, "with the check of columns"
        )
        with _endpoint(source, place, env, model) as (server, path, token):
            through = _per_second(server, path, {"Authorization": f"Bearer {token}"}, seconds)
    report.at_least(
        "through an endpoint ÷ scoring process called directly",
        through / direct,
        0.4,
        f"{through:.0f}/s, 4 clients",
    )
    if rival:
        with _rival(env, model, place) as port:
            theirs = _per_second(port, "/invocations", {}, seconds)
        report.at_least(
            "scoring ÷ mlflow models serve", direct / theirs, 1.3, f"{theirs:.0f}/s there, 4 clients"
        )


def _per_second(port: int, path: str, headers: dict[str, str], seconds: float) -> float:
    """Answers per second that clients with a line each get."""
    counts = [0] * CLIENTS
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end:
            line.request("POST", path, BODY, {"Content-Type": "application/json", **headers})
            answer = line.getresponse()
            said = answer.read()
            if answer.status != 200:
                raise RuntimeError(said[:500])
            counts[number] += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


@contextmanager
def _direct(env: Path, model: Path) -> Iterator[int]:
    """The program of an endpoint, outside of any sandbox."""
    port = _free_port()
    argv = [env / "bin" / "python", "-m", "scoring", model, str(port), "iris", "1"]
    with _running(argv, Path(scoring.__file__).parents[1], port):
        yield port


@contextmanager
def _rival(env: Path, model: Path, place: Path) -> Iterator[int]:
    """MLflow's own scoring server, with the environment as it is."""
    port = _free_port()
    argv = [env / "bin" / "mlflow", "models", "serve", "-m", model, "-p", str(port), "--env-manager", "local"]
    with _running(argv, place, port, PATH=f"{env / 'bin'}:{os.environ['PATH']}"):
        yield port


@contextmanager
def _running(argv: list[Any], folder: Path, port: int, **more: str) -> Iterator[None]:
    process = subprocess.Popen(
        argv, cwd=folder, env={**os.environ, **more}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        _answers(port)
        yield
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _answers(port: int) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            line.request("GET", "/ping")
            if line.getresponse().status == 200:
                return
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.05)


@contextmanager
def _endpoint(source: Path, place: Path, env: Path, model: Path) -> Iterator[tuple[int, str, str]]:
    """A server with an endpoint that answers: its port, the path, a credential."""
    home = Home(place / "serving", source)
    folders = [str(env), sys.base_prefix]
    file = home.path / "ssot" / "workbench" / "runtimes.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({
        "runtimes": [{"name": "ml", "kind": "local", "languages": ["python"], "folders": folders}],
        "profiles": [{"name": "small", "cpu": 1, "memory": "1Gi", "max_seconds": 3600, "price": 1}],
    }))  # fmt: skip
    server = Server(home.path)
    try:
        client = Client(f"http://127.0.0.1:{server.port}", home.owner_token)
        client.call("POST", "/v1/models", {"name": "iris"})
        files = [path for path in sorted(model.rglob("*")) if path.is_file()]
        ids = [
            artifacts.put(client, path, path.relative_to(model).as_posix(), "model")["id"] for path in files
        ]
        client.call("POST", "/v1/models/iris/versions", {"artifacts": ids})
        asked = {"name": "iris", "model_version": "iris@1", "runtime": "ml", "profile": "small"}
        made = client.call("POST", "/v1/endpoints", asked)
        end = time.monotonic() + 120
        while (shown := client.call("GET", f"/v1/endpoints/{made['id']}"))["deployments"][0][
            "status"
        ] == "starting":
            if time.monotonic() > end:
                raise TimeoutError(shown)
            time.sleep(0.1)
        if shown["deployments"][0]["status"] != "ready":
            raise RuntimeError(shown)
        yield server.port, f"/v1/endpoints/{made['id']}/invoke", home.owner_token
    finally:
        server.stop()
        home.close()


def _free_port() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
