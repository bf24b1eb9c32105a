"""Logs of steps: only appended, redacted on the way, and any place in them is found at once."""

import errno
import hashlib
import os
import random
from pathlib import Path

import pytest

from builderos.execution.runs import logs
from builderos.execution.runs.logs import BLOCK, Sink, index_of
from builderos.execution.runs.logs_follow import Place
from builderos.execution.runs.logs_read import Log, end, shown, whole_part
from builderos.execution.runs.logs_search import search
from builderos.trust.secrets.service import REMOVED, Redactor

SECRET = b"swordfish-42/deep"


def _kept(path: Path, data: bytes, **options: int) -> Path:
    with Sink(path, **options) as sink:  # pyright: ignore[reportArgumentType]
        sink.write(data)
    return path


def test_a_secret_that_comes_in_two_pieces_is_not_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run" / "step.log"
    sink = Sink(path, Redactor([SECRET]))
    sink.write(b"key " + SECRET[:5])
    assert path.read_bytes() == b"key "
    sink.write(SECRET[5:] + b"\n")
    assert path.read_bytes() == b"key " + REMOVED.encode() + b"\n"
    sink.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_last_lines_are_told_without_secrets(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "a.log", Redactor([SECRET]))
    sink.write(b"one\n\ncannot sign in with " + SECRET[:5])
    assert sink.last_lines() == ["one", "cannot sign in with "]
    sink.write(SECRET[5:])
    sink.close()
    assert sink.last_lines() == ["one", f"cannot sign in with {REMOVED}"]


def test_what_a_command_prints_is_readable_before_it_ends(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "a.log")
    sink.write(b"one\ntwo\n")
    with Log.at(sink.path) as log:
        assert log.lines() == 2
        assert end(sink.path) is None
        sink.write(b"three")
        sink.close()
        assert log.tail(1, BLOCK).data == b"three"
    found = end(sink.path)
    assert found is not None
    assert (found.bytes, found.lines) == (13, 3)
    assert found.sha256 == hashlib.sha256(b"one\ntwo\nthree").hexdigest()


def test_every_line_is_found_with_and_without_the_index(tmp_path: Path) -> None:
    rng = random.Random(1)
    lines = [rng.randbytes(rng.randint(0, 300)).replace(b"\n", b"") + b"\n" for _ in range(3000)]
    lines[1500] = b"x" * (3 * BLOCK) + b"\n"
    whole = b"".join(lines)
    path = tmp_path / "a.log"
    path.write_bytes(b"")
    _kept(path, whole)
    written = path.read_bytes()
    rows = written.splitlines(keepends=True) if b"\r" not in written else written.split(b"\n")[:-1]
    rows = [row if row.endswith(b"\n") else row + b"\n" for row in rows]
    for indexed in (True, False):
        if not indexed:
            index_of(path).unlink()
        with Log.at(path) as log:
            assert log.lines() == len(rows)
            for number in (1, 2, 700, 1500, 1501, 1502, 2999, 3000):
                piece = log.from_line(number, 400)
                assert piece.line == number
                assert piece.data == b"".join(rows[number - 1 :])[:400]
            assert log.from_line(len(rows) + 1, 400).data == b""
            tail = log.tail(7, BLOCK)
            assert tail.data == b"".join(rows[-7:])
            assert tail.line == len(rows) - 6
            beyond = log.piece(10**9, 400)
            assert (beyond.data, beyond.offset) == (b"", len(written))


