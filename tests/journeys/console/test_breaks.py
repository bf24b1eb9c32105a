"""A run page through all that happens: an agent is talked to, the server killed, the network lost, much changed."""

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect

from builderos.client.http import Client
from tests.support import browsers, server
from tests.support.browsers import Visitor
from tests.support.server import Server
from tests.support.servers import until

HOSTILE = "<img src=x onerror=alert(1)> [go](javascript:alert(2)) \u202etxt.exe"
AGENT = """name: careful
role: Careful
prompt_ref: builder
toolset: [ask_question]
limits: {model_calls: 20}
"""
TALK = """name: talk
steps:
  - {id: make, run: "printf 'one\\\\ntwo\\\\n' > made.txt"}
  - {id: build, agent: careful, title: Work, needs: [make]}
"""
ASK = """name: ask
steps:
  - {id: build, run: "printf 'one\\\\ntwo\\\\n' > made.txt"}
  - {id: look, approval: {message: "Ship it?"}, needs: [build]}
"""
GREAT = """name: great
steps:
  - id: make
    run: |
      mkdir many; for n in $(seq 1000); do echo $n > many/f$n.txt; done
      head -c 10000000 /dev/zero | tr '\\\\0' A > long.txt
      seq 3000 | sed 's/^1234$/a Needle &/; s/^2500$/one more needle/'
      mkdir -p out/deep/er; echo x > out/deep/er/a.txt; echo y > out/b.txt
    outputs: ["out/**"]
"""
MODELS = """version: 1
default: scripted/double
providers:
  scripted: {{kind: recorded, mode: scripted, folder: '{folder}'}}
"""
ASKED = {"name": "ask_question", "arguments": {"question": f"Tabs or spaces? {HOSTILE}"}}
HEARD = ["spaces", "Say three, too.", "made.txt:2", "> two", "Be brief.", "Go on, then."]
REPLIES: list[dict[str, Any]] = [
    {"id": "one", "when": {"agent": "careful", "turn": 1}, "reply": {"tool_calls": [ASKED]}},
    {"id": "two", "when": {"agent": "careful", "turn": 2}, "expect": {"contains": HEARD},
     "reply": {"content": f"Done. {HOSTILE}"}},
]  # fmt: skip
MOST_NODES = 2500


