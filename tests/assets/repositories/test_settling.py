"""After an unclean stop everything that was committed is there, and git finds nothing to complain about."""

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from builderos.assets.repositories import durable, settling
from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import (
    Batch,
    Edit,
    Person,
    RepositoryStore,
    Torn,
    edit_tree,
    encode_commit,
)
from builderos.core.clock import utcnow
from builderos.core.unit import Unit, as_system
from builderos.trust.ledger import service as ledger
from tests.support.crashes import POINTS, commit_and_die
from tests.support.databases import FreshDatabase
from tests.support.world import Sandbox, World, git, world_in_temp


@pytest.fixture
def world(database: FreshDatabase) -> Iterator[World]:
    with world_in_temp(database) as made:
        yield made


def branch_of(world: World, name: str) -> Branch:
    def find(unit: Unit) -> Branch:
        repo = repositories.find_repository(unit, "lab")
        found = repositories.find_branch(unit, repo.id, name)
        assert found is not None
        return found

    return as_system(world.context, world.org_id, find)


def folder_of(world: World, branch: Branch) -> Path:
    return world.context.get(RepositoryStore).path(branch.store)


def fsck(world: World, branch: Branch) -> None:
    git("fsck", "--strict", "--full", cwd=folder_of(world, branch))


def content(sandbox: Sandbox, path: str) -> str | None:
    reply = sandbox.post("/system/fetch_files", mode="batch", paths=[path])
    return reply["files"][0]["content"] if reply["files"] else None


def on_disk(world: World, branch: Branch, path: str) -> str:
    return git("show", f"{branch.ref}:{path}", cwd=folder_of(world, branch))


def forget(world: World) -> None:
    """What a new process would not know: open handles and cached objects."""
    store = world.context.get(RepositoryStore)
    for path in store.root.glob("*/*/branches/*/*.git"):
        folder = str(path.relative_to(store.root))
        store.forget(folder)
        world.context.get(repositories.ObjectCache).forget(folder)
    for path in store.root.glob("*/*/base.git"):
        store.forget(str(path.relative_to(store.root)))
        world.context.get(repositories.ObjectCache).forget(str(path.relative_to(store.root)))


# ---------------------------------------------------------------- kill -9


@pytest.mark.parametrize("point", POINTS)
def test_a_commit_whose_process_was_killed_is_there_after_the_start(
    world: World, database: FreshDatabase, point: str
) -> None:
    sandbox = world.open_sandbox()
    sandbox.commit({"src/a.py": "before\n"})
    durable.flush(world.context.get(RepositoryStore).root)
    commit_and_die(world.home, database, sandbox, {"src/a.py": "after\n", "deep/er/b.txt": "b\n"}, point)
    result = settling.settle_all(world.context)
    assert (result.mended, result.failed) == (0 if point == "after the ref" else 1, 0)
    branch = branch_of(world, sandbox.branch)
    assert on_disk(world, branch, "src/a.py") == "after"
    assert on_disk(world, branch, "deep/er/b.txt") == "b"
    fsck(world, branch)
    assert settling.settle_all(world.context).mended == 0
    sandbox.commit({"src/a.py": "later\n"})
    assert on_disk(world, branch, "src/a.py") == "later"


@pytest.mark.parametrize("point", POINTS)
def test_it_is_there_for_whoever_opens_the_branch_before_settling_came_to_it(
    world: World, database: FreshDatabase, point: str
) -> None:
    sandbox = world.open_sandbox()
    commit_and_die(world.home, database, sandbox, {"a.txt": "kept\n"}, point)
    assert content(sandbox, "a.txt") == "kept\n"
    sandbox.commit({"a.txt": "further\n"})
    assert on_disk(world, branch_of(world, sandbox.branch), "a.txt") == "further"
    fsck(world, branch_of(world, sandbox.branch))


def test_a_sandbox_whose_process_was_killed_while_its_store_was_made_opens(
    world: World, database: FreshDatabase
) -> None:
    sandbox = world.open_sandbox()
    commit_and_die(world.home, database, sandbox, {"a.txt": "lost\n"}, "in the middle of the store")
    assert settling.settle_all(world.context).failed == 0
    sandbox.commit({"a.txt": "first\n"})
    fsck(world, branch_of(world, sandbox.branch))


def test_a_sandbox_that_nobody_opened_has_no_files_and_is_well(world: World) -> None:
    sandbox = world.open_sandbox()
    branch = branch_of(world, sandbox.branch)
    world.context.get(Torn).add(branch.id)
    result = settling.settle_all(world.context)
    assert (result.mended, result.failed) == (0, 0)
    assert branch.id not in world.context.get(Torn)
    assert as_system(world.context, world.org_id, settling.misfits) == {}
    assert not folder_of(world, branch).exists()
    sandbox.commit({"a.txt": "first\n"})
    assert on_disk(world, branch_of(world, sandbox.branch), "a.txt") == "first"