def test_the_index_holds_a_number_per_block(tmp_path: Path) -> None:
    path = _kept(tmp_path / "a.log", b"0123456\n" * (BLOCK // 8 * 3 + 5))
    raw = index_of(path).read_bytes()
    found = [int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8)]
    assert found == [BLOCK // 8, 2 * BLOCK // 8, 3 * BLOCK // 8]


def test_what_never_reached_the_log_is_counted_too(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "a.log", limit=100)
    sink.write(b"x" * 150)
    sink.missed(1_000)
    sink.close()
    found = end(sink.path)
    assert found is not None
    assert found.dropped == 1_050


def test_output_beyond_the_limit_is_told_and_not_kept(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "a.log", limit=100)
    for _ in range(50):
        sink.write(b"123456789\n")
    sink.close()
    content = sink.path.read_bytes()
    assert content.startswith(b"123456789\n" * 10)
    assert content.endswith(b"[the log ends here: it has reached its limit of 100 bytes]\n")
    assert content.count(b"limit of") == 1
    found = end(sink.path)
    assert found is not None
    assert found.dropped == 400


@pytest.mark.parametrize("limit", [logs.LIMIT, 5_000])
def test_output_that_is_fed_again_after_a_crash_is_neither_lost_nor_doubled(
    tmp_path: Path, limit: int
) -> None:
    rng = random.Random(2)
    whole = b"".join(b"line %d %s\n" % (n, SECRET if n % 7 == 0 else b"-") for n in range(600))
    expected = _kept(tmp_path / "whole.log", Redactor([SECRET]).clean(whole), limit=limit).read_bytes()
    path = tmp_path / "a.log"
    for _ in range(5):
        killed = Sink(path, Redactor([SECRET]), limit=limit, again=True)
        killed.write(whole[: rng.randint(0, len(whole))])
        os.close(killed._log)  # and nothing else: as after kill -9
    with Sink(path, Redactor([SECRET]), limit=limit, again=True) as sink:
        sink.write(whole)
    assert path.read_bytes() == expected
    found = end(path)
    assert found is not None
    assert found.sha256 == hashlib.sha256(expected).hexdigest()


def test_a_second_writer_appends(tmp_path: Path) -> None:
    _kept(tmp_path / "a.log", b"cached\n")
    _kept(tmp_path / "a.log", b"really\n")
    assert (tmp_path / "a.log").read_bytes() == b"cached\nreally\n"


def test_a_full_disk_fails_no_command_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Sink(tmp_path / "a.log")
    sink.write(b"before\n")
    write = os.write

    def full(handle: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "write", full)
    sink.write(b"lost\n")
    monkeypatch.setattr(os, "write", write)
    assert sink.failed
    sink.write(b"too late\n")
    sink.close()
    assert sink.path.read_bytes() == b"before\n\n[the log ends here: the disk did not take more]\n"
    found = end(sink.path)
    assert found is not None
    assert found.failed
    assert found.dropped == len(b"lost\ntoo late\n")


@pytest.mark.parametrize(
    ("printed", "seen"),
    [
        (b"\x1b[31mred\x1b[0m\r\n", "red\n"),
        (b"\x1b]0;a title\x07text", "text"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1b]0;hides\nthis line\x07", "␛]0;hides\nthis line␇"),
        (b"45%\r46%", "45%␍46%"),
        (b"a\x00b\x08c", "a␀b␈c"),
        (b"\xff\xfe", "��"),
        ("\u202eeman".encode(), "�eman"),
        ("\x9b2Jx".encode(), "x"),
        (b"\x1b", "␛"),
    ],
)
def test_no_terminal_obeys_what_is_shown(printed: bytes, seen: str) -> None:
    assert shown(printed) == seen


def test_a_piece_ends_between_characters_and_commands() -> None:
    for data in ("grün".encode(), "a€".encode(), "ab😀".encode()):
        for cut in range(1, len(data) + 1):
            first = whole_part(data[:cut], more=cut < len(data))
            assert shown(first) + shown(data[len(first) :]) == data.decode()
    assert whole_part(b"red: \x1b[3", more=True) == b"red: "
    assert whole_part(b"red: \x1b[3", more=False) == b"red: \x1b[3"
    assert whole_part(b"\xf0", more=True) == b"\xf0"


def _search(path: Path, needle: str, *, ended: bool = True) -> tuple[list[int], int]:
    """All lines, by as many calls as it takes, and how many these were."""
    lines, at, calls = list[int](), 0, 0
    with Log.at(path) as log:
        while True:
            found = search(log, needle, at, ended=ended)
            calls += 1
            lines += [line for line in found.lines if line not in lines[-1:]]
            if found.next_offset == at or found.next_offset >= log.size:
                return lines, calls
            at = found.next_offset


def test_a_text_is_found_as_it_is_shown_in_every_line_that_has_it(tmp_path: Path) -> None:
    rows = [b"nothing here\n"] * 20_000
    for number in (1, 2, 9_000, 20_000):
        rows[number - 1] = b"a needle, and a NEEDLE\n"
    rows[699] = b"a ne\x1b[31med\x1b[0mle\n"
    rows[799] = b"x" * ((1 << 20) - 3) + b"needle" + b"y" * (2 << 20) + b"\n"
    path = _kept(tmp_path / "a.log", b"".join(rows))
    assert _search(path, "Needle") == ([1, 2, 700, 800, 9_000, 20_000], 1)
    assert _search(path, "no such thing") == ([], 1)


def test_a_search_is_bounded_and_goes_on_where_it_was(tmp_path: Path) -> None:
    path = _kept(tmp_path / "a.log", b"hit\nmiss\n" * 2_500)
    assert _search(path, "hit") == (list(range(1, 5_000, 2)), 3)
    long = _kept(tmp_path / "b.log", (b"z" * 1023 + b"\n") * (20 << 10) + b"hit\n")
    assert _search(long, "hit") == ([20_481], 3)


def test_a_line_that_is_still_written_is_looked_at_again(tmp_path: Path) -> None:
    with Sink(tmp_path / "a.log") as sink:
        sink.write(b"one\nhit, and an err")
        with Log.at(sink.path) as log:
            found = search(log, "hit", 0, ended=False)
            assert (found.lines, found.next_offset) == ([2], 4)
            sink.write(b"or\n")
            assert search(log, "error", found.next_offset, ended=False).lines == [2]


def test_how_far_somebody_is_in_all_logs_of_a_run_fits_into_a_header() -> None:
    place = Place()
    for ordinal in [*range(1, 4000), *range(4001, 5000)]:
        place.reached(ordinal, 77)
        place.finished(ordinal)
    place.reached(0, 5)
    place.reached(4000, 9)
    assert len(str(place)) < 60
    again = Place.of(str(place))
    assert [again.at(n) for n in (0, 1, 3999, 4000, 4001, 5000)] == [5, None, None, 9, None, 0]
    again.finished(0)
    assert (again.done, str(again)) == (4000, "4000;4001-4999:x,4000:9")
    again.finished(4000)
    assert str(again) == "5000;"


@pytest.mark.parametrize("text", ["", "x", "1;a:b", "-1;", "1;2:-3", "1;5-:", "1;1-2-3:x"])
def test_an_id_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Place.of(text)
