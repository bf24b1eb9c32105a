"""From a branch to main: proposals, checks, approvals; and what becomes of the exit code while one waits."""

import json
from pathlib import Path

import pytest

from .conftest import Line


@pytest.fixture
def ready(builder: Line) -> Line:
    builder.write("src/feature.py", "print('new')\n")
    builder.ok("commit", "src/feature.py", "-m", "Add the feature")
    return builder


def test_a_proposal_for_main_waits_for_an_approval_and_then_merges(ready: Line) -> None:
    answer = ready("promote", "-t", "The feature", "--json")
    assert answer.code == 4
    reply = answer.json
    assert all(check["ok"] for check in reply["checks"])
    assert reply["approval_id"] in ready.ok("approvals")
    assert "+print('new')" in ready.ok("approvals", reply["approval_id"])
    assert ready("fetch", "src/feature.py", "-b", "main").code == 1
    decided = ready.json("approve", reply["approval_id"], "-m", "fine")
    assert decided["state"] == "approved"
    pull = ready.json("pull", "show", reply["promotion_id"])
    if pull["state"] == "open":
        ready.ok("pull", "merge", reply["promotion_id"])
    assert ready.ok("fetch", "src/feature.py", "-b", "main") == "print('new')\n"
    assert ready.json("pull", "show", reply["promotion_id"])["state"] == "merged"


def test_a_person_is_told_what_to_do_next(ready: Line) -> None:
    answer = ready("promote", "-t", "The feature")
    assert answer.code == 4
    assert "builderos approve apr_" in answer.err
    assert "merges_cleanly" in answer.err


def test_merging_without_the_approval_waits(ready: Line) -> None:
    pull = ready("promote", "-t", "The feature", "--json").json["promotion_id"]
    answer = ready("pull", "merge", pull)
    assert answer.code == 4
    assert "approve" in answer.err


def test_a_denied_change_does_not_get_into_main(ready: Line) -> None:
    reply = ready("promote", "-t", "The feature", "--json").json
    assert ready.json("deny", reply["approval_id"], "-m", "not yet")["state"] == "denied"
    assert ready("pull", "merge", reply["promotion_id"]).code in (1, 3, 4)
    assert ready("fetch", "src/feature.py", "-b", "main").code == 1


def test_an_approval_of_another_change_is_refused(ready: Line) -> None:
    reply = ready("promote", "-t", "The feature", "--json").json
    answer = ready("approve", reply["approval_id"], "--diff-hash", "sha256:" + "0" * 64)
    assert answer.code == 1
    assert ready.json("approvals", reply["approval_id"])["state"] == "pending"


def test_a_workspace_does_not_approve_its_own_proposal(ready: Line, stranger: Line) -> None:
    reply = ready("promote", "-t", "The feature", "--json").json
    kept = json.loads(next(Path(ready.env["XDG_CONFIG_HOME"]).rglob("*.json")).read_text())
    stranger.token = next(iter(kept["tokens"].values()))["reuse_token"]
    assert stranger("approve", reply["approval_id"]).code == 3


def test_a_failed_check_is_exit_code_1(ready: Line) -> None:
    ready.write("project/task.yaml", "tasks: [\n")
    ready.ok("commit", "project/task.yaml", "-m", "Break the tasks")
    answer = ready("promote", "-t", "With broken tasks", "--json")
    failed = [check["name"] for check in answer.json["checks"] if not check["ok"]]
    assert (answer.code, failed) == (1, ["delivery_files_valid"])
    assert "FAILED delivery_files_valid" in ready("promote", "-t", "Again").err


def test_reviews_and_lists_of_proposals(ready: Line) -> None:
    pull = ready("promote", "-t", "The feature", "--json").json["promotion_id"]
    ready.ok("pull", "review", pull, "comment", "-m", "looks good")
    shown = ready.json("pull", "show", pull)
    assert "looks good" in json.dumps(shown["comments"])
    assert pull in ready.ok("pull", "list", "-r", ready.folder.name)
    assert "The feature" in ready.ok("pull", "show", pull, "--no-diff")
