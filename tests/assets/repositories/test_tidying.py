"""Packing and sweeping of stores, beside writers."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builderos.assets.repositories import maintenance, settling
from tests.support.databases import FreshDatabase
from tests.support.stores import branch_of, folder_of, fsck, loose, store_of
from tests.support.world import Sandbox, World, git, make_repository, world_in_temp


@pytest.fixture
def world(database: FreshDatabase) -> Iterator[World]:
    with world_in_temp(database) as made:
        settling.settle_all(made.context)  # as a start does
        yield made


# ---------------------------------------------------------------- packing


def test_many_loose_objects_are_packed_and_what_the_base_holds_is_not_copied(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "LOOSE_LIMIT", 40)
    sandbox = world.open_sandbox()
    branch = branch_of(world, sandbox.branch)
    folder = folder_of(world, branch)
    for number in range(10):
        sandbox.commit({f"d{number}/f.txt": f"{number}\n"})
    count = loose(folder)
    assert count > 40
    assert maintenance.checkpoint(world.context) is not None
    assert loose(folder) == 0
    packed = git("verify-pack", "-v", *map(str, folder.glob("objects/pack/*.idx")), cwd=folder)
    assert packed.count(" commit ") + packed.count(" tree ") + packed.count(" blob ") == count
    assert loose(folder_of(world, branch_of(world, "main"))) > 0  # it has few: they stay as they are
    sandbox.commit({"after.txt": "x\n"})
    assert (
        sandbox.post("/system/fetch_files", mode="batch", paths=["d3/f.txt"])["files"][0]["content"] == "3\n"
    )
    fsck(world, branch)


def test_packs_are_rolled_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "LOOSE_LIMIT", 3)
    sandbox = world.open_sandbox()
    folder = folder_of(world, branch_of(world, sandbox.branch))
    for number in range(16):
        sandbox.commit({f"f{number}.txt": f"{number}\n"})
        assert maintenance.checkpoint(world.context) is not None
    assert len(list(folder.glob("objects/pack/*.pack"))) <= 5
    fsck(world, branch_of(world, sandbox.branch))


def test_a_pack_that_a_push_still_needs_is_left_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = world.open_sandbox()
    sandbox.commit({"a.txt": "1\n"})
    folder = folder_of(world, branch_of(world, sandbox.branch))
    monkeypatch.setattr(maintenance, "LOOSE_LIMIT", 1)
    assert maintenance.pack(store_of(world), branch_of(world, sandbox.branch).store)
    (kept,) = folder.glob("objects/pack/*.pack")
    kept.with_suffix(".keep").write_text("push refs/heads/x\n")
    sandbox.commit({"b.txt": "2\n"})
    assert maintenance.pack(store_of(world), branch_of(world, sandbox.branch).store)
    assert kept.exists()
    fsck(world, branch_of(world, sandbox.branch))


@pytest.mark.soak
def test_writers_of_one_branch_lose_nothing_while_everything_is_packed_all_the_time(
    database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "LOOSE_LIMIT", 10)
    monkeypatch.setattr(maintenance, "REFS_LIMIT", 0)
    rounds = 100 if os.environ.get("BUILDEROS_SOAK") else 10
    with world_in_temp(database, max_files_per_sandbox=10**6, max_commits_per_sandbox=10**6) as world:
        settling.settle_all(world.context)
        shared, own = world.open_sandbox(), world.open_sandbox()
        writers = [Writer(number, sandbox, rounds) for number, sandbox in enumerate([shared] * 8 + [own])]
        keeper = Keeper(world)
        for thread in (keeper, *writers):
            thread.start()
        for writer in writers:
            writer.join()
        keeper.stopping.set()
        keeper.join()
        assert keeper.faults == []
        assert keeper.rounds > 1
        for writer in writers:
            assert writer.faults == []
            assert writer.acknowledged == found(world, writer.sandbox, writer.acknowledged)
        assert branch_of(world, shared.branch).commits == 8 * rounds
        for sandbox in (shared, own):
            branch = branch_of(world, sandbox.branch)
            assert store_of(world).read_ref(branch.store, branch.ref) == branch.tip
            fsck(world, branch)


def found(world: World, sandbox: Sandbox, wanted: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those files that are in their own commit and in the branch's last one."""
    branch = branch_of(world, sandbox.branch)
    names = [f"{commit}:{path}" for path, sha in wanted for commit in (sha, branch.tip)]
    told = git(
        "cat-file",
        "--batch-check=%(objecttype)",
        cwd=folder_of(world, branch),
        stdin="\n".join(names).encode() + b"\n",
    ).splitlines()
    return [
        pair for number, pair in enumerate(wanted) if told[2 * number : 2 * number + 2] == ["blob", "blob"]
    ]


class Writer(threading.Thread):
    """Commits one file after the other and notes what was acknowledged: path and commit."""

    def __init__(self, number: int, sandbox: Sandbox, rounds: int) -> None:
        super().__init__()
        self.number = number
        self.sandbox = sandbox
        self.rounds = rounds
        self.acknowledged: list[tuple[str, str]] = []
        self.faults: list[str] = []

    def run(self) -> None:
        for number in range(self.rounds):
            path = f"w{self.number}/{number}.txt"
            reply = self.sandbox.try_post(
                "/commit_and_log_output",
                message="x",
                files=[{"path": path, "content": f"{self.number} {number}\n"}],
            )
            if reply.status_code == 200:
                self.acknowledged.append((path, reply.json()["commit_sha"]))
            else:
                self.faults.append(reply.text)


