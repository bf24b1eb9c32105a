"""Files that appear whole or not at all."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from builderos.core.files import piece_of, replace_text, replacing


def test_the_file_appears_with_its_folder_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "said.json"
    replace_text(path, "größer", durable=True)
    assert path.read_bytes() == "größer".encode()
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_what_breaks_off_leaves_the_old_content_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "said.json"
    replace_text(path, "old")

    def break_off() -> None:
        with replacing(path) as file:
            file.write("half of the new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_several_may_write_it_at_once_and_one_of_them_counts(tmp_path: Path) -> None:
    path, together = tmp_path / "said.json", threading.Barrier(8)

    def write(number: int) -> None:
        with replacing(path) as file:
            file.write(str(number) * 1000)
            together.wait(60)  # all drafts are open now
            file.write(str(number) * 1000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert path.read_text() in {str(number) * 2000 for number in range(8)}
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_that_grows_is_read_in_pieces_of_whole_characters(tmp_path: Path) -> None:
    path = tmp_path / "said.log"
    assert piece_of(path, 7, 10) == ("", 7, 0)
    path.write_bytes("aé".encode()[:2])
    assert piece_of(path, 0, 10) == ("a", 1, 2)  # the rest of the second is not there yet
    path.write_bytes("aé€".encode() + b"\xff!")
    text, at, pieces = "", 0, 0
    while at < path.stat().st_size:
        more, at, _ = piece_of(path, at, 1)
        text, pieces = text + more, pieces + 1
    assert text == "aé€\ufffd!"
    assert pieces < 6
