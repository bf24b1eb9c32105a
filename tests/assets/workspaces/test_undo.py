"""Rollback and reset: undo is a new commit, nothing is lost, nothing half done."""

import pytest
import yaml

from tests.support.lab import Lab
from tests.support.world import Sandbox, git, make_repository


@pytest.fixture
def box(lab: Lab) -> Sandbox:
    return lab.open_sandbox()


def undo(box: Sandbox, sha: str, **body: object) -> dict[str, object]:
    return box.post("/git/rollback_commit", commit_sha=sha, reason="wrong", **body)


def read(box: Sandbox, path: str) -> str | None:
    files = box.post("/system/fetch_files", path=path)["files"]
    return files[0]["content"] if files else None


def folder(lab: Lab, box: Sandbox) -> str:
    return str(
        lab.world.home / "repos" / lab.sql("select store from ops.branches where name = %s", box.branch)[0][0]
    )


def reset(lab: Lab, box: Sandbox, to: str, **body: object) -> object:
    path = f"/v1/sandboxes/{lab.sandbox_id(box)}/reset"
    return lab.world.http.post(path, json={"to": to, **body}, headers=box.headers)


def test_a_rollback_is_one_commit_with_its_line_in_the_log_of_reverts(lab: Lab, box: Sandbox) -> None:
    sha = box.commit({"a.txt": "1\n", "src/app.py": "print(9)\n", "README.md": None})["commit_sha"]
    box.commit({"later.txt": "x\n"})
    reply = undo(box, sha)
    assert reply["reverted_files"] == ["README.md", "a.txt", "src/app.py"]
    assert {"project/changelog.yaml", "project/memory.yaml"} <= set(reply["skipped"])
    assert box.branch in str(reply["message"])
    assert (read(box, "a.txt"), read(box, "README.md"), read(box, "later.txt")) == (None, "# Lab\n", "x\n")
    new = reply["new_sha"]
    changed = git("diff", "--name-only", f"{new}~", str(new), cwd=folder(lab, box)).split()
    assert ".logs/reverted_commits.yaml" in changed
    record = yaml.safe_load(git("show", f"{new}:.logs/reverted_commits.yaml", cwd=folder(lab, box)))[-1]
    entry = yaml.safe_load(git("show", f"{new}:project/changelog.yaml", cwd=folder(lab, box)))[-1]
    assert (record["reverted_sha"], record["reason"], record["by"]) == (sha, "wrong", box.branch)
    assert record["new_sha_of"] == entry["id"]
    assert entry["reverts"] == sha
    assert lab.events(object=new)[0]["type"] == "rollback"


def test_a_rollback_can_be_rolled_back_again_and_again(lab: Lab, box: Sandbox) -> None:
    sha = box.commit({"a.txt": "1\n"})["commit_sha"]
    for expected in (None, "1\n", None, "1\n"):
        sha = str(undo(box, sha)["new_sha"])
        assert read(box, "a.txt") == expected
    log = yaml.safe_load(git("show", f"{sha}:.logs/reverted_commits.yaml", cwd=folder(lab, box)))
    assert len(log) == 4


def test_later_changes_of_the_same_lines_are_a_conflict_and_nothing_is_written(
    lab: Lab, box: Sandbox
) -> None:
    sha = box.commit({"a.txt": "1\n", "b.txt": "1\n"})["commit_sha"]
    box.commit({"a.txt": "2\n"})
    tip = lab.tip(box.branch)
    problem = lab.problem(box.try_post("/git/rollback_commit", commit_sha=sha, reason="r"), "conflict")
    assert [c["path"] for c in problem["conflicts"]] == ["a.txt"]
    assert lab.tip(box.branch) == tip
    assert undo(box, sha, paths=["b.txt"])["reverted_files"] == ["b.txt"]
    assert (read(box, "a.txt"), read(box, "b.txt")) == ("2\n", None)


def test_changes_of_other_lines_stay(lab: Lab, box: Sandbox) -> None:
    lines = [f"{n}\n" for n in range(20)]
    box.commit({"a.txt": "".join(lines)})
    bad = box.commit({"a.txt": "".join(["first\n", *lines[1:]])})["commit_sha"]
    box.commit({"a.txt": "".join(["first\n", *lines[1:19], "last\n"])})
    undo(box, bad)
    assert read(box, "a.txt") == "".join([*lines[:19], "last\n"])


def test_what_is_undone_already_cannot_be_undone_twice(lab: Lab, box: Sandbox) -> None:
    sha = box.commit({"a.txt": "1\n"})["commit_sha"]
    undo(box, sha)
    problem = lab.problem(box.try_post("/git/rollback_commit", commit_sha=sha, reason="r"), "conflict")
    assert problem["conflicts"] == []


def test_a_merge_is_undone_against_its_first_parent(lab: Lab, box: Sandbox) -> None:
    other = lab.open_sandbox()
    other.commit({"theirs-merge.txt": "1\n"})
    box.commit({"mine.txt": "1\n"})
    lab.merged(other)
    path = f"/v1/sandboxes/{lab.sandbox_id(box)}/update"
    sha = lab.ok(lab.world.http.post(path, json={}, headers=box.headers))["commit_sha"]
    assert read(box, "theirs-merge.txt") == "1\n"
    assert undo(box, sha)["reverted_files"] == ["theirs-merge.txt"]
    assert (read(box, "theirs-merge.txt"), read(box, "mine.txt")) == (None, "1\n")


