"""The console in a real browser: bytes, first paint of long runs, diffs and logs, and how soon an event is seen."""

import os
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from builderos.client.http import Client

from . import showing
from .report import Report
from .stage import Server

MANY_STEPS, FEW_STEPS = 20 * 249, 49
MANY_FILES, FEW_FILES = 1_000, 10
LONG, SHORT = 1_000_000, 1_000
PATIENCE_MS = 60_000
NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# When the first element of a kind is on the page, and how much moved, both told by the page itself.
WATCH: Final = """
window.firstSeen = null; window.shifted = 0;
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) if (!one.hadRecentInput) window.shifted += one.value;
}).observe({type: 'layout-shift', buffered: true});
const wanted = () => sessionStorage.getItem('wanted');
new MutationObserver(() => {
  if (window.firstSeen !== null || !wanted()) return;
  if (document.querySelector(wanted())) requestAnimationFrame(() => { window.firstSeen ??= performance.now() });
}).observe(document, {childList: true, subtree: true, characterData: true});
"""
SAW: Final = """(word) => {
  window.saw = new Promise((done) => {
    const look = () => {
      if (!document.querySelector('main header')?.textContent?.includes(word)) return;
      seen.disconnect();
      requestAnimationFrame(() => done(Date.now()));
    };
    const seen = new MutationObserver(look);
    seen.observe(document.body, {subtree: true, childList: true, characterData: true});
  });
}"""
FETCHED: Final = """() => performance.getEntriesByType('resource').filter((one) => one.name.includes('/assets/'))
  .reduce((sum, one) => sum + one.encodedBodySize, 0)"""
BARS, LINES = "svg g[data-index]", '[aria-label="Difference"] bdi'


class Work:
    """A workspace on a server whose engine works."""

    def __init__(self, server: Server, home: Path) -> None:
        url, token = f"http://127.0.0.1:{server.port}", (home / "owner.token").read_text().strip()
        self.url, self.owner = url, Client(url, token)
        self.owner.call("POST", "/v1/repos", {"name": "shown"})
        box = Client(url).call("POST", "/sandbox/init", {"repo_name": "shown"})
        self.here = {"repo_name": "shown", "branch": box["branch"]}
        self.mine = Client(url, box["reuse_token"])

    def run(self, name: str, steps: str, *statuses: str) -> str:
        """Run a pipeline until it has one of these statuses; its id."""
        file = {"path": f"ship/{name}/pipeline.yaml", "content": f"name: {name}\nsteps:\n{steps}"}
        self.mine.call("POST", "/commit_and_log_output", {"files": [file], "message": f"Add {name}"})
        run_id = str(self.mine.call("POST", "/v1/runs", {"pipeline": name, **self.here})["run_id"])
        while (status := self.mine.call("GET", f"/v1/runs/{run_id}")["status"]) not in statuses:
            if status in ("failed", "cancelled", "denied", "timed_out"):
                raise RuntimeError(f"{name} is {status}")
            time.sleep(0.05)
        return run_id


def pages(report: Report, home: Path, rounds: int) -> None:
    """All rows, on a home of its own; with FULL=1 beside others, too."""
    home.mkdir(parents=True, exist_ok=True)
    server = Server(home)
    try:
        work = Work(server, home)
        with _page(work) as page:
            _weight(report, page, work)
            _steps(report, page, work, rounds)
            _diffs(report, page, work, rounds)
            _logs(report, page, work, rounds)
            _news(report, page, work, 10 * rounds)
        if os.environ.get("FULL"):
            _beside(report, work, home.parent, rounds)
    finally:
        server.stop()


def program() -> str:
    """Debian's Chromium, or another one that is there."""
    return next(filter(None, map(shutil.which, NAMES)))


