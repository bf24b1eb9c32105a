"""Recordings: a line of JSON for each request with its answer, found again by what was asked."""

import hashlib
import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

from builderos.core.cleaning import cleaned
from builderos.execution.gateway.ports import Damaged, Unfit
from builderos.execution.gateway.schema import Json, Kind

FILE: Final = "cassette.jsonl"
MAX_BYTES: Final = 256 * 1024 * 1024
TORN: Final = b'{"torn":"the line before this one"}'
"""Written behind a line that a crash cut off, so that later ones do not make it damage."""
log = logging.getLogger("builderos.models")
# How an answer comes, and for whom, does not change what it is.
_NOT_ASKED: Final = frozenset(
    {"stream", "stream_options", "user", "metadata", "store", "safety_identifier", "prompt_cache_key"}
)


def asked(kind: Kind, body: Json) -> Json:
    """What of a request decides about its answer."""
    return {"kind": kind, **{key: value for key, value in body.items() if key not in _NOT_ASKED}}


def fingerprint(what: Json) -> str:
    """Two requests with one fingerprint have one answer."""
    text = json.dumps(what, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Cassettes:
    """The recordings of a folder. An answer is `{"body"}` or `{"events"}`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._mark: object = None
        self._answers: dict[str, list[Json]] = {}
        self._requests: list[Json] = []
        self._played = Counter[str]()

    def add(self, what: Json, answer: Json) -> None:
        """Keep an answer. Whatever has the form of a secret is taken out of both: recordings are carried around."""
        what = cleaned(what)
        row = {"fingerprint": fingerprint(what), "request": what, "answer": cleaned(answer)}
        data = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / FILE).open("a+b") as file:
                file.write(_fresh_line(file) + data)

    def find(self, what: Json) -> Json:
        """The answer to a request; one that was asked again gets the answers in their order, then the last one again.

        Raises `Unfit`, which says where the request differs from the one that is most like it, and `Damaged`.
        """
        what = cleaned(what)
        with self._lock:
            self._look()
            key = fingerprint(what)
            found = self._answers.get(key)
            if not found:
                raise Unfit(f"there is no recording of this request{_nearest(what, self._requests)}")
            place = min(self._played[key], len(found) - 1)
            self._played[key] += 1
            return found[place]

    def _look(self) -> None:
        files = sorted(self._folder.glob("*.jsonl"))
        mark = tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
        if mark == self._mark:
            return
        answers: dict[str, list[Json]] = {}
        requests: list[Json] = []
        for file in files:
            if file.stat().st_size > MAX_BYTES:
                raise Damaged(f"the recording {file.name} has more than {MAX_BYTES} bytes")
            for row in _rows(file):
                answers.setdefault(fingerprint(row["request"]), []).append(row["answer"])
                requests.append(row["request"])
        self._mark, self._answers, self._requests = mark, answers, requests


def _fresh_line(file: IO[bytes]) -> bytes:
    """What has to stand before the next line. The file is open for reading and appending."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return b""
    file.seek(-1, os.SEEK_END)
    if file.read(1) == b"\n":
        return b""
    file.seek(0)
    last = file.read().rpartition(b"\n")[2]
    return b"\n" if isinstance(_read(last), dict) else b"\n" + TORN + b"\n"


def _rows(file: Path) -> Iterator[Json]:
    """The recordings of a file. A line that a crash cut off is left out. Raises `Damaged` for any other."""
    lines = file.read_bytes().split(b"\n")  # a text may hold what else is taken for the end of a line
    for number, line in enumerate(lines, 1):
        if not line.strip() or line == TORN:
            continue
        row = _read(line)
        if isinstance(row, dict):
            yield row
        elif number == len(lines) or lines[number] == TORN:
            log.warning("a line of a recording was cut off and is left out: %s:%d", file.name, number)
        else:
            raise Damaged(f"the recording {file.name} is damaged in line {number}: {row}")


def _read(line: bytes) -> Json | str:
    """A recording, or why it is none."""
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        return str(error)[:200]
    parts = cast(Json, row) if isinstance(row, dict) else {}
    answer: Any = parts.get("answer")
    if not isinstance(parts.get("request"), dict) or not isinstance(answer, dict):
        return "it has no request, or no answer"
    return (
        parts if {"body", "events"} & cast(Json, answer).keys() else "its answer has neither body nor events"
    )


def _nearest(what: Json, known: list[Json]) -> str:
    """Where a request differs from the one that goes along with it the longest."""
    best: tuple[int, str] = (-1, "")
    for other in known:
        path, alike = _difference(what, other, "request")
        if alike > best[0]:
            best = (alike, path)
    return f"; the nearest one differs at {best[1]}" if best[0] >= 0 else "; there is none at all"


def _difference(one: Any, other: Any, path: str) -> tuple[str, int]:
    """The first place where two values differ, and how many agree before it."""
    alike = 0
    if isinstance(one, dict) and isinstance(other, dict):
        mine, theirs = cast(Json, one), cast(Json, other)
        for key in sorted({*mine, *theirs}, key=lambda name: (name == "messages", name)):
            if mine.get(key) == theirs.get(key):
                alike += 1
                continue
            found, more = _difference(mine.get(key), theirs.get(key), f"{path}.{key}")
            return found, alike + more
    if isinstance(one, list) and isinstance(other, list):
        ours, others = cast(list[Any], one), cast(list[Any], other)
        for number, (left, right) in enumerate(zip(ours, others, strict=False)):
            if left != right:
                found, more = _difference(left, right, f"{path}[{number}]")
                return found, alike + more
            alike += 1
        return f"{path}: {len(ours)} items instead of {len(others)}", alike
    return f"{path}: {_short(one)} instead of {_short(other)}", alike


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "…"