def test_the_first_commit_of_all_can_be_undone(lab: Lab) -> None:
    lab.world.import_repo(make_repository(lab.world.home / "root", {"a": "1\n", "d/b": "2\n"}), "root")
    box = lab.open_sandbox("root")
    box.commit({"mine.txt": "1\n"})
    assert undo(box, lab.tip("main", "root"))["reverted_files"] == ["a", "d/b"]
    assert (read(box, "a"), read(box, "mine.txt")) == (None, "1\n")


def test_a_commit_of_the_executable_bit_alone_can_be_undone(lab: Lab) -> None:
    source = make_repository(lab.world.home / "bits", {"run.sh": "x\n"})
    git("update-index", "--chmod=+x", "run.sh", cwd=source)
    git("commit", "-qm", "executable", cwd=source)
    lab.world.import_repo(source, "bits")
    box = lab.open_sandbox("bits")
    assert undo(box, lab.tip("main", "bits"))["reverted_files"] == ["run.sh"]
    assert git("ls-tree", box.branch, "run.sh", cwd=folder(lab, box)).startswith("100644")


def test_logs_and_delivery_files_are_never_undone(lab: Lab, box: Sandbox) -> None:
    sha = box.post("/tasks/lifecycle", action="create", task_id="t1", title="One")["commit_sha"]
    lab.problem(box.try_post("/git/rollback_commit", commit_sha=sha, reason="r"), "conflict")
    assert "t1" in str(read(box, "project/task.yaml"))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"commit_sha": "0" * 40}, "not_found"), ({"commit_sha": "HEAD"}, "validation_failed"),
        ({"commit_sha": "abc"}, "validation_failed"), ({"reason": ""}, "validation_failed"),
        ({"paths": ["../x"]}, "invalid_path"), ({"paths": ["no/such"]}, "conflict"),
        ({"paths": ["a.txt"] * 101}, "validation_failed"),
    ],
)  # fmt: skip
def test_a_rollback_of_nothing_is_refused(lab: Lab, body: dict[str, object], code: str) -> None:
    box = lab.open_sandbox()
    sha = box.commit({"a.txt": "1\n"})["commit_sha"]
    lab.problem(box.try_post("/git/rollback_commit", **{"commit_sha": sha, "reason": "r", **body}), code)
    assert lab.tip(box.branch) == sha


def test_a_commit_of_another_branch_cannot_be_undone(lab: Lab, box: Sandbox) -> None:
    foreign = lab.open_sandbox().commit({"a.txt": "1\n"})["commit_sha"]
    lab.problem(box.try_post("/git/rollback_commit", commit_sha=foreign, reason="r"), "not_found")


def test_a_reset_to_main_has_mains_files_and_keeps_the_logs(lab: Lab, box: Sandbox) -> None:
    before = box.commit({"a.txt": "1\n", "README.md": None})["commit_sha"]
    reply = lab.ok(reset(lab, box, "main", reason="start over"))
    assert (read(box, "a.txt"), read(box, "README.md")) == (None, "# Lab\n")
    changelog = yaml.safe_load(str(read(box, "project/changelog.yaml")))
    assert len(changelog) >= 2
    assert git("rev-parse", f"{reply['commit_sha']}~", cwd=folder(lab, box)) == before
    assert lab.events(object=reply["commit_sha"])[0]["payload"]["reason"] == "start over"
    assert lab.ok(reset(lab, box, "main"))["commit_sha"] is None


def test_a_reset_to_a_commit_or_backup_has_their_files(lab: Lab, box: Sandbox) -> None:
    first = box.commit({"a.txt": "1\n"})["commit_sha"]
    kept = box.post("/system/backup")["backup_id"]
    box.commit({"a.txt": "2\n", "b.txt": "2\n"})
    lab.ok(reset(lab, box, first))
    assert (read(box, "a.txt"), read(box, "b.txt")) == ("1\n", None)
    box.commit({"a.txt": "3\n"})
    lab.ok(reset(lab, box, kept))
    assert read(box, "a.txt") == "1\n"
    entries = yaml.safe_load(str(read(box, "project/changelog.yaml")))
    assert len({e["id"] for e in entries}) == len(entries) >= 5


def test_a_reset_to_what_is_not_there_is_refused(lab: Lab, box: Sandbox) -> None:
    tip = box.commit({"a.txt": "1\n"})["commit_sha"]
    other = lab.open_sandbox()
    foreign, kept = other.commit({"a": "1"})["commit_sha"], other.post("/system/backup")["backup_id"]
    for to, code in (
        (foreign, "not_found"), (kept, "not_found"), ("0" * 40, "not_found"), ("sandbox", "validation_failed"),
        ("bak_none", "not_found"), ("", "validation_failed"),
    ):  # fmt: skip
        lab.problem(reset(lab, box, to), code)
    path = f"/v1/sandboxes/{lab.sandbox_id(other)}/reset"
    lab.problem(lab.world.http.post(path, json={"to": "main"}, headers=box.headers), "not_found")
    assert lab.tip(box.branch) == tip
