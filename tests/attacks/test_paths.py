"""A path stays inside its branch, in every spelling, through every door; what a branch holds leads nowhere else."""

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.gitclients import clone

from .conftest import Target

OUT = [
    "../../../../etc/passwd", "/etc/passwd", "//etc/passwd", "a/../../etc/passwd", "..", "a/..", "\\..\\..\\etc",
    "C:\\Windows\\win.ini", "file:///etc/passwd", "file:/etc/passwd", "/proc/self/environ", "/proc/self/root/etc",
    "~/.ssh/id_rsa", "~root", "a\0b", ".git/config", "./.git/config", ".GIT/HEAD", "a/.git/config",
    "a/\u202e/b", "con", "a" * 5000, "/".join(["d"] * 500), " ", "", ".", "./", "a//../../b",
]  # fmt: skip
ENCODED = [
    "%2e%2e/%2e%2e/etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%252e%252e/x",
    "#/../../etc/passwd",
    "?../../etc/passwd",
]


@pytest.mark.parametrize("path", OUT, ids=lambda path: ascii(path)[:40])
def test_a_path_that_leads_out_is_refused_and_nothing_of_outside_comes_back(
    target: Target, path: str
) -> None:
    """Case 6: paths with `#`, `file:`, `..`, /proc/self/root."""
    before = target.lines()
    writes = target.box.try_post("/commit_and_log_output", message="m", file_path=path, content="x")
    assert writes.status_code in (400, 422), writes.text
    reads = target.box.try_post("/system/fetch_files", mode="single", path=path)
    assert reads.status_code in (200, 400, 404, 422), reads.text
    if reads.status_code == 200:
        assert reads.json()["files"] == []
    for response in (writes, reads, target.box.try_post("/git/log", path=path)):
        assert "root:" not in response.text
        assert response.status_code < 500
    assert target.lines() - before <= 3  # a refusal may have a line of its own; no change has one


@pytest.mark.parametrize("path", ENCODED)
def test_what_is_encoded_is_a_name_and_not_a_way(target: Target, path: str) -> None:
    """Case 6, in the addresses of other tools: nothing here decodes twice."""
    for address in (f"/git/{path}.git/info/refs?service=git-upload-pack", f"/v1/repos/{path}", f"/v1/sandboxes/{path}",
                    f"/git/lab.git/{path}", f"/x/{path}", f"/v1/approvals/{quote(path, safe='')}"):  # fmt: skip
        response = target.send("GET", address, target.lab.world.owner_token)
        assert response.status_code in (400, 404, 405, 422), (address, response.text)
        assert "root:" not in response.text


def test_a_link_in_a_branch_is_refused_and_never_followed(target: Target, tmp_path: Path) -> None:
    """Case 19: a symbolic link that a trusted process beside follows out of the workspace."""
    box = target.lab.open_sandbox()
    mine = clone(target.url, box.token, box.branch, tmp_path / "mine")
    before = box.post("/git/log")["items"][0]["sha"]
    for to in ("/etc/passwd", "../../../../etc/passwd", "/proc/self/environ"):
        mine.must("reset", "-q", "--hard", before)
        mine.commit_entries([("120000", mine.blob(to), "innocent.txt")])
        pushed = mine.push()
        assert not pushed.ok
        assert "leads out of the repository" in pushed.err
    mine.must("reset", "-q", "--hard", before)
    mine.commit_entries([("120000", mine.blob("a.txt"), "inside.txt")])
    assert mine.push().ok
    shown = box.post("/system/fetch_files", mode="single", path="inside.txt")["files"]
    assert [file["content"] for file in shown] in (["a.txt"], []), "a link is read as its text, or not at all"
    through = box.try_post("/commit_and_log_output", message="m", file_path="inside.txt/x", content="x")
    target.refused(through, "invalid_path", "conflict", "validation_failed")


def test_what_is_approved_is_what_is_merged_to_the_byte(target: Target) -> None:
    """Case 19, the other half: the text that is approved is not its effect."""
    box = target.lab.open_sandbox()
    box.commit({"seen.txt": "as it was seen\n"})
    asked = target.lab.ok(box.try_post("/git/promote", title="Look at it"), 202)
    shown = target.lab.ok(target.lab.as_owner("GET", f"/v1/approvals/{asked['approval_id']}"))
    assert "+as it was seen" in shown["diff"]
    box.commit({"seen.txt": "as it was not seen\n"})
    say = {"decision": "approve", "diff_hash": shown["diff_hash"]}
    late = target.lab.as_owner("POST", f"/v1/approvals/{asked['approval_id']}", json=say)
    target.refused(late, "illegal_transition", "conflict")
    main = {"repo_name": "lab", "branch": "main", "mode": "single", "path": "seen.txt"}
    assert target.lab.ok(target.lab.as_owner("POST", "/system/fetch_files", json=main))["files"] == []
    again = target.lab.ok(box.try_post("/git/promote", title="Look at it"), 202)
    target.lab.ok(
        target.lab.as_owner("POST", f"/v1/approvals/{again['approval_id']}", json={"decision": "approve"})
    )
    (merged,) = target.lab.ok(target.lab.as_owner("POST", "/system/fetch_files", json=main))["files"]
    assert merged["content"] == "as it was not seen\n"


@pytest.mark.parametrize("title", ["a\x1b[2Kb", "a\u202eb", "a\nApproved-by: owner", "a\rb", "a\0b"])
def test_no_words_can_make_an_approver_see_something_else(target: Target, title: str) -> None:
    """Case 19: what is shown beside the change commands no terminal and turns no line around."""
    box = target.lab.open_sandbox()
    box.commit({"x.txt": "x\n"})
    response = box.try_post("/git/promote", title=title)
    if response.status_code < 300:
        asked = target.lab.ok(target.lab.as_owner("GET", f"/v1/approvals/{response.json()['approval_id']}"))
        assert not any(sign in asked["reason"] for sign in "\x1b\u202e\n\r\0"), asked["reason"]
