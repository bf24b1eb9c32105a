"""The protocol's words, read as strictly as git reads them."""

import asyncio
from collections.abc import Callable

import pytest

from builderos.core.problems import Problem
from builderos.interfaces.git import wire
from tests.support.gitclients import pkt

SHA, OTHER, ZERO = "1" * 40, "2" * 40, "0" * 40


class Said:
    """A body in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def exactly(self, size: int) -> bytes:
        part, self.data = self.data[:size], self.data[size:]
        return part


def updates(data: bytes) -> wire.Updates:
    return asyncio.run(wire.read_updates(Said(data)))


@pytest.mark.parametrize(
    ("header", "version"),
    [(None, 0), ("", 0), ("version=1", 1), ("version=2", 2), ("version=1:version=2", 2), ("version=3", 0), ("2", 0),
     ("x:version=2:y", 2), ("version=2 ", 0)],
)  # fmt: skip
def test_the_highest_known_version_is_spoken(header: str | None, version: int) -> None:
    assert wire.version_of(header) == version


def test_commands_come_with_their_capabilities() -> None:
    body = pkt(f"{ZERO} {SHA} refs/heads/a\0report-status atomic agent=git/2\n") + pkt(
        f"{SHA} {OTHER} refs/heads/b"
    )
    found = updates(body + b"0000PACK")
    assert [(item.old, item.new, item.ref) for item in found.items] == [
        (ZERO, SHA, "refs/heads/a"),
        (SHA, OTHER, "refs/heads/b"),
    ]
    assert {"report-status", "atomic"} <= found.capabilities


def test_shallow_lines_before_the_commands_are_passed_over() -> None:
    found = updates(pkt(f"shallow {OTHER}\n") + pkt(f"{ZERO} {SHA} refs/heads/a\0atomic\n") + b"0000")
    assert [item.ref for item in found.items] == ["refs/heads/a"]
    assert found.capabilities == {"atomic"}


@pytest.mark.parametrize("body", [b"", b"0000"])
def test_a_probe_has_no_commands(body: bytes) -> None:
    assert updates(body) == wire.Updates()


@pytest.mark.parametrize(
    "body",
    [
        b"00",
        b"000g",
        b"0003",
        b"0001",
        b"0010half",
        pkt("nonsense\n") + b"0000",
        pkt(f"{SHA.upper().replace('1', 'A')} {SHA} refs/heads/a\n") + b"0000",
        pkt(f"{SHA} {SHA} HEAD\n") + b"0000",
        pkt(f"{SHA} {SHA} refs/heads/a b\n") + b"0000",
        pkt(f"{SHA} {SHA} refs/heads/{'x' * 300}\n") + b"0000",
        pkt(f"{SHA} {SHA} refs/heads/a\n") * 2 + b"0000",
        b"".join(pkt(f"{SHA} {SHA} refs/heads/{n}\n") for n in range(257)) + b"0000",
        b"push-cert",
    ],
)
def test_what_is_no_command_is_refused(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        updates(body)
    assert caught.value.code == "validation_failed"


def test_wants_are_found_wherever_they_stand_and_once() -> None:
    first = pkt(f"want {SHA} side-band-64k\n") + pkt(f"want {OTHER}\n") + pkt("deepen 1\n") + b"0000"
    assert wire.wants_of(first + pkt(f"have {SHA}\n") + pkt(f"want {SHA}") + b"0000") == [SHA, OTHER]


@pytest.mark.parametrize(
    "line",
    [
        "want ",
        f"want {SHA[:39]}",
        f"want {SHA}x",
        f"want {SHA.replace('1', 'A')}",
        "want-ref refs/x",
        "command=x",
    ],
)
def test_a_line_that_git_might_take_for_more_is_refused(line: str) -> None:
    with pytest.raises(Problem):
        wire.wants_of(pkt(line))


@pytest.mark.parametrize(
    "body", [b"0", b"000", b"-001", b"0x10", b" 010abcd", b"1_00", b"fff9" + b"x" * 0xFFF5]
)
def test_a_length_is_four_hexadecimal_digits(body: bytes) -> None:
    with pytest.raises(Problem):
        list(wire.lines_of(body))


def bands(reply: bytes) -> dict[int, bytes]:
    """What arrives on each band."""
    found: dict[int, bytes] = {1: b"", 2: b""}
    for line in wire.lines_of(reply):
        found[line[0]] += line[1:]
    return found


def test_a_report_tells_for_each_ref_what_became_of_it() -> None:
    asked = wire.Updates(
        (wire.Update(SHA, OTHER, "refs/heads/a"), wire.Update(ZERO, OTHER, "refs/tags/t")),
        frozenset({"report-status", "side-band-64k"}),
    )
    told = bands(wire.report(asked, "ok", {"refs/tags/t": "no tags"}, "Done.\nReally."))
    assert list(wire.lines_of(told[1])) == [b"unpack ok\n", b"ok refs/heads/a\n", b"ng refs/tags/t no tags\n"]
    assert told[2] == b"Done.\nReally.\n"


def test_long_words_take_several_packets() -> None:
    asked = wire.Updates((), frozenset({"side-band-64k"}))
    text = "word " * 40_000
    assert bands(wire.report(asked, "ok", {}, text))[2].decode().split() == text.split()


def test_without_a_side_band_the_report_stands_alone() -> None:
    asked = wire.Updates((wire.Update(SHA, OTHER, "refs/heads/a"),), frozenset({"report-status"}))
    assert (
        wire.report(asked, "ok", {}, "Nobody hears this.")
        == pkt("unpack ok\n") + pkt("ok refs/heads/a\n") + b"0000"
    )
    assert wire.report(wire.Updates(asked.items), "ok", {}, "") == b""


@pytest.mark.parametrize("clean", [wire.printable, lambda text: wire.error(text).decode()])
def test_nothing_that_a_terminal_obeys_gets_through(clean: Callable[[str], str]) -> None:
    told = clean("a\x1b[31m\x07b\u202ec\x9b\ud800")
    assert not set(told) & set("\x1b\x07\u202e\x9b\ud800")
