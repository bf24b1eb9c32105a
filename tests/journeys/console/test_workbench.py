"""The workbench in the console: runs side by side, a promotion with its approval, every page without a fault."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from builderos.client.lines import FILE
from tests.support import browsers, scoring, workbench
from tests.support.browsers import Visitor
from tests.support.server import Server
from tests.support.workbench import Bench

from .test_rooms import BUTTONS, HARMLESS, joined, walked

EMPTY = (
    "/experiments", "/models", "/endpoints", "/models?tab=promotions", "/sessions", "/datasets", "/apps", "/lineage",
)  # fmt: skip
MARKUP = "() => document.querySelectorAll('main img, main script').length"
WIDE = "() => document.documentElement.scrollWidth - innerWidth"
READS = {
    "Compare", "Columns", "More", "Copy the link", "Both ways", "To the end", "Download",
    "acc", "loss", "odd", "lr", "note", "score", "a", "layers", "Status", "Run", "Began",
}  # fmt: skip
"""Buttons of these pages that change nothing on the server."""


SCORING = f"""echo '{{"what": "metric", "key": "score", "value": '$((PARAM_a * 3))'}}' >> "${FILE}\""""
"""What a trial runs: three times its param is what it scores."""


@pytest.fixture(scope="module")
def bench(served: Server) -> Bench:
    scoring.approve(served.home)
    return workbench.laid(served)


def member(bench: Bench, role: str, name: str) -> str:
    """The access token of somebody who joined with a role."""
    body = {"email": f"{name.lower()}@local.example", "role": role}
    invite = bench.server.owner().call("POST", "/v1/invites", body)
    return joined(bench.server, invite["invite_token"], name)


def pages(bench: Bench) -> tuple[str, ...]:
    """Every route of the workbench, each tab once; neighbours have different titles."""
    runs = json.dumps(bench.runs).replace(" ", "")
    side = f"/experiments/{bench.experiment}/compare?runs={runs}"
    run, data, nets = f"/experiment-runs/{bench.runs[0]}", f"/datasets/{bench.dataset}", "/models/nets"
    return (
        "/experiments", side, f"/experiments/{bench.experiment}", f"{side}&tab=params", run,
        f"{side}&tab=metrics", f"{run}?tab=files&file=model/weights.txt", "/models", f"{run}?tab=params",
        f"{nets}?version=1", f"/promotions/{bench.promotion}", f"{nets}?version=1&tab=lineage",
        "/models?tab=promotions", f"/lineage?id={bench.dataset}", f"/apps/{bench.app}", "/apps",
        f"{data}?file=data/rows.csv", "/datasets", f"{data}?tab=readers", f"/apps/{bench.app}?tab=settings",
    )  # fmt: skip


def test_no_empty_room_of_the_workbench_breaks_a_rule_and_each_shows_how_to_fill_it(owner: Visitor) -> None:
    assert walked(owner, EMPTY) == {}


def test_no_page_of_the_workbench_breaks_a_rule_or_lets_a_stranger_s_text_act(
    bench: Bench, owner: Visitor
) -> None:
    asked: list[str] = []
    owner.page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    wrong: dict[str, Any] = {}
    for path in pages(bench):
        broken: list[Any] = list(walked(owner, (path,)).values())
        page = owner.page
        if (
            page.evaluate(MARKUP)
            or page.evaluate(WIDE) > 0
            or "\u202e" in page.get_by_role("main").inner_text()
        ):
            broken.append("a text of a stranger acts, widens the page or turns it around")
        if page.get_by_role("main").get_by_role("button", name="Copy as").count() == 0:
            broken.append("nothing offers to be copied as a call")
        if broken:
            wrong[path] = broken
    assert wrong == {}
    assert asked == []


