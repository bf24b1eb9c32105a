"""Rooms of those who look after things: who read a file, what was used, and every page without a fault."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.browsers import Visitor
from tests.support.server import Server

PROMPT = """\
name: haggler
version: {version}
changelog: {changelog}
inputs: {{goal: string}}
template: |
  {text}
"""
ADMIN = (
    "usage", "models", "speed", "alerts", "audit", "access", "keeping", "members", "credentials", "secrets",
    "sandboxes", "budgets", "webhooks", "backups", "server",
)  # fmt: skip
ROUTES = (
    "/prompts", "/prompts/haggler", "/evals", *(f"/policies?tab={t}" for t in ("explorer", "file", "simulator")),
    "/policies?tab=consequences", "/agents", *(f"/agents/builder?tab={t}" for t in ("role", "policy", "memory")),
    "/agents/builder?tab=console", "/deployments", *(f"/admin?tab={t}" for t in ADMIN),
)  # fmt: skip
ELSEWHERE = ("/why", "/runs", "/runs/compare", "/projects", "/approvals", "/")
WIDTHS = (390, 3840, 1280)  # a phone, a wall, and what it was
COMMANDS = (
    "() => [...document.querySelectorAll('[data-empty]')].map((one) => one.querySelectorAll('code').length)"
)
# What somebody without a right to change anything may press: it reads, computes, copies or looks elsewhere.
HARMLESS = {
    "Copy", "Copy as", "Search", "Show", "As a table", "Ask", "Decide", "Compare", "Export", "Verify the record",
    "New token", "Before", "After", "Read again", "Try again",
}  # fmt: skip
BUTTONS = """() => [...document.querySelectorAll('main button:not([role=tab])')]
  .filter((one) => !one.closest('[role=cell]')).map((one) => one.textContent.trim())"""
ACTS = """() => [...document.querySelectorAll('main [role=columnheader]')]
  .filter((one) => one.textContent === 'Acts').length"""


@pytest.fixture(scope="module")
def stocked(served: Server) -> Server:
    """A server with something in every room."""
    owner = served.owner()
    owner.call("POST", "/v1/repos", {"name": "lab"})
    for version, changelog, text in (
        ("1.0.0", "The first.", "Offer less than {{ goal }} says."),
        ("1.1.0", "Be polite.", "Offer less than {{ goal }} says, and be polite."),
    ):
        content = PROMPT.format(version=version, changelog=changelog, text=text)
        owner.call("POST", "/v1/prompts", {"content": content})
    owner.call(
        "POST", "/v1/webhooks", {"url": "https://hooks.example.com/builderos", "events": ["approval.*"]}
    )
    owner.call("PUT", "/v1/budgets", {"meter": "requests", "period": "day", "amount": 10**9})
    mine = {"repo_name": "lab", "meter": "memory_hours", "period": "month", "amount": 40.5}
    owner.call("PUT", "/v1/budgets", mine)
    owner.call("POST", "/v1/api-keys", {"label": "nightly", "scopes": ["read"]})
    owner.call("POST", "/v1/invites", {"email": "eve@acme.example", "role": "builder"})
    owner.call("POST", "/v1/secrets", {"key_name": "SMTP_PASSWORD", "value": "a long one"})
    owner.call("POST", "/v1/audit/holds", {"reason": "A question of law"})
    owner.call("POST", "/v1/audit/sinks", {"name": "siem", "file": {}})
    box = workspace(served)
    here, mine = {"repo_name": "lab", "branch": box["branch"]}, served.client(box["reuse_token"])
    mine.call("POST", "/system/backup", {**here, "scope": "branch"})
    long = [{"path": "long.txt", "content": "line\n" * 5000}]
    mine.call("POST", "/commit_and_log_output", {**here, "files": long, "message": "Much at once"})
    assert [alert["rule"] for alert in owner.call("GET", "/v1/alerts")["items"]] == ["large_diff"]
    return served


def workspace(server: Server) -> dict[str, Any]:
    return server.client().call("POST", "/sandbox/init", {"mode": "branch", "repo_name": "lab"})


def joined(server: Server, invite: str, name: str) -> str:
    """Accept an invite; the access token."""
    said = server.client().call("POST", "/v1/invites/accept", {"invite_token": invite, "name": name})
    return str(said["access_token"])


def walked(somebody: Visitor, routes: tuple[str, ...]) -> dict[str, list[str]]:
    """What is wrong with each page: for axe in the light and in the dark, and for who wants to take it elsewhere."""
    found: dict[str, list[str]] = {}
    for path in routes:
        page = somebody.turn(path)
        broken = somebody.both_themes()
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            if page.evaluate("document.documentElement.scrollWidth") > width:
                broken.append(f"wider than {width} pixels")
        if page.get_by_role("main").get_by_role("button", name="Copy as").count() == 0:
            broken.append("nothing offers to be copied as a call")
        if any(commands != 1 for commands in page.evaluate(COMMANDS)):
            broken.append("an empty list does not show the one command that fills it")
        if broken:
            found[path] = broken
    return found


def test_no_empty_room_breaks_a_rule_of_accessibility_and_each_shows_how_to_fill_it(owner: Visitor) -> None:
    routes = tuple(path for path in ROUTES if path != "/prompts/haggler")
    assert walked(owner, (*ELSEWHERE, *routes)) == {}


def test_no_room_breaks_a_rule_of_accessibility_in_the_light_and_in_the_dark(
    stocked: Server, owner: Visitor
) -> None:
    assert walked(owner, ROUTES) == {}


def test_an_admin_finds_who_read_a_file_by_keyboard_alone(stocked: Server, owner: Visitor) -> None:
    box = workspace(stocked)
    mine = stocked.client(box["reuse_token"])
    here = {"repo_name": "lab", "branch": box["branch"]}
    mine.call("POST", "/commit_and_log_output", {
        **here, "files": [{"path": "plans/secret.md", "content": "x\n"}], "message": "A plan",
    })  # fmt: skip
    mine.call("POST", "/system/fetch_files", {**here, "path": "plans/secret.md"})
    page = owner.page
    page.keyboard.press("g")
    page.keyboard.press("m")
    expect(page.get_by_role("tab", name="Usage", selected=True)).to_be_visible()
    owner.tab_to("Usage")
    for _ in range(ADMIN.index("access")):
        page.keyboard.press("ArrowRight")
    owner.tab_to("File")
    page.keyboard.type("plans/secret.md")
    page.keyboard.press("Enter")
    row = (
        page.get_by_role("table", name="Who read what").get_by_role("row").filter(has_text="plans/secret.md")
    )
    expect(row.first).to_contain_text(box["branch"])
    expect(row.first).to_contain_text("files.read")
    page.reload()  # the question is in the address
    expect(row.first).to_contain_text(box["branch"])
    owner.tab_to("Who read what")
    page.keyboard.press("ArrowLeft")
    acts = page.get_by_role("table", name="Acts")
    expect(acts).to_contain_text("sandbox.created")
    owner.tab_to("Verify the record")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="lines are as they were written")).to_be_visible()
    owner.tab_to("commit")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("plans/secret.md")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_chart_tells_its_values_to_the_keyboard_and_as_a_table(stocked: Server, owner: Visitor) -> None:
    page = owner.goto("/admin")
    used: int = stocked.owner().call("GET", "/v1/usage")["totals"]["sandboxes"]
    chart = page.get_by_role("slider", name="Work by day")
    chart.press("Home")
    expect(chart).to_have_attribute("aria-valuetext", re.compile(f"Sandboxes {used}"))
    page.get_by_role("button", name="As a table: Work by day").click()
    table = page.get_by_role("table", name="Work by day")
    expect(table.get_by_role("row").last).to_contain_text(str(used))
    assert owner.violations() == []
    budgets = page.get_by_role("list", name="Budgets")
    expect(budgets).to_contain_text("Memory, GiB hours per month, lab")
    owner.turn("/projects?repo=lab")
    expect(budgets).to_contain_text("0 of 40.5")
    expect(budgets.get_by_role("listitem")).to_have_count(1)


def test_a_secret_is_kept_and_never_shown_again(stocked: Server, owner: Visitor) -> None:
    page = owner.goto("/admin?tab=secrets")
    page.get_by_role("button", name="Keep a secret").click()
    page.get_by_role("textbox", name="Name").fill("DEPLOY_KEY")
    page.locator("input[type=password]").fill("canary-71b2-of-the-vault")
    page.get_by_role("button", name="Keep it").click()
    row = page.get_by_role("table", name="All secrets").get_by_role("row").filter(has_text="DEPLOY_KEY")
    row.get_by_role("button", name="New value").click()
    page.locator("input[type=password]").fill("canary-71b2-of-the-vault, the second")
    page.get_by_role("button", name="Keep it").click()
    expect(row).to_contain_text("2")
    assert "canary-71b2" not in page.content()
    row.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("button", name="Delete it")).to_be_disabled()
    page.get_by_label("Type DEPLOY_KEY to go on").fill("DEPLOY_KEY")
    page.get_by_role("button", name="Delete it").click()
    expect(row).to_have_count(0)
    names = [one["key_name"] for one in stocked.owner().call("GET", "/v1/secrets")["items"]]
    assert "DEPLOY_KEY" not in names


FORMS = (
    ("/prompts", "New prompt", "The file", "Look it over"),
    ("/admin?tab=members", "Invite", "Mail address", "Invite"),
    ("/admin?tab=webhooks", "New webhook", "Address", "Make it"),
)


@pytest.mark.parametrize(("path", "opens", "field", "sends"), FORMS, ids=["prompt", "invite", "webhook"])
def test_a_sign_in_that_ends_under_a_form_costs_nothing_that_was_typed(
    stocked: Server, owner: Visitor, path: str, opens: str, field: str, sends: str
) -> None:
    page = owner.turn(path)
    page.get_by_role("main").get_by_role("button", name=opens, exact=True).click()
    form = page.get_by_role("dialog").last
    text = "https://hooks.acme.example/one" if "webhooks" in path else "ann@acme.example"
    form.get_by_label(field, exact=True).fill(text)
    owner.context.clear_cookies()
    form.get_by_role("button", name=sends, exact=True).click()
    over = page.get_by_role("heading", name="Your sign-in is over")
    expect(over).to_be_visible()
    Visitor(stocked, owner.context, owner.context.new_page()).enter()  # in another tab
    expect(over).to_have_count(0)
    expect(page.get_by_label(field, exact=True)).to_have_value(text)
    owner.complaints = [said for said in owner.complaints if "401" not in said]


def test_a_sink_that_fails_is_told_of_above_the_list_in_words(stocked: Server, owner: Visitor) -> None:
    sinks = stocked.owner().call("GET", "/v1/audit/sinks")
    failing = {"failing_since": sinks["items"][0]["created_at"], "last_error": "<b>refused</b>\u202e"}
    sinks["items"][0] |= failing  # a place that refuses takes minutes to be told from one that is slow
    owner.page.route("**/v1/audit/sinks", lambda route: route.fulfill(json=sinks))
    page = owner.turn("/admin?tab=keeping")
    expect(page.get_by_role("alert")).to_contain_text("siem")
    expect(page.get_by_role("alert")).to_contain_text("<b>refused</b>")
    assert walked(owner, ("/admin?tab=audit", "/admin?tab=keeping")) == {}


def test_who_may_only_read_sees_no_control_that_would_be_refused(stocked: Server, visitor: Visitor) -> None:
    body = {"slug": "acme", "name": "Acme", "owner_email": "ann@acme.example"}
    ann = joined(stocked, stocked.owner().call("POST", "/v1/orgs", body)["invite_token"], "Ann")
    acme = stocked.client(ann)
    acme.call("POST", "/v1/repos", {"name": "shop"})
    acme.call(
        "POST", "/v1/prompts", {"content": PROMPT.format(version="1.0.0", changelog="One.", text="Offer.")}
    )
    invite = acme.call("POST", "/v1/invites", {"email": "vera@acme.example", "role": "viewer"})
    vera = joined(stocked, invite["invite_token"], "Vera")
    page = visitor.enter(vera).turn("/admin?tab=members")
    expect(page.get_by_role("table", name="All members")).to_contain_text("Ann")
    offered: dict[str, set[str]] = {}
    tabs = page.evaluate("() => [...document.querySelectorAll('[data-tab]')].map((one) => one.dataset.tab)")
    rooms = [path for path in ROUTES if not path.startswith("/admin")] + [f"/admin?tab={tab}" for tab in tabs]
    for path in rooms:
        if path != "/admin?tab=members":
            visitor.turn(path)
        more = {name for name in page.evaluate(BUTTONS) if name} - HARMLESS
        if more or (page.evaluate(ACTS) and "credentials" not in path):
            offered[path] = more
    assert offered == {}
    owner = visitor.page.context.new_page()
    made = acme.call("POST", "/v1/auth/code")["url"]
    owner.goto(made)
    owner.get_by_role("button", name="Continue").click()
    # Not before the sign-in is answered, or the next page is still the viewer's.
    owner.get_by_role("heading", name="Home").wait_for()
    owner.goto(stocked.url + "/admin?tab=members")
    expect(owner.get_by_role("button", name="Invite")).to_be_visible()  # who may, sees it
