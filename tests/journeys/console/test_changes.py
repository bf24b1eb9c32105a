"""Changes that others notice: a prompt, a policy, a deployment, and what was sent to somebody else's address."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from builderos.client.http import Client
from tests.support import browsers, server
from tests.support.browsers import Visitor
from tests.support.receivers import NETWORKS, receiver
from tests.support.server import Server
from tests.support.servers import until

PROMPT = """name: greeter
version: {version}
changelog: {version}.
inputs: {{goal: string}}
template: {say} {{{{ goal }}}}
"""
SUITE = """prompt: greeter
models: [echo]
cases:
  - {id: kind, input: {goal: it}, expect: [{type: contains, value: Please}]}
"""
RULES = 'version: 1\nrules:\n  - {id: no-env, scope: {project: "*"}, deny: {paths: ["**/.env"]}}\n'
CASES = """\
- {action: files.write, project: lab, paths: [conf/.env], expect: deny, rule: no-env}
- {action: files.write, project: lab, paths: [src/app.py], expect: allow}
"""


@pytest.fixture(scope="module")
def served(run_folder: Path) -> Iterator[Server]:
    """A server whose owner lets webhooks reach loopback."""
    home = run_folder / f"c{uuid.uuid4().hex[:8]}" / "home"
    started = server.start(home, BUILDEROS_WEBHOOK_NETWORKS=NETWORKS)
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def lab(served: Server) -> dict[str, Any]:
    """A workspace in a repository: its branch and its token."""
    served.owner().call("POST", "/v1/repos", {"name": "lab"})
    return served.client().call("POST", "/sandbox/init", {"repo_name": "lab"})


def commit(mine: Client, **files: str) -> None:
    named = [
        {"path": path.replace("__", "/").replace("_", "."), "content": text} for path, text in files.items()
    ]
    mine.call("POST", "/commit_and_log_output", {"files": named, "message": "Change it"})


def test_a_prompt_is_written_tried_gated_and_labelled(
    served: Server, lab: dict[str, Any], owner: Visitor
) -> None:
    api = served.owner()
    commit(served.client(lab["reuse_token"]), evals__greeting_yaml=SUITE)
    api.call("POST", "/v1/prompts", {"content": PROMPT.format(version="1.0.0", say="Please do")})
    first = {"repo_name": "lab", "branch": lab["branch"]}
    run = api.call("POST", "/v1/evals/greeting/run", first)["run_id"]
    until(lambda: api.call("GET", f"/v1/runs/{run}")["status"] == "succeeded")

    page = owner.goto("/prompts/greeter")
    page.get_by_role("button", name="Write the next version").click()
    file = page.get_by_role("textbox", name="The file")
    file.fill("name: greeter\nversion: one\n")
    page.get_by_role("button", name="Look it over").click()
    expect(page.get_by_role("dialog").get_by_role("status")).to_contain_text("Line 2")
    file.fill(PROMPT.format(version="1.1.0", say="Please just do"))
    page.get_by_role("button", name="Look it over").click()
    expect(page.get_by_role("dialog").get_by_role("status")).to_contain_text("greeter 1.1.0")
    assert owner.violations() == []
    page.get_by_role("button", name="Publish", exact=True).click()
    page.get_by_role("link", name="greeter 1.1.0").click()
    expect(page.get_by_role("heading", name="1.1.0 against 1.0.0")).to_be_visible()
    expect(page.get_by_role("region", name="Diff")).to_contain_text("Please just do")
    row = page.get_by_role("table", name="All versions").get_by_role("row").filter(has_text="1.1.0")
    expect(row).to_contain_text("gate waits")
    assert api.call("GET", "/v1/prompts/greeter")["version"] == "1.0.0"

    row.get_by_role("button", name="Try it").click()
    page.get_by_role("textbox", name="Suite").fill("greeting")
    page.get_by_role("textbox", name="Repository").fill("lab")
    page.get_by_role("textbox", name="Branch").fill(lab["branch"])
    page.get_by_role("dialog").get_by_role("button", name="Try it").click()
    expect(page.get_by_role("dialog").get_by_role("link", name="The run")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    expect(row).to_contain_text("gate passed")  # without a reload
    expect(row).to_contain_text("latest")
    expect(page.get_by_role("table", name="Evals of both versions")).to_contain_text("100.0 %")
    chart = page.get_by_role("slider", name="Passed cases over versions")
    chart.press("End")
    expect(chart).to_have_attribute("aria-valuetext", "greeter@1.1.0: greeting 100 %")
    row.get_by_role("button", name="Label").click()
    page.get_by_role("textbox", name="Label").fill("trial")
    page.get_by_role("button", name="Set it").click()
    expect(page.get_by_role("dialog").get_by_role("status")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    expect(row).to_contain_text("trial")


def test_a_policy_is_simulated_proposed_and_approved_by_another(
    served: Server, owner: Visitor, browser: Browser
) -> None:
    asked = {"email": "rae@local.example", "role": "admin"}
    invite = served.owner().call("POST", "/v1/invites", asked)["invite_token"]
    rae = served.client().call("POST", "/v1/invites/accept", {"invite_token": invite, "name": "Rae"})
    page = owner.goto("/policies?tab=file")
    page.get_by_role("button", name="Change it").click()
    page.get_by_role("textbox", name="The new file").fill(RULES)
    page.get_by_role("tab", name="Simulator").click()
    expect(page.get_by_text("By the file that you are writing")).to_be_visible()
    page.get_by_role("textbox", name="Cases").fill(CASES)
    page.get_by_role("button", name="Decide").click()
    expect(page.get_by_role("status").filter(has_text="everything as expected")).to_be_visible()
    page.get_by_role("table", name="Answers").get_by_role("button", name="files.write").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("no-env")  # the trace
    assert owner.violations() == []
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Consequences").click()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("status").filter(has_text="recorded acts")).to_be_visible()
    page.get_by_role("tab", name="The policy file").click()
    page.get_by_role("textbox", name="Why").fill("Keep secrets out.")
    page.get_by_role("button", name="Propose it").click()
    link = page.get_by_role("link", name="The approval")
    expect(link).to_be_visible()
    with browsers.visitor(browser, served) as other:
        there = other.enter(rae["access_token"]).goto(str(link.get_attribute("href")))
        expect(there.get_by_role("region", name="Diff")).to_contain_text("no-env")
        there.get_by_role("button", name="Approve").click()
        there.get_by_role("dialog").get_by_role("button", name="Approve").click()
        expect(there.get_by_role("dialog")).to_have_count(0)
    until(lambda: "no-env" in served.owner().call("GET", "/v1/policies")["content"])
    expect(page.get_by_role("heading", name="Version 1")).to_be_visible()  # without a reload


def test_what_was_delivered_is_sent_anew(served: Server, owner: Visitor) -> None:
    with receiver() as there:
        made = served.owner().call("POST", "/v1/webhooks", {"url": there.url, "events": ["alert.*"]})
        page = owner.goto(f"/admin?tab=webhooks&id={made['id']}")
        page.get_by_role("button", name="Try it").click()
        row = page.get_by_role("table", name="What was delivered").get_by_role("row").nth(1)
        row.get_by_role("button", name="Send anew").click()  # there once it is delivered
        until(lambda: len(there.got) == 2)
        first, second = (headers["webhook-id"] for headers, _ in there.got)
        assert first == second
        row.get_by_role("button", name="webhook.ping").click()
        expect(page.get_by_role("list", name="Tries").get_by_role("listitem")).to_have_count(2)
        assert owner.violations() == []


def deployed(served: Server, mine: Client, word: str) -> str:
    """Deploy a page that says `word`; the deployment once it is live."""
    commit(mine, deploy_yaml="version: 1\nstatic: {folder: site}\n", site__index_html=f"<h1>{word}</h1>\n")
    run = mine.call("POST", "/v1/deployments", {"env": "preview"})["run_id"]
    found: list[Any] = []

    def over() -> bool:
        found[:] = served.owner().call("GET", f"/v1/deployments?run_id={run}")["items"]
        return bool(found) and found[0]["status"] in ("live", "failed")

    until(over)
    assert found[0]["status"] == "live", found
    return str(found[0]["id"])


def test_a_deployment_is_rolled_back(served: Server, lab: dict[str, Any], owner: Visitor) -> None:
    mine = served.client(lab["reuse_token"])
    first, second = (deployed(served, mine, word) for word in ("Green tea", "Blue tea"))
    page = owner.goto(f"/deployments/{second}")
    page.get_by_role("button", name="Promote to development").click()
    expect(page.get_by_role("textbox", name="Branch")).to_have_value(lab["branch"])
    expect(page.get_by_label("Environment")).to_have_value("dev")
    assert owner.violations() == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("textbox", name="Why").fill("Too blue")
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("rolled back", exact=True)).to_be_visible()
    expect(page.get_by_text("Too blue").first).to_be_visible()
    assert owner.both_themes() == []
    assert served.owner().call("GET", f"/v1/deployments/{first}")["status"] == "live"
    owner.turn("/deployments")
    expect(page.get_by_role("list", name="Live in Preview").get_by_role("link").first).to_have_attribute(
        "href", f"/deployments/{first}"
    )
    assert owner.both_themes() == []
