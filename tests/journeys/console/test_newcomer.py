"""Somebody who does not know what a branch is: from the landing page to published work, and back."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.browsers import Visitor, write
from tests.support.server import Server
from tests.support.world import make_repository

HOSTILE = (
    "<img src=x onerror=alert(1)>\n\n[leave](javascript:alert(1)) ![](https://elsewhere.invalid/x.png)\n"
)


@pytest.fixture(scope="module")
def shop(served: Server, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A project that somebody was invited to."""
    files = {"README.md": "# The tea shop\n", "plans/next.md": HOSTILE}
    folder = make_repository(tmp_path_factory.mktemp("shop") / "shop", files)
    served.owner().call("POST", "/v1/repos/import", {"source": str(folder), "name": "shop"})
    return served


def begin(visitor: Visitor) -> Page:
    """The landing page of an invitation, and one press."""
    page = visitor.goto("/?repo=shop")
    page.get_by_role("button", name="Start a workspace").click()
    expect(page.get_by_role("tab", name="Files")).to_be_visible()
    return page


def test_a_newcomer_starts_changes_undoes_and_publishes(shop: Server, visitor: Visitor) -> None:
    page = begin(visitor)  # 1
    assert "bos_rt_" not in page.url
    page.get_by_role("button", name="README.md").click()  # 2
    write(page, "README.md", "# The tea shop\n\nGreen tea.\n")  # 3
    page.get_by_role("button", name="Save", exact=True).click()  # 4: the first change is saved
    expect(page.get_by_text("Saved. It is in your history.")).to_be_visible()

    page.get_by_role("button", name="Keep the key").click()
    with page.expect_download() as kept:
        page.get_by_role("button", name="Download it as a file").click()
    key = re.search(r"bos_rt_[0-9A-Za-z]{43}", Path(kept.value.path()).read_text())
    assert key
    page.get_by_role("button", name="Close").click()

    page.get_by_role("tab", name="History").click()
    page.get_by_role("button", name="See what changed").click()
    expect(page.get_by_text("Green tea.")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Undo", exact=True).click()
    page.get_by_label("Why?").fill("Black tea is better.")
    page.get_by_role("button", name="Undo it").click()
    expect(page.get_by_text("takes back “Change README.md”: Black tea is better.")).to_be_visible()
    expect(
        page.get_by_role("button", name="Undo", exact=True).nth(1)
    ).to_be_disabled()  # it is undone already
    page.get_by_role("button", name="Undo", exact=True).first.click()
    page.get_by_role("button", name="Undo it").click()  # the undo is undone
    expect(page.get_by_role("listitem")).to_have_count(3 + 1)  # three acts, and the room in the sidebar

    page.get_by_role("tab", name="Publish").click()
    page.get_by_label("What does it bring?").fill("Green tea")
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.get_by_text("Somebody of the project has to say yes.")).to_be_visible()
    owner = shop.owner()
    (asked,) = owner.call("GET", "/v1/approvals?state=pending")["items"]
    seen = owner.call("GET", f"/v1/approvals/{asked['id']}")
    owner.call(
        "POST", f"/v1/approvals/{asked['id']}", {"decision": "approve", "diff_hash": seen["diff_hash"]}
    )
    expect(page.get_by_text("merged")).to_be_visible()


def test_who_has_the_key_comes_back_and_what_was_typed_is_still_there(shop: Server, visitor: Visitor) -> None:
    opened = shop.client().call("POST", "/sandbox/init", {"repo_name": "shop"})
    page = visitor.goto("/")
    page.get_by_label("Token").fill(opened["reuse_token"])
    page.get_by_role("button", name="Come back").click()
    page.get_by_label("Name of the project").fill("Teas of the world")
    page.get_by_label("Goals").fill("Sell tea\nTell of tea")
    page.get_by_role("button", name="Set it up").click()
    page.get_by_role("tab", name="Tasks").click()
    expect(page.get_by_text("Agree on the goals")).to_be_visible()
    page.get_by_role("button", name="Start").first.click()
    expect(page.get_by_role("button", name="Done")).to_be_visible()

    page.get_by_role("tab", name="Files").click()
    page.get_by_role("button", name="README.md").click()
    text = page.get_by_role("textbox", name="Text of README.md")
    write(page, "README.md", "not saved yet")
    page.once("dialog", lambda dialog: dialog.accept())  # the browser asks before it forgets
    page.reload()
    expect(text).to_have_text("not saved yet")

    shop.client(opened["reuse_token"]).call(
        "POST", "/commit_and_log_output",
        {"message": "By somebody else", "file_path": "README.md", "content": "theirs\n"},
    )  # fmt: skip
    expect(page.get_by_text("has changed this file meanwhile")).to_be_visible()
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    expect(text).to_have_text("not saved yet")
    page.get_by_role("button", name="Take theirs").click()
    expect(text).to_have_text("theirs")


def test_a_file_that_wants_to_run_something_is_shown_as_text(shop: Server, visitor: Visitor) -> None:
    page = begin(visitor)
    page.on("dialog", lambda _: pytest.fail("something ran"))
    page.get_by_role("button", name="plans").click()
    page.get_by_role("button", name="next.md").click()
    page.get_by_role("button", name="Preview").click()
    preview = page.get_by_role("article", name="Preview")
    expect(preview.get_by_text("<img src=x onerror=alert(1)>")).to_be_visible()
    assert preview.get_by_role("link").count() == 0
    assert preview.locator("img").count() == 0


def test_the_simple_rooms_break_no_rule_of_accessibility(shop: Server, visitor: Visitor) -> None:
    visitor.goto("/")
    assert visitor.violations() == []
    page = begin(visitor)
    page.set_viewport_size({"width": 390, "height": 800})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for part in ("History", "Tasks", "Publish", "Files"):
            page.get_by_role("tab", name=part).click()
            expect(page.get_by_role("tabpanel", name=part)).to_be_visible()
            assert visitor.violations() == [], (part, scheme)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), part
        page.get_by_role("button", name="README.md").click()
        text = page.get_by_role("textbox", name="Text of README.md")
        expect(text.locator("span").first).to_have_css(
            "font-weight", "700"
        )  # a heading, in its language's colours
        assert visitor.violations() == [], ("editor", scheme)
        page.get_by_role("button", name="All files").click()