def test_runs_are_compared_and_the_link_shows_another_person_the_same(
    bench: Bench, owner: Visitor, browser: Browser
) -> None:
    page = owner.turn(f"/experiments/{bench.experiment}")
    page.get_by_role("textbox", name="Filter").fill("metrics.acc >> 0.9")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Where the fault is").locator("mark")).to_contain_text("> 0.9")
    page.get_by_role("textbox", name="Filter").fill("metrics.acc > 0.5")
    page.keyboard.press("Enter")
    table = page.get_by_role("table", name="Runs of the experiment")
    expect(table.get_by_role("row")).to_have_count(workbench.RUNS)  # the first one falls out, the head stays
    page.get_by_role("button", name="acc").click()
    expect(table.get_by_role("row").nth(1)).to_contain_text(f"run {workbench.RUNS - 1}")
    page.get_by_role("checkbox", name="Choose all").check()
    page.get_by_role("button", name=f"Compare {workbench.RUNS - 1}").click()
    chart = page.get_by_role("slider", name="loss")
    chart.press("Home")
    expect(chart).to_have_attribute("aria-valuetext", re.compile(r"^0: run 5 1"))
    page.get_by_role("checkbox", name="Logarithmic").check()
    page.get_by_role("button", name="Only this one: loss").click()
    expect(page.get_by_role("slider", name="acc")).to_have_count(0)
    page.get_by_role("combobox", name="Along").select_option("time")
    page.get_by_role("tab", name="Params").click()
    params = page.get_by_role("table", name="Params side by side")
    expect(params).to_contain_text("0.05")
    with browsers.visitor(browser, bench.server) as other:
        there = other.enter().goto(page.url.removeprefix(bench.server.url))
        expect(there.get_by_role("table", name="Params side by side")).to_contain_text("0.05")
        there.get_by_role("tab", name="Charts").click()
        expect(there.get_by_role("slider", name="acc")).to_have_count(0)
        expect(there.get_by_role("checkbox", name="Logarithmic")).to_be_checked()
        expect(there.get_by_role("combobox", name="Along")).to_have_value("time")
    owner.complaints = [said for said in owner.complaints if "422" not in said]  # the browser's own


def test_what_is_no_number_is_told_and_not_drawn(bench: Bench, owner: Visitor) -> None:
    page = owner.goto(f"/experiment-runs/{bench.runs[0]}")
    expect(page.get_by_text("Not drawn: NaN, ∞, −∞")).to_be_visible()
    page.get_by_role("button", name="As a table: odd").click()
    table = page.get_by_role("table", name="odd")
    for value in ("NaN", "∞", "−∞", "1.000e308"):
        expect(table).to_contain_text(value)


def test_an_approver_lets_a_version_into_production_an_endpoint_answers_with_it_and_it_goes_back(
    bench: Bench, owner: Visitor, browser: Browser
) -> None:
    page = owner.turn("/models?tab=promotions")
    page.get_by_role("link", name="nets@1").click()
    metrics = page.get_by_role("table", name="Metrics before and after")
    expect(metrics).to_contain_text("loss")
    with browsers.visitor(browser, bench.server) as approver:
        there = approver.enter(member(bench, "reviewer", "Rita")).turn("/approvals")
        decision = there.get_by_role("region", name="Decision")
        expect(decision).to_contain_text("Promote a model")
        expect(there.get_by_role("region", name="Diff")).to_contain_text("nets@1 into production")
        decision.get_by_role("button", name="Approve").click()
        there.get_by_role("dialog").get_by_role("button", name="Approve").click()
        expect(there.get_by_text("Nothing waits for a decision.")).to_be_visible()
    expect(page.get_by_label("The promotion").get_by_text("applied")).to_be_visible()  # nobody loaded it anew
    owner.turn("/models/nets?version=1")
    expect(page.get_by_label("Version 1").get_by_text("in production").first).to_be_visible()
    owner.turn("/endpoints").get_by_role("button", name="New endpoint").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Name").fill("nets")
    form.get_by_label("Version").fill("nets@1")
    form.get_by_label("Environment").select_option("prod")
    form.get_by_role("button", name="Make it").click()
    expect(page.get_by_label("The endpoint", exact=True)).to_contain_text("ready", timeout=60_000)
    page.get_by_role("tab", name="Try it").click()
    page.get_by_role("button", name="Send it").click()
    expect(page.get_by_role("region", name="Answer")).to_contain_text("7")
    page.get_by_role("button", name="Settings").click()
    form.get_by_label("Percent of calls that are kept").fill("100")
    form.get_by_role("button", name="Change them").click()
    expect(form).to_have_count(0)
    page.get_by_role("button", name="Send it").click()
    page.get_by_role("tab", name="Logs").click()
    expect(page.get_by_role("heading", name="What it printed")).to_be_visible()
    page.get_by_role("tab", name="Calls").click()
    kept = page.get_by_role("table", name="Calls that were kept")
    expect(kept).to_contain_text("5.1")
    address = page.url.removeprefix(bench.server.url).partition("?")[0]
    tabs = ("/endpoints", f"{address}?tab=metrics", "/models", f"{address}?tab=payloads")
    assert walked(owner, tabs) == {}
    owner.turn(f"/promotions/{bench.promotion}")
    page.get_by_role("button", name="Roll back").click()
    page.get_by_label("Type production to go on").fill("production")
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.get_by_label("The promotion").get_by_text("rolled back")).to_be_visible()
    version = bench.server.owner().call("GET", "/v1/models/nets/versions/1")
    assert version["stage"] == "staged"


