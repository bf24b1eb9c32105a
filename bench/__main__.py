"""Every row of the table in one run, or the rows of the sections named. FULL=1: large sizes, and the peers."""

import os
import sys
import time
from pathlib import Path

from . import (
    agents,
    appending,
    apps,
    audit,
    commits,
    console,
    deploying,
    engine,
    evals,
    following,
    installing,
    jail,
    keeping,
    looking,
    millions,
    models,
    policy,
    remembering,
    replaying,
    scale,
    secrets,
    serving,
    sessions,
    start,
    tracking,
    trust,
    watching,
)
from .report import Report
from .stage import Home, Server, folder, make_source

MANY, FEW = 10_000, 100
RESULTS = Path(__file__).with_name("results.json")


def main(only: list[str]) -> int:
    """Run all sections, or those named; returns 1 when a bound is missed."""
    began = time.monotonic()
    report = Report()
    with folder() as place:
        run(report, place, only, 3 if os.environ.get("FULL") else 1)
        print(f"     {time.monotonic() - began:.0f} s", flush=True)
    return 1 if report.missed() else 0


def run(report: Report, place: Path, only: list[str], full: int) -> None:
    """The sections one after the other, on one home with its server."""
    source = make_source(place / "source")
    small = Home(place / "small", source)
    server = Server(small.path, BUILDEROS_ENGINE="false")
    sections = {
        "one": lambda: commits.one_commit(report, small, server, place, 60 * full),
        "crowd": lambda: commits.crowd(report, small, server, place, 5 * full, 3),
        "creation": lambda: scale.creation(report, small, server, source, place, 15 * full),
        "undo": lambda: commits.undo_and_promote(report, small, 40 * full),
        "thousandth": lambda: commits.thousandth(report, small, 40 * full),
        "scale": lambda: scaling(report, place, source, 60 * full),
        "start": lambda: (start.command(report, 40 * full), start.server(report, source, place, 5)),
        "policy": lambda: policy.decisions(report, small, 60 * full),
        "secrets": lambda: secrets.protection(report, small, 60 * full),
        "trust": lambda: trust.share_of_a_commit(report, small, server, 60 * full),
        "audit": lambda: audit.verification(report, small, place, 200_000 * full),
        "appending": lambda: appending.writers(report, small, 5 * full),
        "millions": lambda: millions.millions(report, small, server, 10_000_000 if full > 1 else 200_000),
        "watching": lambda: watching.overhead(report, small),
        "following": lambda: following.latency(report, small, server),
        "console": lambda: console.pages(report, place / "console", 5 * full),
        "looking": lambda: looking.runs(report, small, server, 40 * full),
        "replay": lambda: replaying.replays(report, place),
        "artifacts": lambda: keeping.throughput(report, small, server, place, 5 * full),
        "memory": lambda: remembering.remembering(
            report, small, place, 100_000 if full > 1 else 20_000, rival=full > 1
        ),
        "engine": lambda: engine.runs(report, place, 12 * full, full=full > 1),
        "prefect": lambda: engine.prefect(report, place) if full > 1 else None,
        "agents": lambda: agents.calls(report, place, 8 * full),
        "gateway": lambda: models.gateway(
            report, source, place, 10_000 if full > 1 else 1000, rival=full > 1
        ),
        "evals": lambda: evals.runner(report, place, 500 * full, 2 + full, rival=full > 1),
        "experiments": lambda: tracking.logging(report, server, small, place, 200 * full, rival=full > 1),
        "searching": lambda: tracking.searching(report, server, small, place, 200 * full, rival=full > 1),
        "many": lambda: tracking.many_runs(report, server, small, 1_000_000 if full > 1 else 100_000),
        "jail": lambda: jail.starts(report, place, 60 * full),
        "deploying": lambda: deploying.served(report, place, 5 * full),
        "serving": lambda: serving.served(report, source, place, 5 * full, rival=full > 1),
        "apps": lambda: apps.switched(report, source, place, 6 * full),
        "sessions": lambda: sessions.notebooks(report, source, place, 6 * full),
        "installing": lambda: installing.installed(report, place),
    }
    try:
        for name in only or sections:
            sections[name]()
            # section by section: whoever interrupts it keeps what was measured
            report.merge(RESULTS) if only else report.write(RESULTS)
    finally:
        server.stop()
        small.close()


def scaling(report: Report, place: Path, source: Path, rounds: int) -> None:
    """Two homes side by side, one with a hundred times the sandboxes of the other."""
    homes = [Home(place / name, source) for name in ("few", "many")]
    servers: list[Server] = []
    try:
        few, many = ((home, scale.fill(home, count)) for home, count in zip(homes, (FEW, MANY), strict=True))
        scale.many(report, few, many, rounds)
        scale.overview(report, many, rounds)
        servers += [Server(home.path, BUILDEROS_ENGINE="false") for home in homes]
        scale.ls_remote(report, (servers[0], few[1][0]), (servers[1], many[1][0]), rounds // 2)
    finally:
        for server in servers:
            server.stop()
        for home in homes:
            home.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
