"""Reading what a stranger wrote: only what lies beneath, only ordinary files."""

import errno
import os
from pathlib import Path

import pytest

from builderos.core import folders
from builderos.core.problems import Problem
from builderos.execution.compute.service import Beneath


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "place"
    (place / "a" / ".git").mkdir(parents=True)
    (place / ".git").mkdir()
    (place / ".git" / "config").write_text("x")
    (place / "a" / "b.txt").write_text("hello")
    (place / "a" / "run").write_text("#!")
    (place / "a" / "run").chmod(0o755)
    (tmp_path / "outside").write_text("canary")
    (place / "link").symlink_to("../outside")
    (place / "up").symlink_to("..")
    os.mkfifo(place / "pipe")
    return place


def test_a_walk_lists_files_and_links_but_no_git_and_no_pipes(folder: Path) -> None:
    with Beneath(folder) as reader:
        found = {entry.path: (entry.size, entry.executable, entry.target) for entry in reader.walk()}
    assert found == {
        "a/b.txt": (5, False, None), "a/run": (2, True, None), "link": (10, False, "../outside"),
        "up": (2, False, ".."),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "code"),
    [("link", errno.ELOOP), ("up/outside", errno.ELOOP), ("../outside", errno.EXDEV), ("a/../../outside", errno.EXDEV),
     ("/etc/passwd", errno.EXDEV), ("pipe", errno.EINVAL), ("a", errno.EINVAL), ("none", errno.ENOENT)],
)  # fmt: skip
def test_nothing_but_an_ordinary_file_beneath_is_read(folder: Path, path: str, code: int) -> None:
    with Beneath(folder) as reader, pytest.raises(OSError) as refusal:
        reader.read(path, 100)
    assert refusal.value.errno == code


def test_a_file_is_read_up_to_its_limit(folder: Path) -> None:
    with Beneath(folder) as reader:
        assert reader.read("a/b.txt", 5) == b"hello"
        with pytest.raises(OSError) as refusal:
            reader.read("a/b.txt", 4)
    assert refusal.value.errno == errno.EFBIG


def test_a_walk_ends_at_its_limit(folder: Path) -> None:
    with Beneath(folder) as reader, pytest.raises(Problem) as refusal:
        list(reader.walk(2))
    assert refusal.value.code == "payload_too_large"


def test_what_lies_too_deep_to_be_read_does_not_pass_for_empty(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    for _ in range(2100):
        os.mkdir("d", dir_fd=fd)
        fd, above = os.open("d", os.O_RDONLY, dir_fd=fd), fd
        os.close(above)
    os.close(fd)
    with Beneath(folder) as reader, pytest.raises(Problem) as refusal:
        list(reader.walk())
    assert refusal.value.code == "payload_too_large"
    folders.remove(folder)


def test_a_folder_that_is_a_link_is_not_opened(folder: Path) -> None:
    (folder.parent / "alias").symlink_to(folder)
    with pytest.raises(OSError):
        Beneath(folder.parent / "alias")