class Keeper(threading.Thread):
    """Checkpoints, packs objects and refs, sweeps: all the time."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.rounds = 0
        self.faults: list[str] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            done = maintenance.checkpoint(self.world.context), maintenance.tidy(self.world.context)
            if done[0] is None or done[0].failed or done[1] is None:
                self.faults.append(repr(done))
            self.rounds += 1


def test_refs_are_packed_once_they_are_many_and_still_move(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "REFS_LIMIT", 5)
    sandbox = world.open_sandbox()
    sandbox.post("/system/fetch_files", path="README.md")  # whoever opens it first makes its store
    branch = branch_of(world, sandbox.branch)
    store, folder = store_of(world), folder_of(world, branch)
    assert not maintenance.pack_refs(store, branch.store)
    for number in range(6):
        store.write_ref(branch.store, f"refs/bos/backup/{number}", branch.tip)
    assert maintenance.pack_refs(store, branch.store)
    assert not (folder / branch.ref).exists()
    assert store.read_ref(branch.store, "refs/bos/backup/3") == branch.tip
    sha = sandbox.commit({"a.txt": "1\n"})["commit_sha"]
    assert store.read_ref(branch.store, branch.ref) == sha == git("rev-parse", branch.ref, cwd=folder)
    store.delete_ref(branch.store, "refs/bos/backup/3")
    assert store.read_ref(branch.store, "refs/bos/backup/3") is None


def test_a_base_gets_a_commit_graph_when_main_has_moved(world: World) -> None:
    main = branch_of(world, "main")
    store = store_of(world)
    assert maintenance.write_commit_graph(store, main.store)
    assert not maintenance.write_commit_graph(store, main.store)
    git("commit-graph", "verify", cwd=folder_of(world, main))
    os.utime(folder_of(world, main) / main.ref, (time.time() + 5, time.time() + 5))
    assert maintenance.write_commit_graph(store, main.store)


# ---------------------------------------------------------------- sweeping

OLD = 7 * 3600


def make_old(path: Path, age_s: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.suffix and not path.name.startswith(("tmp_obj", "tmp_pack")):
        path.mkdir()
        (path / "file").write_text("x")
    else:
        path.write_text("x")
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def test_what_dead_processes_left_is_swept_and_what_live_ones_need_is_not(world: World) -> None:
    sandbox = world.open_sandbox()
    sandbox.commit({"a.txt": "1\n"})
    branch = branch_of(world, sandbox.branch)
    store, folder = store_of(world), folder_of(world, branch)
    gone = [
        make_old(folder / f"{branch.ref}.lock", 31),
        make_old(folder / "refs/bos/backup/x.lock", 31),
        make_old(folder / "packed-refs.lock", 601),
        make_old(folder / "objects/info/commit-graph.lock", 601),
        make_old(folder / "objects/ab/tmp_obj_dead", 601),
        make_old(folder / "objects/pack/tmp_pack_dead", OLD),
        make_old(store.root / ".import-dead", OLD),
        make_old(folder.parent / ".new-dead", OLD),
    ]
    kept = [
        make_old(folder / "refs/heads/other.lock", 20),
        make_old(folder / "objects/cd/tmp_obj_live", 60),
        make_old(folder / "objects/pack/tmp_pack_live", 3600),
        make_old(store.root / ".import-live", 3600),
        make_old(folder.parent / ".new-live", 60),
    ]
    swept = maintenance.tidy(world.context)
    assert swept is not None
    assert sorted(swept.removed) == sorted(str(path.relative_to(store.root)) for path in gone)
    assert [path for path in gone if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []
    fsck(world, branch)


def test_a_lock_that_a_killed_process_left_stops_nobody(world: World) -> None:
    sandbox = world.open_sandbox()
    branch = branch_of(world, sandbox.branch)
    make_old(folder_of(world, branch) / f"{branch.ref}.lock", 31)
    sandbox.commit({"a.txt": "1\n"})
    assert not (folder_of(world, branch) / f"{branch.ref}.lock").exists()


def test_one_broken_store_is_reported_and_the_others_are_tidied(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(maintenance, "LOOSE_LIMIT", 1)
    broken, whole = world.open_sandbox(), world.open_sandbox()
    for sandbox in (broken, whole):
        sandbox.commit({"a.txt": "1\n"})
    branch = branch_of(world, broken.branch)
    (folder_of(world, branch) / "config").write_text("[core\n")
    assert maintenance.tidy(world.context) is not None
    assert branch.store in caplog.text
    assert loose(folder_of(world, branch_of(world, whole.branch))) == 0


def test_the_walk_finds_every_store_the_base_first(world: World) -> None:
    world.import_repo(make_repository(world.home.parent / "second"), "second")
    opened = [world.open_sandbox() for _ in range(3)]
    names = [sandbox.branch for sandbox in opened]
    assert len(list(maintenance.stores_of(store_of(world)))) == 2
    for sandbox in opened:
        sandbox.post("/system/fetch_files", path="README.md")
    found = list(maintenance.stores_of(store_of(world)))
    assert {branch_of(world, name).store for name in names} <= set(found)
    main = branch_of(world, "main")
    assert found.index(main.store) < found.index(branch_of(world, names[0]).store)
    assert len(found) == 5


def test_git_s_complaint_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: Any, **_options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess([], 128, b"", b"fatal: write error: No space left on device\n")

    monkeypatch.setattr(maintenance, "run_git", full)
    monkeypatch.setattr(maintenance, "LOOSE_LIMIT", -1)
    with pytest.raises(maintenance.Problem) as caught:
        maintenance.pack(store_of(world), branch_of(world, "main").store)
    assert caught.value.code == "storage_full"
