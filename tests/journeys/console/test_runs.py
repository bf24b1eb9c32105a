"""Runs in the console: a lead decides by keyboard, two browsers see the same, strangers' text does nothing."""

import re
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from builderos.client.http import Client
from tests.support import browsers
from tests.support.browsers import Visitor
from tests.support.server import Server
from tests.support.servers import until

ASKING = """name: ask
steps:
  - {id: build, run: "printf 'one\\\\ntwo\\\\n' > made.txt; echo built"}
  - {id: look, approval: {message: "Ship it?"}, needs: [build]}
  - {id: save, needs: [look], action: git.commit, inputs: {message: Ship it}}
"""
SCRIPT = "<img src=x onerror=alert(1)><script>alert(2)</script>"
HOSTILE = """name: hostile
steps:
  - id: print
    run: |
      cat evil.txt; head -c 3000000 /dev/zero | tr '\\0' A; echo
      mkdir -p out; cp evil.txt 'out/&lt;b&gt; javascript(1).html'; cp evil.txt more.txt
    outputs: ["out/**", "more.txt"]
  - {id: fail, needs: [print], run: "cat evil.txt >&2; exit 3", on_fail: continue}
"""
MOST_NODES = 2500


@dataclass
class Place:
    """A server with a workspace that runs pipelines."""

    server: Server
    box: dict[str, Any]

    @property
    def mine(self) -> Client:
        return self.server.client(self.box["reuse_token"])

    def pipeline(self, name: str, text: str, files: dict[str, str] | None = None) -> None:
        content = {f"ship/{name}/pipeline.yaml": text, **(files or {})}
        changes = [{"path": path, "content": body} for path, body in content.items()]
        self.mine.call(
            "POST", "/commit_and_log_output", {"files": changes, "message": f"Add {name} {SCRIPT}"}
        )

    def start(self, name: str) -> str:
        here = {"repo_name": "lab", "branch": self.box["branch"]}
        return str(self.mine.call("POST", "/v1/runs", {"pipeline": name, **here})["run_id"])

    def reaches(self, run_id: str, *statuses: str) -> None:
        until(lambda: self.mine.call("GET", f"/v1/runs/{run_id}")["status"] in statuses)


@pytest.fixture(scope="module")
def place(served: Server) -> Place:
    """A workspace with a pipeline that asks before it ships."""
    served.owner().call("POST", "/v1/repos", {"name": "lab"})
    found = Place(served, served.client().call("POST", "/sandbox/init", {"repo_name": "lab"}))
    found.pipeline("ask", ASKING)
    return found


