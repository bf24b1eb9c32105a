"""Folders of any depth are counted and removed, and no call goes as deep as they do."""

import os
from pathlib import Path

import pytest

from builderos.core import folders


def nested(folder: Path, depth: int) -> None:
    """Folders in folders, with a file in each; no path of it is ever longer than one name."""
    fd = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


def names(folder: Path) -> list[str]:
    fd = os.open(folder, os.O_RDONLY)
    try:
        return [found.name for found in folders.entries(fd)]
    finally:
        os.close(fd)


def test_everything_below_a_folder_is_found_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").touch()
    (tmp_path / "away").symlink_to("/")
    assert sorted(names(tmp_path)) == ["a", "away", "b", "file"]


def test_what_is_nested_too_deep_is_said_and_no_file_stays_open(tmp_path: Path) -> None:
    nested(tmp_path, folders.DEEPEST + 1)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(folders.TooDeep):
        names(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("depth", [3, 3000])
def test_a_folder_of_any_depth_is_removed(tmp_path: Path, depth: int) -> None:
    (tmp_path / "deep").mkdir()
    nested(tmp_path / "deep", depth)
    folders.remove(tmp_path / "deep")
    assert os.listdir(tmp_path) == []


def test_nothing_outside_is_removed_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "deep").mkdir()
    nested(tmp_path / "deep", 1200)
    (tmp_path / "deep" / "way").symlink_to(tmp_path / "kept")
    (tmp_path / "kept" / "file").touch()
    folders.remove(tmp_path / "deep")
    assert (tmp_path / "kept" / "file").exists()
    assert not (tmp_path / "deep").exists()


def test_removing_what_is_not_there_is_fine(tmp_path: Path) -> None:
    folders.remove(tmp_path / "nothing")