@contextmanager
def _page(work: Work) -> Iterator[Any]:
    """A signed-in page of Debian's Chromium at 1440 by 900."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program(), args=["--no-sandbox", "--disable-dev-shm-usage", "--enable-precise-memory-info"]
        )  # fmt: skip
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(WATCH)
        page = context.new_page()
        page.goto(work.owner.call("POST", "/v1/auth/code")["url"])
        page.get_by_role("button", name="Continue").click()
        page.get_by_role("heading", name="Home").wait_for()
        yield page
        browser.close()


def _beside(report: Report, work: Work, place: Path, rounds: int) -> None:
    """The list of as many runs as the peers have, and what Lighthouse says."""
    for n in range(showing.RUNS):
        work.run(f"beside{n}", "  - {id: go, action: noop}\n", "succeeded")
    with _page(work) as page:
        showing.beside(report, place / "showing", page, work.url, rounds)
    code = work.owner.call("POST", "/v1/auth/code")["url"]
    showing.lighthouse(report, place / "showing", work.url, code)


def _seen(page: Any, url: str, wanted: str) -> float:
    """Milliseconds from the start of a navigation until the first such element is painted."""
    page.evaluate("(wanted) => sessionStorage.setItem('wanted', wanted)", wanted)
    page.goto(url, wait_until="commit")
    page.wait_for_function("() => window.firstSeen !== null")
    return float(page.evaluate("() => window.firstSeen"))


def _ratio(page: Any, rounds: int, many: tuple[str, str], few: tuple[str, str]) -> tuple[float, float]:
    """Medians of two pages that are looked at in turn; one look at each is not counted."""
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for times, (url, wanted) in zip(found, (many, few), strict=True):
            ms = _seen(page, url, wanted)
            if turn:
                times.append(ms)
    return statistics.median(found[0]), statistics.median(found[1])


def _both(slow: float, quick: float) -> str:
    return f"{slow:.0f} ms ÷ {quick:.0f} ms"


def _nodes(page: Any) -> int:
    return int(page.evaluate("() => document.querySelectorAll('*').length"))


def _weight(report: Report, page: Any, work: Work) -> None:
    """What a browser that holds nothing fetches for the list of runs."""
    session = page.context.new_cdp_session(page)
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    page.goto(work.url + "/runs", wait_until="load")
    page.get_by_role("heading", name="Runs").wait_for()
    report.at_most(
        "console: first load of the runs list, with its route, KB", page.evaluate(FETCHED) / 1024, 200, "compressed"
    )  # fmt: skip
    session.send("Network.setCacheDisabled", {"cacheDisabled": False})


def _steps(report: Report, page: Any, work: Work, rounds: int) -> None:
    def many(lanes: int, each: int) -> str:
        numbers = ", ".join(map(str, range(each)))
        lines = [
            f"  - {{id: s{n}, lane: l{n}, needs: [go], action: noop, matrix: {{n: [{numbers}]}}}}"
            for n in range(lanes)
        ]
        return "  - {id: go, approval: {message: Go on?}}\n" + "\n".join(lines) + "\n"

    long = work.run("long", many(20, 249), "waiting_approval")
    short = work.run("short", many(1, 49), "waiting_approval")
    urls = [(f"{work.url}/runs/{one}?tab=policy", BARS) for one in (long, short)]
    slow, quick = _ratio(page, rounds, urls[0], urls[1])
    report.at_most(
        f"console: run of {MANY_STEPS + 1:,} steps ÷ {FEW_STEPS + 1}, first paint", slow / quick, 1.5,
        _both(slow, quick),
    )  # fmt: skip
    page.goto(urls[0][0])
    page.get_by_text(f"{MANY_STEPS + 1:,} steps", exact=True).wait_for()
    report.at_most(f"console: nodes of a page of {MANY_STEPS + 1:,} steps", _nodes(page), 2500, "all read")
    report.at_most(
        "console: layout shift of the run page", float(page.evaluate("() => window.shifted")), 0.02, "CLS"
    )


def _diffs(report: Report, page: Any, work: Work, rounds: int) -> None:
    def made(files: int) -> str:
        script = f"mkdir d; for i in $(seq {files}); do seq 200 > d/f$i.txt; done"
        return work.run(f"files{files}", f'  - {{id: make, run: "{script}"}}\n', "succeeded")

    many, few = ((f"{work.url}/runs/{made(files)}?tab=diff", LINES) for files in (MANY_FILES, FEW_FILES))
    slow, quick = _ratio(page, rounds, many, few)
    report.at_most(
        f"console: diff of {MANY_FILES:,} files ÷ {FEW_FILES}, first line", slow / quick, 2.0, _both(slow, quick)
    )  # fmt: skip
    page.goto(many[0])
    page.get_by_role("region", name="Difference").wait_for()
    report.at_most(f"console: nodes of a diff of {MANY_FILES:,} files", _nodes(page), 2500, "200 lines each")


def _logs(report: Report, page: Any, work: Work, rounds: int) -> None:
    def printed(lines: int) -> tuple[str, str]:
        run_id = work.run(f"lines{lines}", f'  - {{id: say, run: "seq {lines}"}}\n', "succeeded")
        return (
            f"{work.url}/runs/{run_id}?tab=logs",
            f'[aria-label="Log of say"] [data-line="{lines}"] bdi:not(:empty)',
        )

    long, short = printed(LONG), printed(SHORT)
    slow, quick = _ratio(page, rounds, long, short)
    report.at_most(
        f"console: log of {LONG:,} lines ÷ {SHORT:,}, last line", slow / quick, 1.5, _both(slow, quick)
    )  # fmt: skip
    _seen(page, *long)
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")  # what is held, not what a busy machine has not swept yet
    heap = session.send("Runtime.getHeapUsage")["usedSize"] / 2**20
    report.at_most(f"console: heap with a log of {LONG:,} lines, MB", heap, 150, "usedSize")


def _news(report: Report, page: Any, work: Work, times: int) -> None:
    """Pause and resume a run from elsewhere, and see the word change: from the event's own instant on."""
    run_id = work.run("asks", "  - {id: go, approval: {message: Go on?}}\n", "waiting_approval")
    page.goto(f"{work.url}/runs/{run_id}?tab=policy")
    page.locator("header").get_by_text("waits for approval").first.wait_for()
    page.get_by_label("Live").or_(page.get_by_text("Live", exact=True)).first.wait_for()
    late: list[float] = []
    for n in range(times):
        act, word = ("pause", "paused") if n % 2 == 0 else ("resume", "waits for approval")
        page.evaluate(SAW, word)
        work.mine.call("POST", f"/v1/runs/{run_id}/{act}", {})
        seen = float(page.evaluate("() => window.saw"))
        last = work.mine.call("GET", f"/v1/runs/{run_id}/events", {"stream": False, "limit": 200})["items"][
            -1
        ]
        late.append(seen - datetime.fromisoformat(last["at"]).timestamp() * 1000)
    p95 = sorted(late)[max(0, int(len(late) * 0.95) - 1)]
    report.at_most(
        "console: event on the server → visible, p95 ms",
        p95,
        250,
        f"median {statistics.median(late):.0f} ms, {times} events",
    )
