"""Projects, their workspaces, and the story of a line."""

import pytest
from playwright.sync_api import expect

from tests.support.browsers import Visitor, write
from tests.support.server import Server
from tests.support.world import make_repository

PARTS = {
    "Branches": "main",
    "Commits": "Commit",
    "Promotions": "Nobody has asked",
    "Tasks": "There are no tasks",
    "Memory": "Nothing is remembered",
}
"""Parts of a project's page, and what stands in them at first."""


@pytest.fixture(scope="module")
def shop(served: Server, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = make_repository(tmp_path_factory.mktemp("shop") / "shop", {"README.md": "# Tea\nOf leaves.\n"})
    served.owner().call("POST", "/v1/repos/import", {"source": str(folder), "name": "shop"})
    return served


def test_a_member_opens_a_workspace_changes_a_line_and_reads_its_story(shop: Server, owner: Visitor) -> None:
    page = owner.goto("/projects")
    page.get_by_role("link", name="shop").click()
    page.get_by_role("button", name="Start a workspace").click()
    page.get_by_role("button", name="README.md").click()
    write(page, "README.md", "# Tea\nOf leaves.\nGreen ones.\n")
    page.keyboard.press("Escape")  # Tab indents; this is the way out of the text
    expect(page.get_by_label("What did you change?")).to_be_focused()
    page.keyboard.type("Say which leaves")
    page.get_by_role("textbox", name="Text of README.md").press("Control+s")
    expect(page.get_by_text("Saved. It is in your history.")).to_be_visible()

    page.get_by_role("link", name="Who wrote which line").click()
    page.get_by_role("option", name="Green ones.").click()
    expect(page.get_by_role("list", name="Its story").get_by_text("wrote it.")).to_be_visible()
    expect(page.get_by_text("Say which leaves").first).to_be_visible()
    page.get_by_role("listbox").press("ArrowUp")
    assert "line=2" in page.url
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert owner.violations() == []

    owner.goto("/projects?repo=shop")
    link = page.get_by_role("link", name="sandbox-")
    expect(link).to_be_visible()
    branch = link.inner_text()
    assert owner.violations() == []
    for part, said in PARTS.items():
        page.get_by_role("tab", name=part).click()
        expect(page.get_by_role("tabpanel", name=part)).to_contain_text(said)
        assert owner.violations() == [], part
    page.get_by_role("tab", name="Backups").click()
    page.get_by_label("Branch").select_option(branch)
    page.get_by_role("button", name="Back it up now").click()
    page.get_by_role("button", name="Bring it back").click()
    page.get_by_role("dialog").get_by_role("button", name="Bring it back").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("tab", name="Commits").click()
    page.get_by_role("button", name="Say which leaves").click()
    expect(page.get_by_role("region", name="What changed")).to_contain_text("Green ones.")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    row = page.get_by_role("row").filter(has_text="Say which leaves")
    row.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Undo it").click()
    expect(page.get_by_role("table", name=f"Commits of {branch}")).to_contain_text("Undo: Say which leaves")
