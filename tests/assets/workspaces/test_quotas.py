"""Limits of a sandbox (SPEC §3.7), lowered by settings: each has a code, the figures and an alert."""

import errno
import os
from collections.abc import Iterator

import psycopg
import pytest

from builderos.core import database
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp

FIGURES = ("limit", "used", "resets_at")


@pytest.fixture(scope="module")
def tight(databases: Databases) -> Iterator[Lab]:
    """A server with room for ten commits of ten files."""
    with lab_in_temp(
        databases, max_commits_per_sandbox=10, max_files_per_sandbox=10, large_diff_lines=50
    ) as made:
        yield made


def objects(lab: Lab, rule: str) -> list[str]:
    return [a["object"] for a in lab.alerts(rule)]


def test_the_eleventh_commit_is_refused_and_the_eighth_warned_of(tight: Lab) -> None:
    box = tight.open_sandbox()
    for number in range(10):
        assert (box.branch in objects(tight, "quota_near")) == (number > 7)
        box.commit({"a.txt": f"{number}\n"})
    tip = tight.tip(box.branch)
    problem = tight.problem(
        box.try_post("/commit_and_log_output", file_path="a.txt", content="x", message="m"), "quota_exceeded"
    )
    assert [problem[f] for f in FIGURES] == [10, 10, None]
    assert tight.tip(box.branch) == tip
    assert box.branch in objects(tight, "quota_exceeded")
    assert [a["count"] for a in tight.alerts("quota_near") if a["object"] == box.branch] == [1]


def test_the_eleventh_file_is_refused_and_a_reverted_one_gives_room(tight: Lab) -> None:
    box = tight.open_sandbox()
    box.commit({f"f{n}": "x\n" for n in range(7)})
    assert box.branch not in objects(tight, "quota_near")
    box.commit({"f7": "x\n", "src/app.py": "print(2)\n"})
    assert box.branch in objects(tight, "quota_near")
    files = [{"path": f"g{n}", "content": "x"} for n in range(2)]
    problem = tight.problem(
        box.try_post("/commit_and_log_output", files=files, message="m"), "quota_exceeded"
    )
    assert [problem[f] for f in FIGURES] == [10, 9, None]
    box.commit({"src/app.py": "print(1)\n"})
    box.commit({"g0": "x", "g1": "x"})
    assert box.branch in objects(tight, "quota_exceeded")


def test_limits_hold_for_undo_and_restore_too(tight: Lab) -> None:
    box = tight.open_sandbox()
    sha = box.commit({"f.txt": "x\n"})["commit_sha"]
    kept = box.post("/system/backup")["backup_id"]
    for number in range(9):
        box.commit({"a.txt": f"{number}\n"})
    tight.problem(box.try_post("/git/rollback_commit", commit_sha=sha, reason="r"), "quota_exceeded")
    tight.problem(box.try_post(f"/system/backup/{kept}/restore"), "quota_exceeded")


def test_news_of_main_do_not_count_as_own_files(tight: Lab) -> None:
    first, second = tight.open_sandbox(), tight.open_sandbox()
    second.commit({"mine.txt": "1\n"})
    first.commit({f"news{n}.txt": "1\n" for n in range(9)})
    tight.merged(first)
    path = f"/v1/sandboxes/{tight.sandbox_id(second)}"
    tight.ok(tight.world.http.post(f"{path}/update", json={}, headers=second.headers))
    assert tight.ok(tight.as_owner("GET", path))["files"] == 1
    second.commit({f"own{n}.txt": "1\n" for n in range(9)})


def test_a_large_change_raises_an_alert_and_is_written(tight: Lab) -> None:
    box = tight.open_sandbox()
    box.commit({"a.txt": "x\n" * 50})
    assert box.branch not in objects(tight, "large_diff")
    box.commit({"a.txt": "y\n" * 26})
    assert box.branch in objects(tight, "large_diff")


def test_an_alert_is_acknowledged_then_resolved_and_opens_anew(tight: Lab) -> None:
    box = tight.open_sandbox()
    box.commit({"a.txt": "x\n" * 60})
    found = next(a for a in tight.alerts("large_diff") if a["object"] == box.branch)
    path = f"/v1/alerts/{found['id']}/ack"
    assert tight.ok(tight.as_owner("POST", path, json={}))["state"] == "acked"
    box.commit({"a.txt": "z\n" * 60})
    assert next(a for a in tight.alerts("large_diff") if a["object"] == box.branch)["count"] == 2
    assert tight.ok(tight.as_owner("POST", path, json={"resolve": True}))["state"] == "resolved"
    tight.problem(tight.as_owner("POST", path, json={}), "not_found")
    tight.problem(tight.world.http.post(path, json={}, headers=box.headers), "policy_denied")
    box.commit({"a.txt": "w\n" * 60})
    states = [a["state"] for a in tight.alerts("large_diff") if a["object"] == box.branch]
    assert states == ["open", "resolved"]


def test_a_full_disk_of_the_database_is_told_and_changes_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = lab.open_sandbox()
    tip = lab.tip(box.branch)

    def full(*_args: object) -> None:
        raise psycopg.errors.DiskFull("could not extend file: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(database.Transaction, "commit", full)
        response = box.try_post("/commit_and_log_output", file_path="a", content="x", message="m")
    lab.problem(response, "storage_full")
    assert lab.tip(box.branch) == tip
    box.commit({"a": "x"})


def test_a_full_disk_of_the_repositories_loses_no_acknowledged_commit(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = lab.open_sandbox()
    box.commit({"first": "makes the store"})
    real = os.open

    def full(path: object, flags: int, *rest: int) -> int:
        if flags & os.O_CREAT and "/branches/" in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, flags, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        response = box.try_post("/commit_and_log_output", file_path="a", content="x", message="m")
    lab.problem(response, "storage_full")
    assert box.post("/system/fetch_files", path="a")["files"][0]["content"] == "x"
    again = box.try_post("/commit_and_log_output", file_path="a", content="x", message="m")
    lab.problem(again, "validation_failed")  # it is there already
