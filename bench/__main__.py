"""Every row of the table in one run. FULL=1: more rounds."""

import os
import sys
import time
from pathlib import Path

from . import commits, scale, start
from .report import Report
from .stage import Home, Server, folder, make_source

MANY, FEW = 10_000, 100


def main(only: list[str]) -> int:
    """Run all sections, or those named; returns 1 when a bound is missed."""
    full = 3 if os.environ.get("FULL") else 1
    began = time.monotonic()
    report = Report()
    with folder() as place:
        source = make_source(place / "source")
        small = Home(place / "small", source)
        server = Server(small.path, BUILDEROS_ENGINE="false")
        wanted = {
            "one": lambda: commits.one_commit(report, small, server, place, 60 * full),
            "crowd": lambda: commits.crowd(report, small, server, place, 5 * full, 3),
            "creation": lambda: scale.creation(report, small, server, source, place, 15 * full),
            "undo": lambda: commits.undo_and_promote(report, small, 40 * full),
            "thousandth": lambda: commits.thousandth(report, small, 40 * full),
            "scale": lambda: scaling(report, place, source, 60 * full),
            "start": lambda: (start.command(report, 40 * full), start.server(report, source, place, 5)),
        }
        try:
            for section in (wanted[name] for name in only or wanted):
                section()
        finally:
            server.stop()
            small.close()
        print(f"     {time.monotonic() - began:.0f} s", flush=True)
    if not only:
        report.write(Path(__file__).with_name("results.json"))
    return 1 if report.missed() else 0


def scaling(report: Report, place: Path, source: Path, rounds: int) -> None:
    """Two homes side by side, one with a hundred times the sandboxes of the other."""
    homes = [Home(place / name, source) for name in ("few", "many")]
    try:
        few, many = ((home, scale.fill(home, count)) for home, count in zip(homes, (FEW, MANY), strict=True))
        scale.many(report, few, many, rounds)
    finally:
        for home in homes:
            home.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
