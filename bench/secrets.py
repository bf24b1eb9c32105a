"""Rows about push protection: a megabyte of text, texts made to be slow, and what an ordinary commit pays."""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from builderos.assets.workspaces import guarding, writing
from builderos.trust.secrets.service import Redactor, scan

from .commits import seeded
from .report import Report
from .stage import Home

MIB = 1 << 20
HOSTILE = (
    b"token=aaaaaaaaaaaaaaaaa1 ",
    b"-----BEGIN PRIVATE KEY-----\n",
    b"eyJhbGciOiJIUzI1NiJ9." * 3,
    b"glpat-",
)


def protection(report: Report, home: Home, rounds: int) -> None:
    """The search alone, at its worst, and within commits of one small file."""
    sources = Path(__file__).parents[1] / "src"
    text = b"".join(path.read_bytes() for path in sorted(sources.rglob("*.py")))[:MIB]
    took = statistics.median(_ms(lambda: scan(text)) for _ in range(15))
    report.at_most(
        "secret scan of a 1 MB commit [ms]", took, 60, f"{MIB / took / 1000:.0f} MB/s, source code"
    )
    worst = max(
        min(_ms(lambda made=made: scan(made * (MIB // len(made)))) for _ in range(2)) for made in HOSTILE
    )
    report.at_most(
        "secret scan of 1 MB made to be slow [ms]", worst, 2000, f"the worst of {len(HOSTILE)} texts"
    )
    _redaction(report, text)
    sandbox = seeded(home, 20)
    spent: list[float] = []
    with _timed(spent):
        for number in range(rounds):
            home.commit(sandbox, sandbox.commit_body(number, ("secrets", number)))
    report.at_most(
        "push protection within one commit [us]", statistics.median(spent), 200, f"{rounds} commits"
    )


def _redaction(report: Report, text: bytes) -> None:
    """Taking out known secrets: a thousand of them against ten, and how long a thousand take to be made ready."""
    plain = text.decode("utf-8", "replace")
    took: dict[int, float] = {}
    for count in (10, 1000):
        redactor = Redactor([os.urandom(24).hex().encode() for _ in range(count)])
        redactor.text("")
        took[count] = statistics.median(_ms(partial(redactor.text, plain)) for _ in range(9))
    ready = _ms(lambda: Redactor([os.urandom(24).hex().encode() for _ in range(1000)]))
    how = f"{took[1000]:.1f} ms per MB, {ready:.0f} ms to make them ready"
    report.at_most("redaction with 1,000 known secrets ÷ with 10", took[1000] / took[10], 3, how)


def _ms(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


@contextmanager
def _timed(spent: list[float]) -> Iterator[None]:
    def timed(*args: Any) -> None:
        began = time.perf_counter()
        guarding.guard(*args)
        spent.append((time.perf_counter() - began) * 1e6)

    with mock.patch.object(writing, "guard", timed):
        yield