def test_a_search_is_begun_in_a_form_seen_trial_by_trial_given_out_and_taken_in_again(
    bench: Bench, owner: Visitor
) -> None:
    page = owner.turn(f"/experiments/{bench.experiment}")
    page.get_by_role("button", name="Search params").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Repository").select_option("bench")
    form.get_by_label("Branch").select_option(bench.branch)
    form.get_by_label("Command").fill(SCORING)
    space = form.get_by_label("Params that are searched, one in a line")
    space.fill("a = 1 .. many")
    expect(form.get_by_role("alert")).to_contain_text("a goes from no number to another")
    space.fill("a = 2, 3, 1")
    form.get_by_label("Metric").fill("score")
    assert owner.violations() == []
    form.get_by_role("button", name="Begin the search").click()
    search = page.get_by_label("The search")
    expect(search).to_contain_text("3 finished", timeout=60_000)
    expect(search.get_by_role("link", name="9")).to_be_visible()
    trials = page.get_by_role("table", name="Trials, the best first")
    scores = [trials.get_by_role("row").nth(n).get_by_role("cell").nth(2).inner_text() for n in (1, 2, 3)]
    assert scores == ["9", "6", "3"]
    trials.get_by_role("button", name="in the chart").nth(2).click()
    expect(page.get_by_role("figure", name="Params and score")).to_contain_text("-003")
    address = page.url.removeprefix(bench.server.url)
    owner.turn("/")
    assert walked(owner, (address,)) == {}
    page.get_by_role("link", name="The experiment").click()
    page.get_by_role("button", name="More").click()
    with page.expect_download() as given:
        page.get_by_role("menuitem", name="Export").click()
    owner.turn("/experiments").get_by_role("button", name="Import").click()
    form.get_by_label("File").set_input_files(given.value.path())
    form.get_by_label("Name").fill("nets again")
    form.get_by_role("button", name="Import it").click()
    expect(page.get_by_role("heading", name="nets again", level=1)).to_be_visible()
    expect(page.get_by_role("table", name="Runs of the experiment")).to_contain_text("run 5")


def test_an_app_that_names_an_endpoint_which_is_not_there_is_told_so_and_nothing_typed_is_lost(
    bench: Bench, owner: Visitor
) -> None:
    page = owner.turn("/apps")
    page.get_by_role("button", name="New app").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Name").fill("front")
    form.get_by_label("Repository").fill("bench")
    form.get_by_label("Branch").fill(bench.branch)
    form.get_by_label("Endpoints that it may call").fill("nobody")
    form.get_by_role("button", name="Make it").click()
    expect(form.get_by_role("alert")).to_contain_text("no such endpoint")
    form.get_by_label("Endpoints that it may call").fill("")
    form.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", name="front", level=1)).to_be_visible()
    owner.complaints = [said for said in owner.complaints if "404" not in said]  # the browser's own


def test_lineage_is_walked_by_arrow_keys(bench: Bench, owner: Visitor) -> None:
    version = bench.server.owner().call("GET", "/v1/models/nets/versions/1")["id"]
    page = owner.turn(f"/lineage?id={version}")
    drawing = page.get_by_role("region", name="Lineage as a drawing")
    here = drawing.get_by_role("link", name="model nets@1")
    here.focus()
    page.keyboard.press("ArrowLeft")
    assert "1 step before" in page.evaluate("() => document.activeElement.ariaDescription")
    page.keyboard.press("ArrowRight")
    expect(here).to_be_focused()
    expect(page.get_by_role("table", name="Lineage, edge by edge")).to_contain_text("nets@1")


def test_who_may_only_read_is_offered_nothing_of_the_workbench_that_would_be_refused(
    bench: Bench, visitor: Visitor
) -> None:
    visitor.enter(member(bench, "viewer", "Vic"))
    offered: dict[str, set[str]] = {}
    for path in (path for path in pages(bench) if "tab=" not in path):
        page = visitor.turn(path)
        names = {re.sub(r"[\d.,↑↓ ]+$", "", name) for name in page.evaluate(BUTTONS)}
        kept = {
            name for name in names if name and not name.startswith(("Leave out", "Only this one", "Up, out"))
        }
        if more := kept - HARMLESS - READS:
            offered[path] = more
    assert offered == {}
