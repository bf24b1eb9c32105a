"""Bring main's news into a sandbox, with conflicts as data."""

import pytest
import yaml

from tests.support.lab import Lab
from tests.support.world import Sandbox, git


@pytest.fixture
def pair(lab: Lab) -> tuple[Sandbox, Sandbox]:
    """A sandbox, and another one that promotes."""
    return lab.open_sandbox(), lab.open_sandbox()


def update(lab: Lab, box: Sandbox, **body: object) -> object:
    path = f"/v1/sandboxes/{lab.sandbox_id(box)}/update"
    return lab.world.http.post(path, json=body, headers=box.headers)


def read(box: Sandbox, path: str) -> str | None:
    files = box.post("/system/fetch_files", path=path)["files"]
    return files[0]["content"] if files else None


def test_an_update_is_a_merge_with_both_sides(lab: Lab, pair: tuple[Sandbox, Sandbox]) -> None:
    box, other = pair
    mine = box.commit({"mine.txt": "1\n"}, "mine")["commit_sha"]
    other.commit({f"{other.branch}.txt": "1\n"}, "theirs")
    lab.merged(other)
    reply = lab.ok(update(lab, box))
    store = (
        lab.world.home / "repos" / lab.sql("select store from ops.branches where name = %s", box.branch)[0][0]
    )
    assert git("log", "-1", "--format=%P", reply["commit_sha"], cwd=store).split() == [mine, lab.tip("main")]
    assert (read(box, "mine.txt"), read(box, f"{other.branch}.txt")) == ("1\n", "1\n")
    messages = [e["message"] for e in yaml.safe_load(str(read(box, "project/changelog.yaml")))]
    assert messages.count("mine") == messages.count("theirs") == 1
    assert git("fsck", "--strict", cwd=store) == ""
    assert lab.ok(update(lab, box))["commit_sha"] is None
    diff = box.post("/git/diff")
    assert [f["path"] for f in diff["files"] if not f["path"].startswith("project/")] == ["mine.txt"]


def test_conflicts_come_back_as_data_and_are_settled_in_the_next_call(lab: Lab) -> None:
    box, other = lab.open_sandbox(), lab.open_sandbox()
    box.commit({"src/app.py": "print('mine')\n", "gone.txt": "x\n"})
    other.commit({"src/app.py": f"print('{other.branch}')\n"})
    lab.merged(other)
    tip = lab.tip(box.branch)
    problem = lab.problem(update(lab, box), "conflict")
    assert [(c["path"], c["kind"]) for c in problem["conflicts"]] == [("src/app.py", "content")]
    assert "<<<<<<<" in problem["conflicts"][0]["text"]
    assert lab.tip(box.branch) == tip
    settled = [{"path": "src/app.py", "content": "print('both')\n"}]
    assert lab.ok(update(lab, box, resolutions=settled))["commit_sha"]
    assert read(box, "src/app.py") == "print('both')\n"
    lab.merged(box)


@pytest.mark.parametrize("keep", [None, "mine\n"])
def test_a_file_deleted_there_and_changed_here_is_settled_either_way(lab: Lab, keep: str | None) -> None:
    name = f"either-{keep is None}.txt"
    seed = lab.open_sandbox()
    seed.commit({name: "0\n"})
    lab.merged(seed)
    box, other = lab.open_sandbox(), lab.open_sandbox()
    box.commit({name: "mine\n"})
    other.commit({name: None})
    lab.merged(other)
    assert [c["path"] for c in lab.problem(update(lab, box), "conflict")["conflicts"]] == [name]
    lab.ok(update(lab, box, resolutions=[{"path": name, "content": keep}]))
    assert read(box, name) == keep


@pytest.mark.parametrize(
    ("resolutions", "code"),
    [
        ([{"path": "../x", "content": "x"}], "invalid_path"), ([{"path": "a"}], "validation_failed"),
        ([{"path": "a", "content": "x"}] * 101, "validation_failed"), ("all", "validation_failed"),
        ([{"path": "r-conflict.txt", "content": "a\x00b"}], "validation_failed"),
        ([{"path": "r-conflict.txt", "content": "x" * (1024 * 1024 + 1)}], "payload_too_large"),
    ],
)  # fmt: skip
def test_a_bad_resolution_is_refused_and_nothing_is_written(lab: Lab, resolutions: object, code: str) -> None:
    box, other = lab.open_sandbox(), lab.open_sandbox()
    box.commit({"r-conflict.txt": "mine\n"})
    other.commit({"r-conflict.txt": f"{other.branch}\n"})
    lab.merged(other)
    tip = lab.tip(box.branch)
    lab.problem(update(lab, box, resolutions=resolutions), code)
    assert lab.tip(box.branch) == tip


def test_an_update_of_another_sandbox_is_refused(lab: Lab, pair: tuple[Sandbox, Sandbox]) -> None:
    box, other = pair
    path = f"/v1/sandboxes/{lab.sandbox_id(other)}/update"
    lab.problem(lab.world.http.post(path, json={}, headers=box.headers), "not_found")
    lab.problem(
        lab.world.http.post("/v1/sandboxes/sbx_none/update", json={}, headers=box.headers), "not_found"
    )


def test_a_deleted_sandbox_is_not_updated_or_reset(lab: Lab, pair: tuple[Sandbox, Sandbox]) -> None:
    box, _ = pair
    path = f"/v1/sandboxes/{lab.sandbox_id(box)}"
    lab.ok(lab.as_owner("DELETE", path))
    lab.problem(lab.as_owner("POST", f"{path}/update", json={}), "illegal_transition")
    lab.problem(lab.as_owner("POST", f"{path}/reset", json={"to": "main"}), "illegal_transition")
