"""Somebody who decides: told of what waits, with the diff in sight, by keyboard alone, and through whatever breaks."""

from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.support import browsers
from tests.support.browsers import Visitor
from tests.support.server import Server

SILENT = """
  Object.defineProperty(document, 'visibilityState', {get: () => 'hidden'});
  window.told = [];
  window.Notification = class extends EventTarget {
    static permission = Notification.permission;
    constructor(title, more) { super(); Object.assign(this, {title, ...more}); window.told.push(this); }
    close() {}
  };
"""
"""A tab that nobody looks at, whose notifications are kept in place of being shown."""
ASKED = """
  window.Notification = class extends EventTarget {
    static permission = 'default';
    static requestPermission() { return Promise.resolve(this.permission = 'granted'); }
  };
"""
"""A browser whose user says yes when the page asks; one without windows says no by itself."""
HOSTILE = '"><img src=x onerror=alert(1)>'


def asked(served: Server, title: str) -> str:
    """Somebody asks for a change to be taken into main; the approval that it waits for."""
    owner = served.owner()
    if not owner.call("GET", "/v1/repos")["items"]:
        owner.call("POST", "/v1/repos", {"name": "lab"})
    opened = served.client().call("POST", "/sandbox/init", {"mode": "branch", "repo_name": "lab"})
    mine, here = served.client(opened["reuse_token"]), {"repo_name": "lab", "branch": opened["branch"]}
    files = [{"path": "shop/page.html", "content": f"<h1>{title}{HOSTILE}</h1>\n" + "y" * 100_000 + "\n"}]
    mine.call("POST", "/commit_and_log_output", {**here, "files": files, "message": title})
    return str(mine.call("POST", "/git/promote", {**here, "title": title})["approval_id"])


def state(served: Server, approval_id: str) -> Any:
    return served.owner().call("GET", f"/v1/approvals/{approval_id}")["state"]


def live(page: Page) -> None:
    """Wait until the page hears of what happens."""
    expect(page.get_by_role("banner").get_by_text("Live", exact=True)).to_be_visible()


def test_a_lead_decides_by_keyboard_alone_and_another_browser_sees_it(
    served: Server, owner: Visitor, browser: Browser
) -> None:
    page = owner.page
    live(page)
    approval = asked(served, f"Sell tea {HOSTILE}")
    expect(page.get_by_role("button", name="Notifications, 1 new")).to_be_visible()
    with browsers.visitor(browser, served) as other:
        there = other.enter().goto("/approvals")
        live(there)
        page.keyboard.press("g")
        page.keyboard.press("a")
        expect(page.get_by_role("region", name="Decision")).to_contain_text("One yes of")
        expect(page.get_by_role("region", name="Diff")).to_contain_text("onerror=alert(1)")
        page.keyboard.press("d")
        expect(page.get_by_role("textbox", name="Note")).to_be_focused()
        assert owner.violations() == []
        page.keyboard.type("Not before the holidays.")
        page.keyboard.press("Control+Enter")
        expect(page.get_by_text("Nothing waits for a decision.")).to_be_visible()
        expect(there.get_by_text("Nothing waits for a decision.")).to_be_visible()  # without a reload
    assert state(served, approval) == "denied"
    page.get_by_role("link", name="Denied").press("Enter")
    expect(page.get_by_role("list", name="Verdicts")).to_contain_text("Not before the holidays.")


def test_a_sign_in_that_ends_in_the_middle_of_a_form_loses_nothing(served: Server, owner: Visitor) -> None:
    approval = asked(served, "Sell coffee")
    page = owner.goto(f"/approvals?id={approval}")
    page.get_by_role("button", name="Approve").click()
    note = page.get_by_role("textbox", name="Note")
    note.fill("Coffee is fine.")
    owner.context.clear_cookies()
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading", name="Your sign-in is over")).to_be_visible()
    assert owner.violations() == []
    Visitor(served, owner.context, owner.context.new_page()).enter()  # in another tab
    expect(page.get_by_role("heading", name="Your sign-in is over")).to_have_count(0)
    expect(note).to_have_value("Coffee is fine.")
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert state(served, approval) == "approved"
    owner.complaints = [said for said in owner.complaints if "401" not in said]


def test_a_browser_that_may_says_aloud_what_waits_while_nobody_looks(served: Server, owner: Visitor) -> None:
    asks = Visitor(served, owner.context, owner.context.new_page())
    asks.page.add_init_script(ASKED)
    tab = asks.goto("/approvals")
    tab.get_by_role("button", name="Notify me").click()
    expect(tab.get_by_role("status").filter(has_text="This browser will tell you")).to_be_visible()
    expect(tab.get_by_role("button", name="Notify me")).to_have_count(0)
    tab.close()
    page = owner.page
    owner.context.grant_permissions(["notifications"])
    owner.context.add_init_script(SILENT)
    owner.goto("/runs")
    live(page)
    approval = asked(served, "Sell cocoa")
    page.wait_for_function("() => window.told?.length > 0")
    assert page.evaluate("() => window.told.map((note) => [note.title, note.tag])") == [
        ["Something waits for your decision", approval]
    ]
    page.evaluate("() => window.told[0].dispatchEvent(new Event('click'))")
    expect(page.get_by_role("region", name="Decision")).to_contain_text("Sell cocoa")
