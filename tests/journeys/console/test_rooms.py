"""Rooms of those who look after things: who read a file, what a prompt became, and every page without a fault."""

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
    "models",
    "alerts",
    "audit",
    "access",
    "members",
    "credentials",
    "sandboxes",
    "budgets",
    "webhooks",
    "backups",
    "server",
)
ROUTES = (
    "/prompts", "/prompts/haggler", "/evals", "/policies", *(f"/policies?tab={t}" for t in ("file", "simulator")),
    "/policies?tab=consequences", "/agents", "/agents/builder",
    *(f"/agents/builder?tab={t}" for t in ("policy", "memory", "console")), "/deployments", "/admin",
    *(f"/admin?tab={t}" for t in ADMIN),
)  # fmt: skip


@pytest.fixture(scope="module")
def stocked(served: Server) -> Server:
    """A server with a repository and two versions of a prompt."""
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
    owner.call("POST", "/v1/api-keys", {"label": "nightly", "scopes": ["read"]})
    owner.call("POST", "/v1/invites", {"email": "eve@acme.example", "role": "builder"})
    box = _workspace(served)
    here = {"repo_name": "lab", "branch": box["branch"]}
    served.client(box["reuse_token"]).call("POST", "/system/backup", {**here, "scope": "branch"})
    return served


def _workspace(server: Server) -> dict[str, Any]:
    return server.client().call("POST", "/sandbox/init", {"mode": "branch", "repo_name": "lab"})


def _joined(server: Server, invite: str, name: str) -> str:
    """Accept an invite; the access token."""
    said = server.client().call("POST", "/v1/invites/accept", {"invite_token": invite, "name": name})
    return str(said["access_token"])


def test_an_admin_finds_who_read_a_file_and_what_was_done(stocked: Server, owner: Visitor) -> None:
    box = _workspace(stocked)
    mine = stocked.client(box["reuse_token"])
    here = {"repo_name": "lab", "branch": box["branch"]}
    mine.call("POST", "/commit_and_log_output", {
        **here, "files": [{"path": "plans/secret.md", "content": "x\n"}], "message": "A plan",
    })  # fmt: skip
    mine.call("POST", "/system/fetch_files", {**here, "path": "plans/secret.md"})
    page = owner.page
    page.get_by_role("navigation").get_by_role("link", name="Admin").first.click()
    page.get_by_role("tab", name="Who read what").click()
    page.get_by_role("textbox", name="File").fill("plans/secret.md")
    page.get_by_role("button", name="Search", exact=True).click()
    row = (
        page.get_by_role("table", name="Who read what").get_by_role("row").filter(has_text="plans/secret.md")
    )
    expect(row.first).to_contain_text(box["branch"])
    expect(row.first).to_contain_text("files.read")
    page.reload()  # the question is in the address
    expect(row.first).to_contain_text(box["branch"])
    page.get_by_role("tab", name="Audit").click()
    acts = page.get_by_role("table", name="Acts")
    expect(acts).to_contain_text("sandbox.created")
    acts.get_by_role("button", name="commit", exact=True).first.click()
    expect(page.get_by_role("dialog")).to_contain_text("plans/secret.md")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Verify the record").click()
    expect(page.get_by_role("status").filter(has_text="lines are as they were written")).to_be_visible()


def test_a_prompt_shows_its_versions_what_changed_and_takes_a_label(stocked: Server, owner: Visitor) -> None:
    page = owner.goto("/prompts")
    page.get_by_role("link", name="haggler").click()
    expect(page.get_by_role("heading", name="1.1.0 against 1.0.0")).to_be_visible()
    expect(page.get_by_role("region", name="Diff")).to_contain_text("and be polite")
    versions = page.get_by_role("table", name="Versions")
    versions.get_by_role("row").filter(has_text="1.0.0").get_by_role("button", name="Label").click()
    page.get_by_role("textbox", name="Label").fill("trial")
    page.get_by_role("button", name="Set it").click()
    expect(page.get_by_role("dialog").get_by_role("status")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    expect(versions.get_by_role("row").filter(has_text="1.0.0")).to_contain_text("trial")
    versions.get_by_role("link", name="1.0.0").click()
    assert page.url.endswith("/prompts/haggler?version=1.0.0")
    expect(page.get_by_role("region", name="Template")).to_contain_text("Offer less than")


def _faint(owner: Visitor) -> list[str]:
    """What is too faint in the dark; all other rules do not ask for colours."""
    owner.page.emulate_media(color_scheme="dark")
    only = "{runOnly: {type: 'rule', values: ['color-contrast']}, resultTypes: ['violations']}"
    found: dict[str, Any] = owner.page.evaluate(f"() => axe.run(document, {only})")
    owner.page.emulate_media(color_scheme="light")
    return [str(node["target"][0]) for one in found["violations"] for node in one["nodes"]]


def test_no_room_breaks_a_rule_of_accessibility_in_the_light_and_in_the_dark(
    stocked: Server, owner: Visitor
) -> None:
    found: dict[str, list[str]] = {}
    for path in ROUTES:
        page = owner.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_text("Loading")).to_have_count(0)
        if broken := owner.violations() + _faint(owner):
            found[path] = broken
    assert found == {}


def test_who_may_only_read_sees_no_control_that_would_be_refused(stocked: Server, visitor: Visitor) -> None:
    body = {"slug": "acme", "name": "Acme", "owner_email": "ann@acme.example"}
    ann = _joined(stocked, stocked.owner().call("POST", "/v1/orgs", body)["invite_token"], "Ann")
    invite = stocked.client(ann).call("POST", "/v1/invites", {"email": "vera@acme.example", "role": "viewer"})
    vera = _joined(stocked, invite["invite_token"], "Vera")
    page = visitor.enter(vera).goto("/admin?tab=members")
    expect(page.get_by_role("table", name="Members")).to_contain_text("Ann")
    expect(page.get_by_role("button", name="Invite")).to_have_count(0)
    expect(page.get_by_role("button", name="Remove")).to_have_count(0)
    page = visitor.goto("/deployments")
    expect(page.get_by_role("heading", name="Deployments")).to_be_visible()
    expect(page.get_by_role("button", name="Deploy", exact=True)).to_have_count(0)
