"""Limits of the kernel: found by writing, on either version, and nothing is left behind by a keeper that was killed."""

import errno
import os
from pathlib import Path

import pytest

from builderos.execution.compute.schema import Limits
from builderos.integrations.bwrap import cgroups, tree

LIMITS = Limits(cpu=1.5, memory=1 << 26, pids=33)


def _proc(folder: Path, mountinfo: str, cgroup: str) -> Path:
    proc = folder / "proc"
    proc.mkdir()
    (proc / "mountinfo").write_text(mountinfo)
    (proc / "cgroup").write_text(cgroup)
    return proc


def _files(folder: Path, *names: str) -> None:
    os.makedirs(folder, exist_ok=True)
    for name in names:
        (folder / name).touch()


def _v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controllers: str) -> tuple[Path, Path]:
    """A unified hierarchy as the kernel shows it: a new folder has its files at once."""
    root = tmp_path / "sys fs"
    own = root / "user.slice"
    _files(own, "cgroup.subtree_control")

    def mkdir(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        os.makedirs(self, exist_ok=exist_ok)
        if self.is_relative_to(own):
            _files(
                self,
                *"cgroup.procs cgroup.subtree_control memory.max memory.oom.group pids.max cpu.max".split(),
            )
            (self / "cgroup.controllers").write_text(controllers)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    mount = str(root).replace(" ", "\\040")
    return own, _proc(tmp_path, f"31 23 0:38 / {mount} rw - cgroup2 cgroup2 rw\n", "0::/user.slice\n")


def test_the_unified_hierarchy_is_used_where_a_part_of_it_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, proc = _v2(tmp_path, monkeypatch, "cpu memory pids")
    found = cgroups.found("builderos-1-1", proc)
    assert isinstance(found, cgroups.V2)
    assert found.enforced == ("cpu", "memory", "pids")
    group = found.make("r1")
    group.limit(LIMITS)
    folder = own / "builderos-1-1" / "r1"
    names = ("memory.max", "pids.max", "cpu.max", "memory.oom.group")
    assert [(folder / name).read_text() for name in names] == [str(1 << 26), "33", "150000 100000", "1"]
    group.put(4711)
    assert (folder / "cgroup.procs").read_text() == "4711"
    assert not group.starved()
    (folder / "memory.events").write_text("low 0\nmax 3\noom 1\noom_kill 0\n")
    assert group.starved()
    (folder / "memory.peak").write_text("12345\n")
    (folder / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    assert (group.peak(), group.cpu_s()) == (12345, 2.5)


@pytest.mark.parametrize("narrow", [False, True])
def test_a_group_that_may_not_have_more_than_the_one_above_gets_what_that_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: bool
) -> None:
    """Version 1 refuses a share of the processor that is larger than the share of the group above."""
    kinds = ("memory", "pids", "cpu")
    for kind in kinds:
        names = "memory.limit_in_bytes memory.max_usage_in_bytes pids.max cpu.cfs_period_us cpu.cfs_quota_us"
        _files(tmp_path / kind, *names.split())
    written: list[object] = []
    write = cgroups._write

    def refusing(file: Path, value: object) -> None:
        if file.name == "cpu.cfs_quota_us":
            written.append(value)
            if narrow and value != -1:
                raise OSError(errno.EINVAL, "Invalid argument")
        write(file, value)

    monkeypatch.setattr(cgroups, "_write", refusing)
    cgroups.V1Group({kind: tmp_path / kind for kind in kinds}).limit(LIMITS)
    assert written == ([150_000, -1] if narrow else [150_000])
    assert (tmp_path / "pids" / "pids.max").read_text() == "33"


def test_a_hierarchy_that_lends_no_memory_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, proc = _v2(tmp_path, monkeypatch, "cpu")
    assert cgroups.found("builderos-1-1", proc) is None


def test_without_any_hierarchy_limits_are_watched(tmp_path: Path) -> None:
    assert (
        cgroups.found("builderos-1-1", _proc(tmp_path, "22 27 0:21 / /proc rw - proc proc rw\n", "0::/\n"))
        is None
    )


def test_what_a_killed_keeper_left_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, proc = _v2(tmp_path, monkeypatch, "cpu memory pids")
    ended: list[list[int]] = []
    monkeypatch.setattr(cgroups, "tell", lambda pids, _: ended.append(pids))
    for name in ("builderos-4194303-1", tree.own_name()):
        (own / name / "r1").mkdir(parents=True)
        (own / name / "r1" / "cgroup.procs").write_text("11\n12\n")
    cgroups.found("builderos-1-1", proc)
    assert [11, 12] in ended
    assert (own / tree.own_name() / "r1" / "cgroup.procs").read_text(), "what lives is left alone"
    assert len([pids for pids in ended if pids]) == 1


def test_a_name_tells_whether_its_process_still_lives() -> None:
    assert not tree.is_orphaned(tree.own_name())
    assert tree.is_orphaned("builderos-4194303-1")
    assert tree.is_orphaned(tree.own_name() + "0"), "another process with the same number"
    assert not tree.is_orphaned("builderos-test-0-abc")