def test_a_ref_that_lags_or_is_ahead_or_is_no_ref_follows_the_database(world: World) -> None:
    sandbox = world.open_sandbox()
    first = sandbox.commit({"a": "1\n"})["commit_sha"]
    branch = branch_of(world, sandbox.branch)
    ref = folder_of(world, branch) / branch.ref
    ahead = git(
        "commit-tree", f"{first}^{{tree}}", "-p", first, "-m", "never committed", cwd=folder_of(world, branch)
    )
    for text in (git("rev-parse", f"{first}^", cwd=folder_of(world, branch)), ahead, "", "\0" * 40, "f" * 40):
        ref.write_text(text)
        assert settling.settle_all(world.context).mended == 1
        assert ref.read_text() == f"{first}\n"


def test_an_archived_branch_keeps_its_commits_and_loses_its_ref(world: World) -> None:
    sandbox = world.open_sandbox()
    sha = sandbox.commit({"a": "1\n"})["commit_sha"]
    branch = branch_of(world, sandbox.branch)
    as_system(
        world.context, world.org_id, lambda unit: repositories.set_branch(unit, branch.id, state="archived")
    )  # as if killed right after the commit point
    assert settling.settle_all(world.context).mended == 1
    folder = folder_of(world, branch)
    assert (
        git("for-each-ref", "--format=%(refname)", branch.archive_ref, branch.ref, cwd=folder)
        == branch.archive_ref
    )
    assert git("rev-parse", branch.archive_ref, cwd=folder) == sha
    assert settling.settle_all(world.context).mended == 0


# ---------------------------------------------------------------- moves of the shared store


def move_main(world: World, files: dict[str, str], *, settle: bool, tag: str | None = None) -> str:
    """A commit on main, followed by the base branch, as a promotion makes it; unsettled as after a kill."""

    def verb(unit: Unit) -> str:
        repo = repositories.find_repository(unit, "lab")
        main = repositories.main_branch(unit, repo.id, lock=True)
        store = unit.get(RepositoryStore)
        batch = Batch(store.open(main.store))
        tree = bytes.fromhex(git("rev-parse", f"{main.tip}^{{tree}}", cwd=store.path(main.store)))
        for path, text in files.items():
            tree = edit_tree(batch, tree, {path: Edit(batch.put("blob", text.encode()))})
        who = Person("t", "t@builderos.invalid")
        sha = batch.put(
            "commit", encode_commit(tree, [bytes.fromhex(main.tip)], who, who, unit.now, "Merge")
        ).hex()
        objects = batch.pack()
        if tag is not None:
            text = f"object {sha}\ntype commit\ntag {tag}\ntagger t <t@builderos.invalid> 1700000000 +0000\n\n{tag}\n"
            objects += batch.pack([batch.put("tag", text.encode())])
        line = ledger.compose(unit, "merge", sha, {"old": main.tip})
        repositories.advance(unit, main, sha, objects, ledger_line=line)
        base = repositories.find_branch(unit, repo.id, repo.base_branch, lock=True)
        if base is not None:
            line = ledger.compose(unit, "base.followed", sha, {"old": base.tip})
            repositories.advance(unit, base, sha, b"", ledger_line=line, commits=0)
        if not settle:
            unit.effects.clear()
        return sha

    return as_system(world.context, world.org_id, verb)


def test_a_merge_that_was_not_settled_reaches_main_and_the_base_branch(world: World) -> None:
    world.open_sandbox()  # makes the base branch
    sha = move_main(world, {"new.txt": "merged\n"}, settle=False)
    sandbox = world.open_sandbox()  # starts from a commit that no store holds yet
    assert content(sandbox, "new.txt") == "merged\n"
    assert settling.settle_all(world.context).failed == 0
    for name in ("main", "sandbox"):
        branch = branch_of(world, name)
        assert git("rev-parse", branch.ref, cwd=folder_of(world, branch)) == sha
        fsck(world, branch)
    sandbox.commit({"a.txt": "1\n"})


def test_a_release_that_was_not_settled_gets_its_tag(world: World) -> None:
    world.open_sandbox()
    sha = move_main(world, {"new.txt": "released\n"}, settle=False, tag="v1.2.0")
    assert settling.settle_all(world.context).mended >= 1
    main = branch_of(world, "main")
    assert git("rev-parse", "v1.2.0^{commit}", cwd=folder_of(world, main)) == sha
    fsck(world, main)
    assert settling.settle_all(world.context).mended == 0


# ---------------------------------------------------------------- power loss


def lose_power(world: World, torn: dict[str, bytes | None], branch: Branch) -> None:
    """The machine starts anew: files of a store hold what the disk had of them, and the mark is of another boot."""
    store = world.context.get(RepositoryStore)
    for name, data in torn.items():
        path = folder_of(world, branch) / name
        if data is None:
            path.unlink()
            continue
        path.chmod(0o644)
        path.write_bytes(data)
    mark = store.root / ".synced.json"
    fields = json.loads(mark.read_text()) if mark.exists() else {"synced_at": 0.0}
    mark.write_text(json.dumps({**fields, "boot_id": "the one before"}))
    forget(world)


