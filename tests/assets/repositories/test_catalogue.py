"""Repositories as a list, new ones, dev branches, and the store below them."""

from pathlib import Path

import pytest

from builderos.assets.repositories.service import RepositoryStore
from builderos.core.problems import Problem
from tests.support.lab import Lab
from tests.support.world import git, make_repository

SHA = "1" * 40


@pytest.fixture
def store(tmp_path: Path) -> RepositoryStore:
    made = RepositoryStore(tmp_path)
    make_repository(tmp_path / "r")
    return made


def test_a_new_repository_has_one_commit_and_can_be_built_in(lab: Lab) -> None:
    made = lab.ok(lab.as_owner("POST", "/v1/repos", json={"name": "fresh"}), 201)
    box = lab.open_sandbox("fresh")
    assert box.post("/system/fetch_files", path="README.md")["files"][0]["content"] == "# fresh\n"
    box.commit({"a": "1"})
    lab.merged(box)
    row = lab.sql("select store, tip from ops.branches where repo_id = %s and kind = 'main'", made["id"])[0]
    assert git("fsck", "--strict", "--no-dangling", cwd=lab.world.home / "repos" / row[0]) == ""
    lab.problem(lab.as_owner("POST", "/v1/repos", json={"name": "fresh"}), "conflict")
    for name in ("", "../x", "a b", None):
        lab.problem(lab.as_owner("POST", "/v1/repos", json={"name": name}), "validation_failed")


def test_repositories_are_shown_and_listed_in_pages(lab: Lab) -> None:
    for name in ("one", "two"):
        lab.ok(lab.as_owner("POST", "/v1/repos", json={"name": name}), 201)
    page = lab.ok(lab.as_owner("GET", "/v1/repos", params={"limit": 1}))
    rest = lab.ok(lab.as_owner("GET", "/v1/repos", params={"limit": 200, "cursor": page["next_cursor"]}))
    names = [r["repo_name"] for r in page["items"] + rest["items"]]
    assert len(set(names)) == len(names)
    assert {"lab", "one", "two"} <= set(names)
    shown = lab.ok(lab.as_owner("GET", f"/v1/repos/{page['items'][0]['id']}"))
    assert [b["name"] for b in shown["branches"]][:1] == ["main"]
    lab.problem(lab.as_owner("GET", "/v1/repos/repo_none"), "not_found")
    lab.problem(lab.as_owner("GET", "/v1/repos", params={"cursor": "x"}), "validation_failed")


def test_a_dev_branch_is_made_once_by_administrators(lab: Lab) -> None:
    path = f"/v1/repos/{lab.sql('select id from ops.repositories limit 1')[0][0]}/branches"
    made = lab.ok(lab.as_owner("POST", path, json={"branch": "dev-x"}), 201)
    assert (made["kind"], made["head_sha"]) == ("dev", lab.tip("main"))
    lab.problem(lab.as_owner("POST", path, json={"branch": "dev-x"}), "conflict")
    for name in ("main", "sandbox-a-b", "dev/x", "dev_x", "Dev", "dev-", "", "dev\n"):
        lab.problem(lab.as_owner("POST", path, json={"branch": name}), "validation_failed")
    box = lab.open_sandbox()
    lab.problem(lab.world.http.post(path, json={"branch": "dev-y"}, headers=box.headers), "policy_denied")
    lab.problem(lab.as_owner("POST", "/v1/repos/repo_none/branches", json={"branch": "dev"}), "not_found")


def test_a_ref_swaps_only_from_what_it_holds(store: RepositoryStore) -> None:
    head = git("rev-parse", "HEAD", cwd=store.root / "r")
    folder = "r/.git"
    assert store.swap_ref(folder, "refs/heads/new", None, head)
    assert not store.swap_ref(folder, "refs/heads/new", None, SHA)
    assert not store.swap_ref(folder, "refs/heads/new", SHA, SHA)
    assert store.read_ref(folder, "refs/heads/new") == head
    assert not list(store.root.rglob("*.lock"))


def test_a_packed_ref_is_read_and_a_torn_loose_one_passed_over(store: RepositoryStore) -> None:
    folder, head = "r/.git", git("rev-parse", "HEAD", cwd=store.root / "r")
    git("pack-refs", "--all", cwd=store.root / "r")
    assert store.read_ref(folder, "refs/heads/main") == head
    (store.root / folder / "refs/heads").mkdir(exist_ok=True)
    for torn in (b"", b"\0" * 41, b"garbage\n", head.encode()[:20]):
        (store.root / folder / "refs/heads/main").write_bytes(torn)
        assert store.read_ref(folder, "refs/heads/main") == head
    assert store.read_ref(folder, "refs/heads/mai") is None
    assert store.read_ref(folder, "refs/heads/none") is None


def test_a_lock_of_a_dead_process_is_broken_and_a_fresh_one_waited_for(store: RepositoryStore) -> None:
    import os

    lock = store.root / "r/.git/refs/heads/main.lock"
    lock.write_text("")
    os.utime(lock, (1, 1))
    store.write_ref("r/.git", "refs/heads/main", SHA)
    assert store.read_ref("r/.git", "refs/heads/main") == SHA
    assert not lock.exists()


def test_a_store_appears_whole_or_not_at_all(store: RepositoryStore) -> None:
    for _ in range(2):
        store.create("a/b.git", head="refs/heads/x", refs={"refs/heads/x": SHA}, alternates="r/.git")
    assert store.read_ref("a/b.git", "refs/heads/x") == SHA
    assert (store.root / "a/b.git/objects/info/alternates").read_text() == f"{store.root}/r/.git/objects\n"
    assert [p.name for p in (store.root / "a").iterdir()] == ["b.git"]
    with pytest.raises(Problem) as refused:
        store.open("no/such.git")
    assert refused.value.code == "unavailable"