@pytest.fixture(scope="module")
def served(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose model follows a script: it answers only who asks it as the script expects."""
    place = tmp_path_factory.mktemp("models")
    (place / "ssot/providers/ai").mkdir(parents=True)
    (place / "ssot/providers/ai/provider.yaml").write_text(MODELS.format(folder=place / "scripts"))
    (place / "scripts").mkdir()
    script = {"version": 1, "label": "scripted", "about": "an agent that asks", "replies": REPLIES}
    (place / "scripts/talk.yaml").write_text(yaml.safe_dump(script))
    home = run_folder / f"c{uuid.uuid4().hex[:8]}" / "home"
    started = server.start(home, BUILDEROS_SSOT=str(place))
    try:
        started.owner().call("POST", "/v1/repos", {"name": "lab"})
        yield started
    finally:
        started.stop()


def begun(client: Client, text: str, more: dict[str, str] | None = None) -> tuple[str, Client]:
    """A run of a pipeline in a workspace of its own, and who is in there."""
    name = text.split("\n", 1)[0].removeprefix("name: ")
    box = client.call("POST", "/sandbox/init", {"repo_name": "lab"})
    mine, here = Client(client.url, box["reuse_token"]), {"repo_name": "lab", "branch": box["branch"]}
    files = {f"ship/{name}/pipeline.yaml": text, **(more or {})}
    changes = [{"path": path, "content": body} for path, body in files.items()]
    mine.call("POST", "/commit_and_log_output", {"files": changes, "message": f"Add it {HOSTILE}"})
    return str(mine.call("POST", "/v1/runs", {"pipeline": name, **here})["run_id"]), mine


def reaches(client: Client, run_id: str, status: str) -> None:
    until(lambda: client.call("GET", f"/v1/runs/{run_id}")["status"] in (status, "failed"))
    run = client.call("GET", f"/v1/runs/{run_id}")
    assert run["status"] == status, [(step["name"], step["status"], step["error"]) for step in run["steps"]]


def status(page: Page, word: str) -> None:
    expect(page.get_by_role("main").get_by_text(word, exact=True).first).to_be_visible()


def live(page: Page) -> None:
    expect(page.get_by_role("banner").get_by_text("Live", exact=True)).to_be_visible()


def test_an_agent_hears_what_is_said_on_a_line_what_it_is_told_and_what_it_asked(
    served: Server, owner: Visitor
) -> None:
    run_id, mine = begun(served.owner(), TALK, {"agents/careful.yaml": AGENT})
    reaches(mine, run_id, "waiting_input")
    owner.page.on("dialog", lambda _: pytest.fail("something ran"))
    page = owner.goto(f"/runs/{run_id}?tab=diff")
    review = page.get_by_role("region", name="Difference")
    expect(review).to_contain_text("two")
    review.get_by_text("two", exact=True).click()
    page.get_by_role("textbox", name="Comment on line 2").fill("Say three, too.")
    page.get_by_role("button", name="Add comment").click()
    page.reload()  # what was written and not sent is still there
    expect(page.get_by_role("list", name="Comments")).to_contain_text("not sent")
    page.get_by_role("button", name="Send the comment to the agent").click()
    expect(page.get_by_role("list", name="Comments")).to_contain_text("told to the agent")
    page.get_by_role("tab", name="Agent").click()
    page.get_by_label("Tell the agent").fill("Be brief.")
    page.get_by_role("button", name="Tell", exact=True).click()
    expect(page.get_by_label("Tell the agent")).to_have_value("")
    page.get_by_role("button", name="Interrupt").click()
    form = page.get_by_role("form", name="Answer")
    expect(form).to_contain_text("<img src=x onerror=alert(1)>")
    form.get_by_label("Your answer").fill("spaces")
    form.get_by_role("button", name="Answer").click()
    expect(form).to_contain_text("was interrupted")
    form.get_by_label("Your answer").fill("Go on, then.")
    form.get_by_role("button", name="Answer").click()
    status(page, "succeeded")  # the script answers only who heard all of it
    calls = page.get_by_role("list", name="Calls")
    expect(calls.get_by_role("listitem").last).to_contain_text("Done. <img src=x onerror=alert(1)> [go](java")
    assert "\u202e" not in page.get_by_role("main").inner_text()
    assert page.locator("main img, main a[href^=javascript]").count() == 0


def test_a_killed_server_and_a_lost_network_cost_nothing(served: Server, owner: Visitor) -> None:
    run_id, mine = begun(served.owner(), ASK)
    reaches(mine, run_id, "waiting_approval")
    page = owner.goto(f"/runs/{run_id}")
    live(page)
    page.get_by_role("button", name="Approve", exact=True).click()
    note = page.get_by_role("textbox", name="Note")
    note.fill("It is fine.")
    port = str(served.info["port"])
    served.kill()
    said = page.get_by_role("banner").get_by_text("Reconnecting")
    expect(said).to_be_attached()
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing that you typed is lost")
    again = server.start(served.home, PORT=port, BUILDEROS_SSOT=served.env["BUILDEROS_SSOT"])
    served.process = again.process  # the module's fixture ends it
    live(page)
    expect(note).to_have_value("It is fine.")
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    status(page, "succeeded")
    asked = served.owner().call("GET", f"/v1/runs/{run_id}")["steps"][1]["approval_id"]
    said_yes = served.owner().call("GET", f"/v1/approvals/{asked}")["decisions"]
    assert [one["comment"] for one in said_yes] == ["It is fine."]
    expect(page.get_by_text("2 steps", exact=True)).to_be_visible()  # each of them once

    next_id, mine = begun(served.owner(), ASK)
    reaches(mine, next_id, "waiting_approval")
    page = owner.goto(f"/runs/{next_id}")
    live(page)
    expect(page.get_by_role("button", name="Approve", exact=True)).to_be_visible()
    owner.context.set_offline(True)
    expect(said).to_be_attached()
    waits = served.owner().call("GET", f"/v1/runs/{next_id}")["steps"][1]["approval_id"]
    served.owner().call("POST", f"/v1/approvals/{waits}", {"decision": "deny", "comment": "No."})
    status(page, "waits for approval")
    owner.context.set_offline(False)
    status(page, "denied")
    live(page)
    owner.context.set_offline(True)
    page.get_by_role("tab", name="Provenance").click()  # a part of the console that was not loaded yet
    expect(page.get_by_role("heading", name="This page could not be loaded")).to_be_visible()
    expect(page.get_by_role("navigation", name="Rooms")).to_be_visible()
    owner.context.set_offline(False)
    page.get_by_role("button", name="Load it again").click()
    expect(page.get_by_role("tab", name="Provenance", selected=True)).to_be_visible()
    owner.complaints = [one for one in owner.complaints if "net::ERR_" not in one and "imported" not in one]


def test_great_changes_are_read_searched_and_folded(served: Server, owner: Visitor) -> None:
    run_id, mine = begun(served.owner(), GREAT)
    page = owner.goto(f"/runs/{run_id}?tab=logs&step=make")
    reaches(mine, run_id, "succeeded")
    finder = page.get_by_role("searchbox", name="Find in the log")
    finder.fill("needle")
    finder.press("Enter")
    expect(page.get_by_text("1 of 2 lines")).to_be_visible()
    log = page.get_by_role("region", name="Log of make")
    expect(log.locator("[data-line='1234'] .bg-accent")).to_have_text("Needle")
    page.get_by_role("button", name="Next").click()
    expect(log.locator("[data-line='2500']")).to_be_visible()
    assert "find=needle" in page.url
    assert "line=2500" in page.url
    page.reload()  # the search is in the address
    expect(page.get_by_text("2 of 2 lines")).to_be_visible()
    assert owner.violations() == []

    page = owner.goto(f"/runs/{run_id}?tab=artifacts")
    tree = page.get_by_role("region", name="Artifacts")
    expect(tree.get_by_role("button", name="a.txt")).to_be_visible()
    tree.get_by_role("button", name="deep/er").click()
    expect(tree.get_by_role("button", name="a.txt")).to_have_count(0)
    expect(tree.get_by_role("button", name="b.txt")).to_be_visible()
    assert owner.violations() == []

    page = owner.goto(f"/runs/{run_id}?tab=diff")
    review = page.get_by_role("region", name="Difference")
    expect(page.get_by_text(re.compile("1,00[0-9] files")).first).to_be_visible()
    review.press("End")
    review.press("Home")
    page.set_viewport_size({"width": 390, "height": 800})
    for tab in ("Diff", "Logs", "Artifacts", "Provenance", "Policy"):
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_role("tabpanel", name=tab)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
        assert page.evaluate("document.querySelectorAll('*').length") <= MOST_NODES, tab


def test_who_may_only_look_at_a_run_is_offered_nothing_that_would_be_refused(
    served: Server, browser: Browser
) -> None:
    def joined(invite: str, name: str) -> str:
        said = served.client().call("POST", "/v1/invites/accept", {"invite_token": invite, "name": name})
        return str(said["access_token"])

    body = {"slug": "acme", "name": "Acme", "owner_email": "ann@acme.example"}
    ann = served.client(joined(served.owner().call("POST", "/v1/orgs", body)["invite_token"], "Ann"))
    ann.call("POST", "/v1/repos", {"name": "lab"})
    invite = ann.call("POST", "/v1/invites", {"email": "vera@acme.example", "role": "viewer"})
    vera = joined(invite["invite_token"], "Vera")
    run_id, mine = begun(ann, ASK)
    reaches(mine, run_id, "waiting_approval")
    with browsers.visitor(browser, served) as visitor:
        refused: list[str] = []
        visitor.page.on(
            "response", lambda got: got.status >= 400 and refused.append(f"{got.status} {got.url}")
        )
        visitor.enter(vera)
        for path in (
            "/",
            f"/runs/{run_id}?tab=diff",
            "/runs",
            "/approvals",
            "/projects",
            "/projects?repo=lab",
        ):
            page = visitor.goto(path)
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            expect(page.get_by_text("Loading")).to_have_count(0)
            live(page)
            for control in ("Approve", "Deny", "Pause", "Cancel", "Rerun", "Answer", "Start a workspace"):
                expect(page.get_by_role("button", name=control, exact=True)).to_have_count(0)
        page = visitor.goto(f"/runs/{run_id}")
        expect(page.get_by_text("you may not decide about this")).to_be_visible()
        expect(page.get_by_role("region", name="Decision")).to_contain_text("asked for by sandbox-")
        expect(page.get_by_role("main").get_by_text("by sandbox-").first).to_be_visible()  # who started it
        assert refused == []