def loose_of(world: World, branch: Branch) -> dict[str, bytes]:
    root = folder_of(world, branch)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.glob("objects/[0-9a-f][0-9a-f]/*")}


TEARS: dict[str, Any] = {
    "empty": lambda _data: b"",
    "half": lambda data: data[: len(data) // 2],
    "zeros": lambda data: b"\0" * len(data),  # the right size: only the journal knows better
    "gone": lambda _data: None,
}


@pytest.mark.parametrize("tear", TEARS)
@pytest.mark.parametrize("lazily", [True, False], ids=["on opening", "in the background"])
def test_objects_torn_by_a_power_loss_are_written_anew(world: World, tear: str, lazily: bool) -> None:
    sandbox = world.open_sandbox()
    sandbox.commit({"a.txt": "first\n"})
    sandbox.commit({"a.txt": "second\n", "b.txt": "b\n"})
    branch = branch_of(world, sandbox.branch)
    torn = {name: TEARS[tear](data) for name, data in loose_of(world, branch).items()}
    lose_power(world, torn | {branch.ref: b""}, branch)
    repositories.prepare(world.context)
    assert branch.id in world.context.get(Torn)
    if lazily:
        assert content(sandbox, "a.txt") == "second\n"
        sandbox.commit({"c.txt": "c\n"})
    result = settling.settle_all(world.context)
    assert result.failed == 0
    assert list(world.context.get(Torn)) == []
    assert on_disk(world, branch, "a.txt") == "second"
    assert on_disk(world, branch, "b.txt") == "b"
    fsck(world, branch)
    assert durable.read_mark(world.context.get(RepositoryStore).root).boot_id == durable.boot_id()


@pytest.mark.parametrize("name", ["config", "HEAD", "objects/info/alternates"])
@pytest.mark.parametrize("tear", ["empty", "gone"])
def test_a_store_torn_before_its_first_commit_is_mended(world: World, name: str, tear: str) -> None:
    sandbox = world.open_sandbox()
    branch = branch_of(world, sandbox.branch)
    old = utcnow() - timedelta(days=1)  # opened long before the last flush, read today
    as_system(
        world.context,
        world.org_id,
        lambda unit: repositories.set_branch(unit, branch.id, created_at=old, moved_at=old),
    )
    assert content(sandbox, "README.md") == "# Lab\n"
    before = (folder_of(world, branch) / name).read_bytes()
    lose_power(world, {name: TEARS[tear](before)}, branch)
    repositories.prepare(world.context)
    assert content(sandbox, "README.md") == "# Lab\n"
    assert (folder_of(world, branch) / name).read_bytes() == before
    sandbox.commit({"a.txt": "1\n"})
    fsck(world, branch)


def test_the_shared_store_is_whole_before_anybody_is_served(world: World) -> None:
    world.open_sandbox()
    main = branch_of(world, "main")
    imported = loose_of(world, main)  # on disk since the import: it flushes
    move_main(world, {"new.txt": "merged\n"}, settle=True)
    torn: dict[str, bytes | None] = {name: b"" for name in loose_of(world, main) if name not in imported}
    lose_power(world, torn | {main.ref: b""}, main)
    repositories.prepare(world.context)
    assert on_disk(world, main, "new.txt") == "merged"
    fsck(world, main)


def test_in_the_same_boot_nothing_is_written_anew(world: World) -> None:
    sandbox = world.open_sandbox()
    sandbox.commit({"a.txt": "1\n"})
    settling.settle_all(world.context)
    branch = branch_of(world, sandbox.branch)
    before = {name: os.stat(folder_of(world, branch) / name).st_ino for name in loose_of(world, branch)}
    repositories.prepare(world.context)
    assert list(world.context.get(Torn)) == []
    assert settling.settle_all(world.context).mended == 0
    assert {name: os.stat(folder_of(world, branch) / name).st_ino for name in before} == before


def test_one_broken_store_does_not_hide_the_others(world: World) -> None:
    broken, whole = world.open_sandbox(), world.open_sandbox()
    sha = broken.commit({"a.txt": "1\n"})["commit_sha"]
    whole.commit({"a.txt": "1\n"})
    branch = branch_of(world, broken.branch)

    def lose(unit: Unit) -> None:
        unit.driver.execute("delete from ops.git_journal where branch_id = %s", (branch.id,))

    as_system(world.context, world.org_id, lose)
    (folder_of(world, branch) / "objects" / sha[:2] / sha[2:]).unlink()
    other = branch_of(world, whole.branch)
    (folder_of(world, other) / other.ref).write_text("")
    forget(world)
    result = settling.settle_all(world.context)
    assert (result.mended, result.failed) == (1, 1)
    problem = world.problem(
        broken.try_post("/system/fetch_files", mode="batch", paths=["a.txt"]), "unavailable"
    )
    assert "doctor" in problem["hint"]
