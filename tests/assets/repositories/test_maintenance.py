"""Maintenance beside writers: a short journal and small stores, and no crash at any point loses a commit."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builderos.assets.repositories import durable, journal, maintenance, settling
from builderos.assets.repositories import service as repositories
from builderos.core.unit import as_system
from tests.support.databases import FreshDatabase
from tests.support.stores import branch_of, folder_of, forget_handles, fsck, rows, store_of
from tests.support.world import World, git, world_in_temp


@pytest.fixture
def world(database: FreshDatabase) -> Iterator[World]:
    with world_in_temp(database) as made:
        settling.settle_all(made.context)  # as a start does
        yield made


# ---------------------------------------------------------------- the journal


def test_a_checkpoint_drops_the_rows_and_keeps_the_commits(world: World, database: FreshDatabase) -> None:
    sandboxes = [world.open_sandbox() for _ in range(3)]
    for number in range(4):
        for sandbox in sandboxes:
            sandbox.commit({f"f{number}.txt": f"{number}\n"})
    assert rows(database) == 12
    done = maintenance.checkpoint(world.context)
    assert done is not None
    assert (done.rows, done.failed, rows(database)) == (12, 0, 0)
    forget_handles(world)
    for sandbox in sandboxes:
        fsck(world, branch_of(world, sandbox.branch))
        sandbox.commit({"later.txt": "x\n"})
    assert rows(database) == 3


def test_a_row_is_kept_until_its_objects_are_in_the_store(
    world: World, database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = world.open_sandbox()
    sha = sandbox.commit({"a.txt": "1\n"})["commit_sha"]
    folder = folder_of(world, branch_of(world, sandbox.branch))
    for path in folder.glob("objects/[0-9a-f][0-9a-f]/*"):
        path.unlink()
    forget_handles(world)
    with monkeypatch.context() as broken:
        broken.setattr(journal, "write_loose", _no_room)
        broken.setattr(maintenance, "write_loose", _no_room)
        done = maintenance.checkpoint(world.context)
        assert done is not None
        assert (done.rows, done.failed, rows(database)) == (0, 1, 1)
    done = maintenance.checkpoint(world.context)
    assert done is not None
    assert (done.rows, done.failed) == (1, 0)
    assert git("show", f"{sha}:a.txt", cwd=folder) == "1"
    fsck(world, branch_of(world, sandbox.branch))


def _no_room(*_args: Any, **_options: Any) -> None:
    raise OSError(28, "No space left on device")


def test_an_object_file_of_another_size_is_written_anew_before_its_row_goes(world: World) -> None:
    sandbox = world.open_sandbox()
    sandbox.commit({"a.txt": "1\n"})
    branch = branch_of(world, sandbox.branch)
    for path in folder_of(world, branch).glob("objects/[0-9a-f][0-9a-f]/*"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-3])
    done = maintenance.checkpoint(world.context)
    assert done is not None
    assert done.rows == 1
    fsck(world, branch)


def test_no_row_is_dropped_while_files_may_still_be_torn(world: World, database: FreshDatabase) -> None:
    sandbox = world.open_sandbox()
    sandbox.commit({"a.txt": "1\n"})
    (store_of(world).root / ".synced.json").write_text('{"boot_id": "the one before", "synced_at": 0}')
    assert maintenance.checkpoint(world.context) is None
    assert rows(database) == 1
    settling.settle_all(world.context)
    assert maintenance.checkpoint(world.context) is not None
    assert rows(database) == 0


def test_one_process_per_machine_does_maintenance(world: World) -> None:
    with durable.leader(store_of(world).root) as leading:
        assert leading
        assert maintenance.checkpoint(world.context) is None
        assert maintenance.tidy(world.context) is None
    assert maintenance.tidy(world.context) is not None


def test_the_disk_s_refusal_keeps_the_rows(
    world: World, database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.open_sandbox().commit({"a.txt": "1\n"})

    def refuse(_folder: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(durable, "sync_filesystem", refuse)
    with pytest.raises(OSError, match="Input/output"):
        maintenance.checkpoint(world.context)
    assert rows(database) == 1


def test_syncing_asks_the_kernel(tmp_path: Path) -> None:
    durable.sync_filesystem(tmp_path)
    with pytest.raises(FileNotFoundError):
        durable.sync_filesystem(tmp_path / "absent")


# ---------------------------------------------------------------- power loss at any point


class Disk:
    """What a power loss leaves: the files as they were at the last flush, nothing newer."""

    def __init__(self, root: Path, kept: Path) -> None:
        self.root = root
        self.kept = kept

    def flush(self, _folder: Path) -> None:
        """In place of syncfs: remember everything as it is now."""
        shutil.rmtree(self.kept, ignore_errors=True)
        shutil.copytree(self.root, self.kept, symlinks=True)

    def lose_power(self) -> None:
        """Everything since the last flush is gone, and the machine starts anew."""
        shutil.rmtree(self.root)
        shutil.copytree(self.kept, self.root, symlinks=True)
        (self.root / ".synced.json").unlink(missing_ok=True)  # stands for a mark of another boot


class Crash(BaseException):
    """The process ends here."""


def _crashing(real: Any, *, before: bool, at: int = 0) -> Any:
    calls = iter(range(at))

    def call(*args: Any, **options: Any) -> Any:
        if next(calls, None) is not None:
            return real(*args, **options)
        if not before:
            real(*args, **options)
        raise Crash

    return call


STEPS = {
    "before looking": ("_see_rows", True, 0),
    "after looking": ("_see_rows", False, 0),
    "before packing": ("pack", True, 0),
    "after packing one": ("pack", False, 0),
    "before dropping": ("_drop_rows", True, 0),
    "after dropping": ("_drop_rows", False, 0),
}


@pytest.mark.parametrize(
    "step", [*STEPS, "before the flush", "after the flush", "between two drops", "nowhere"]
)
def test_a_power_loss_at_any_point_of_a_checkpoint_loses_no_commit(
    database: FreshDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with world_in_temp(database) as world:
        disk = Disk(store_of(world).root, tmp_path / "disk")
        disk.flush(disk.root)  # the import was flushed before it was answered
        monkeypatch.setattr(durable, "sync_filesystem", disk.flush)
        monkeypatch.setattr(maintenance, "LOOSE_LIMIT", 5)
        monkeypatch.setattr(maintenance, "_DELETED_AT_ONCE", 2)
        settling.settle_all(world.context)
        sandboxes = [world.open_sandbox() for _ in range(2)]
        acknowledged = [
            (sandbox, number, sandbox.commit({f"f{number}.txt": f"{number}\n"})["commit_sha"])
            for number in range(3)
            for sandbox in sandboxes
        ]
        _crash_in(monkeypatch, world, disk, step)
        disk.lose_power()
        forget_handles(world)
        repositories.prepare(world.context)
        assert settling.settle_all(world.context).failed == 0
        for sandbox, number, sha in acknowledged:
            branch = branch_of(world, sandbox.branch)
            assert git("show", f"{sha}:f{number}.txt", cwd=folder_of(world, branch)) == str(number)
            assert git("merge-base", "--is-ancestor", sha, branch.ref, cwd=folder_of(world, branch)) == ""
        for sandbox in sandboxes:
            fsck(world, branch_of(world, sandbox.branch))
            sandbox.commit({"later.txt": "x\n"})


def _crash_in(monkeypatch: pytest.MonkeyPatch, world: World, disk: Disk, step: str) -> None:
    with monkeypatch.context() as patched:
        if step in STEPS:
            name, before, at = STEPS[step]
            patched.setattr(maintenance, name, _crashing(getattr(maintenance, name), before=before, at=at))
        elif "flush" in step:
            patched.setattr(durable, "flush", _crashing(durable.flush, before=step.startswith("before")))
        elif step == "between two drops":
            patched.setattr(maintenance, "as_system", _crashing(as_system, before=True, at=3))
        if step == "nowhere":
            assert maintenance.checkpoint(world.context) is not None
            return
        with pytest.raises(Crash):
            maintenance.checkpoint(world.context)
