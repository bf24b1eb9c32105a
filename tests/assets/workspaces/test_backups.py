"""Backups: of a branch or its key files, listed, restored, and refused to strangers."""

import hashlib
import json

import pytest
import yaml

from tests.support.lab import Lab
from tests.support.world import Sandbox, git


@pytest.fixture
def box(lab: Lab) -> Sandbox:
    return lab.open_sandbox()


def read(box: Sandbox, path: str) -> str | None:
    files = box.post("/system/fetch_files", path=path)["files"]
    return files[0]["content"] if files else None


def folder(lab: Lab, box: Sandbox) -> str:
    return str(
        lab.world.home / "repos" / lab.sql("select store from ops.branches where name = %s", box.branch)[0][0]
    )


def entries(box: Sandbox) -> list[str]:
    return [e["message"] for e in yaml.safe_load(str(read(box, "project/changelog.yaml")))]


def test_a_branch_backup_pins_the_tip_and_hashes_its_files(lab: Lab, box: Sandbox) -> None:
    head = box.commit({"a.txt": "1\n", "ü/ö.txt": "2\n"})["commit_sha"]
    response = box.try_post("/system/backup")
    assert response.status_code == 201
    kept = lab.ok(response)
    assert git("rev-parse", kept["ref"], cwd=folder(lab, box)) == kept["commit_sha"] == head
    listed = git("ls-tree", "-r", "-z", head, cwd=folder(lab, box)).strip("\0").split("\0")
    rows = [
        (path, int(mode, 8), oid)
        for mode, _, oid, path in (x.replace("\t", " ", 1).split(" ", 3) for x in listed)
    ]
    rows.sort(key=lambda row: row[0].encode())
    manifest = json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode()
    assert kept["sha256"] == hashlib.sha256(manifest).hexdigest()
    assert kept["files"] == [row[0] for row in rows]
    assert lab.events(object=kept["backup_id"])[0]["payload"]["sha256"] == kept["sha256"]


def test_a_key_file_backup_names_the_files_that_tell_the_story(lab: Lab, box: Sandbox) -> None:
    box.post("/sandbox/init", mode="project", project_name="P")
    box.commit({"src/a.py": "1\n"})
    kept = box.post("/system/backup", scope="key_files")
    assert {"project/task.yaml", "project/memory.yaml", "project/changelog.yaml", "project/goals.md"} == set(
        kept["files"]
    )


def test_restoring_key_files_leaves_the_other_files_as_they_are(lab: Lab, box: Sandbox) -> None:
    box.post("/tasks/lifecycle", action="create", task_id="t1", title="One")
    kept = box.post("/system/backup", scope="key_files")["backup_id"]
    box.post("/tasks/lifecycle", action="create", task_id="t2", title="Two")
    box.commit({"src/a.py": "1\n"})
    box.post(f"/system/backup/{kept}/restore")
    assert list(yaml.safe_load(str(read(box, "project/task.yaml")))["tasks"]) == ["t1"]
    assert read(box, "src/a.py") == "1\n"


def test_a_restore_is_one_commit_and_keeps_every_changelog_entry(lab: Lab, box: Sandbox) -> None:
    box.commit({"a.txt": "1\n"}, "one")
    kept = box.post("/system/backup")["backup_id"]
    tip = box.commit({"a.txt": "2\n", "b.txt": "2\n"}, "two")["commit_sha"]
    reply = box.post(f"/system/backup/{kept}/restore")
    assert reply["restored_files"] == 2
    assert git("rev-parse", f"{reply['commit_sha']}~", cwd=folder(lab, box)) == tip
    assert (read(box, "a.txt"), read(box, "b.txt")) == ("1\n", None)
    assert entries(box) == ["one", "two", f"Restore backup {kept}"]


def test_a_second_restore_has_nothing_to_do(lab: Lab, box: Sandbox) -> None:
    box.commit({"a.txt": "1\n"})
    kept = box.post("/system/backup")["backup_id"]
    box.commit({"a.txt": "2\n"})
    first = box.post(f"/system/backup/{kept}/restore")
    again = box.post(f"/system/backup/{kept}/restore")
    assert (again["commit_sha"], again["restored_files"]) == (None, 0)
    assert lab.tip(box.branch) == first["commit_sha"]


def test_a_restore_after_a_deletion_brings_the_changelog_back(lab: Lab, box: Sandbox) -> None:
    box.commit({"a.txt": "1\n"}, "one")
    box.commit({"a.txt": "2\n"}, "two")
    kept = lab.ok(lab.as_owner("DELETE", f"/v1/sandboxes/{lab.sandbox_id(box)}"))["backup_id"]
    lab.ok(lab.init(box.token))
    box.commit({"new.txt": "n\n"}, "three")
    box.post(f"/system/backup/{kept}/restore")
    assert read(box, "a.txt") == "2\n"
    assert {"one", "two", "three"} <= set(entries(box))
    assert len(entries(box)) == 4


def test_a_restore_survives_garbage_collection_of_a_deleted_branch(lab: Lab, box: Sandbox) -> None:
    box.commit({"a.txt": "keep me\n"})
    kept = lab.ok(lab.as_owner("DELETE", f"/v1/sandboxes/{lab.sandbox_id(box)}"))["backup_id"]
    git("gc", "-q", "--prune=now", cwd=folder(lab, box))
    lab.ok(lab.init(box.token))
    box.post(f"/system/backup/{kept}/restore")
    assert read(box, "a.txt") == "keep me\n"


def test_backups_are_listed_newest_first_in_pages(lab: Lab, box: Sandbox) -> None:
    made = [box.post("/system/backup")["backup_id"] for _ in range(3)]
    first = box.post("/system/backup/list", limit=2)
    assert [i["backup_id"] for i in first["items"]] == [made[2], made[1]]
    box.post("/system/backup")
    second = box.post("/system/backup/list", limit=2, cursor=first["next_cursor"])
    assert ([i["backup_id"] for i in second["items"]], second["next_cursor"]) == ([made[0]], None)
    query = {"repo_name": "lab", "branch": box.branch}
    got = lab.world.http.get("/system/backup", params=query, headers=box.headers)
    assert [i["backup_id"] for i in lab.ok(got)["items"]][1:] == made[::-1]


def test_a_foreign_backup_is_neither_listed_nor_restored(lab: Lab, box: Sandbox) -> None:
    other = lab.open_sandbox()
    other.commit({"a.txt": "secret\n"})
    kept = other.post("/system/backup")["backup_id"]
    tip = lab.tip(box.branch)
    lab.problem(box.try_post(f"/system/backup/{kept}/restore"), "not_found")
    lab.problem(box.try_post(f"/system/backup/{kept}/restore", branch=other.branch), "forbidden_branch")
    lab.problem(box.try_post("/system/backup/list", branch=other.branch), "forbidden_branch")
    lab.problem(box.try_post("/system/backup", branch=other.branch), "forbidden_branch")
    body = {"repo_name": "lab", "branch": box.branch}
    lab.problem(lab.as_owner("POST", f"/system/backup/{kept}/restore", json=body), "not_found")
    assert lab.tip(box.branch) == tip


def test_malformed_backup_calls_are_refused(lab: Lab, box: Sandbox) -> None:
    lab.problem(box.try_post("/system/backup", scope="everything"), "validation_failed")
    lab.problem(box.try_post("/system/backup/bak_none/restore"), "not_found")
    lab.problem(box.try_post("/system/backup/list", limit=0), "validation_failed")
    lab.problem(box.try_post("/system/backup", branch="main"), "forbidden_branch")