def _focus(page: Page, name: str) -> None:
    """Tab until the button of this name has the focus, as somebody without a mouse does."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement?.textContent?.trim()") == name:
            return
    raise AssertionError(f"no Tab leads to {name}")


def test_a_lead_denies_runs_again_approves_and_rolls_back_by_keyboard_alone(
    place: Place, owner: Visitor
) -> None:
    run_id = place.start("ask")
    place.reaches(run_id, "waiting_approval")
    page = owner.page
    expect(page.get_by_role("button", name=re.compile(r"Notifications, \d+ new"))).to_be_visible()
    page.goto(f"{owner.server.url}/runs/{run_id}")
    review = page.get_by_role("region", name="What waits for a yes")
    expect(review).to_contain_text("made.txt")
    expect(review).to_contain_text("two")
    page.keyboard.press("d")
    page.get_by_role("textbox", name="Note").wait_for()
    page.keyboard.type("Not yet")
    page.keyboard.press("Control+Enter")
    heading = page.get_by_role("main").get_by_text("denied", exact=True)
    expect(heading.first).to_be_visible()

    steps = page.get_by_role("listbox", name="Steps")
    steps.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", name="look")).to_be_visible()
    assert "step=look" in page.url  # back, reload and a link lead to the same
    page.evaluate("() => document.getElementById('main').focus()")
    _focus(page, "Rerun from here")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    _focus(page, "Rerun from here")
    page.keyboard.press("Enter")
    expect(page).not_to_have_url(re.compile(run_id))
    expect(page.get_by_role("region", name="What waits for a yes")).to_contain_text("made.txt")
    page.keyboard.press("a")
    page.get_by_role("textbox", name="Note").wait_for()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("button", name="Roll back")).to_be_visible()

    page.evaluate("() => document.getElementById('main').focus()")
    _focus(page, "Roll back")
    page.keyboard.press("Enter")
    page.get_by_role("textbox", name="Why").wait_for()
    page.get_by_role("textbox", name="Why").focus()
    page.keyboard.type("It was too early")
    _focus(page, "Roll back")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Undone by a new commit").first).to_be_visible()
    log = place.mine.call("POST", "/git/log", {})
    assert "It was too early" in str(log)


def test_one_approves_and_the_other_sees_it_without_a_reload(
    place: Place, browser: Browser, owner: Visitor
) -> None:
    run_id = place.start("ask")
    place.reaches(run_id, "waiting_approval")
    page = owner.goto(f"/runs/{run_id}")
    with browsers.visitor(browser, place.server) as other:
        there = other.enter().goto(f"/runs/{run_id}")
        approve = there.get_by_role("button", name="Approve", exact=True)
        expect(approve).to_be_visible()
        expect(page.get_by_role("button", name="Approve", exact=True)).to_be_visible()
        approve.click()
        there.get_by_role("dialog").get_by_role("button", name="Approve").click()
        expect(page.get_by_role("main").get_by_text("succeeded", exact=True).first).to_be_visible()
        expect(page.get_by_role("button", name="Approve", exact=True)).to_have_count(0)


def test_text_of_strangers_does_nothing_wherever_it_stands(place: Place, owner: Visitor) -> None:
    evil = f"{SCRIPT}\n\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b[2J end\n\u202egnp.exe\n{'B' * 5000}\n[x](about:a)\n"
    place.pipeline("hostile", HOSTILE, {"evil.txt": evil})
    run_id = place.start("hostile")
    place.reaches(run_id, "succeeded", "failed")
    asked: list[str] = []
    owner.page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page = owner.goto(f"/runs/{run_id}?tab=logs&step=print")
    log = page.get_by_role("region", name="Log of print")
    expect(log).to_contain_text(SCRIPT)
    expect(log).to_contain_text("characters")  # of the long line, which is cut
    expect(log.locator(".text-bad")).to_have_text("red")
    expect(log).to_contain_text("gnp.exe")
    assert "\u202e" not in log.inner_text()
    assert page.evaluate("() => document.querySelectorAll('main img, main script').length") == 0
    for tab, region in (
        ("diff", "Difference"),
        ("artifacts", "Content"),
        ("policy", None),
        ("provenance", None),
    ):
        page = owner.goto(f"/runs/{run_id}?tab={tab}")
        if region:
            expect(page.get_by_role("region", name=region)).to_contain_text("<img src=x onerror")
        expect(page.get_by_role("tab", selected=True)).to_be_visible()
        assert page.evaluate("() => document.querySelectorAll('main img, main script').length") == 0
        wide = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, tab
    assert asked == []


def test_a_run_of_thousands_of_steps_is_a_small_document(place: Place, owner: Visitor) -> None:
    lines = [
        f"  - {{id: s{n}, lane: l{n}, needs: [go], action: noop, matrix: {{n: [{many}]}}}}"
        for n in range(20)
        if (many := ", ".join(map(str, range(250 if n else 249))))
    ]
    place.pipeline(
        "long",
        "name: long\nsteps:\n  - {id: go, approval: {message: All of it?}}\n" + "\n".join(lines) + "\n",
    )
    run_id = place.start("long")
    page = owner.goto(f"/runs/{run_id}?tab=logs")
    expect(page.get_by_text("5,000 steps", exact=True)).to_be_visible()  # and none is still to be read
    page.get_by_role("listbox", name="Steps").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("option", name="s19")).to_have_count(1)
    assert page.evaluate("() => document.querySelectorAll('*').length") <= MOST_NODES


def test_two_runs_are_compared_and_a_filter_is_kept_under_a_name(place: Place, owner: Visitor) -> None:
    place.pipeline("twice", ASKING.replace("name: ask", "name: twice").replace("made.txt", "twice.txt"))
    first, second = place.start("twice"), place.start("twice")
    for run_id in (first, second):
        place.reaches(run_id, "waiting_approval")
    page = owner.goto("/runs?pipeline=twice&branch=" + place.box["branch"])
    page.get_by_role("button", name="Keep this filter").click()
    page.get_by_role("textbox", name="Name").fill("Mine <b>")
    page.keyboard.press("Enter")
    owner.goto("/runs?status=waiting_approval")
    page.get_by_role("link", name="Mine <b>").click()
    expect(page).to_have_url(re.compile("pipeline=twice"))
    for run_id in (first, second):
        page.get_by_role("checkbox", name=f"Choose {run_id}").check()
    page.get_by_role("link", name="Compare", exact=True).click()
    steps = page.get_by_role("table", name="Steps of both")
    expect(steps.get_by_role("row").filter(has_text="look")).to_contain_text("waits for approval")
    changed = page.get_by_role("table", name="Files of both").get_by_role("row").filter(has_text="twice.txt")
    expect(changed).to_contain_text("the same")
    changed.get_by_role("button").click()
    expect(page.get_by_role("region", name="Difference of B")).to_contain_text("two")
    assert f"a={first}" in page.url  # the older one stands first
    assert owner.violations() == []
    owner.goto("/runs")
    page.get_by_role("button", name="Forget Mine <b>").click()
    expect(page.get_by_role("link", name="Mine <b>")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_of_runs_break_no_rule_of_accessibility(place: Place, owner: Visitor, scheme: str) -> None:
    run_id = place.start("ask")
    place.reaches(run_id, "waiting_approval")
    owner.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    found: dict[str, list[str]] = {}
    paths = [
        "/runs",
        "/runs?pipeline=none",
        *(f"/runs/{run_id}?tab={tab}" for tab in ("diff", "policy", "provenance")),
    ]
    for path in [*paths, f"/runs/{run_id}?tab=logs&step=build", f"/runs/{run_id}?tab=artifacts"]:
        page = owner.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_text("Loading")).to_have_count(0)
        if broken := owner.violations():
            found[path] = broken
    assert found == {}
