"""Rows about a start: the command, the server, its memory."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from .report import Report
from .stage import Home, Server
from .timing import interleave, medians


def command(report: Report, rounds: int) -> None:
    """The installed command against an interpreter that does nothing."""
    program = Path(sys.executable).with_name("builderos")

    def run(*argv: str) -> None:
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)

    cases = {
        "help": lambda _n: run(str(program), "--help"),
        "python": lambda _n: run(sys.executable, "-c", "pass"),
    }
    ms = medians(interleave(rounds, cases))
    report.at_most(
        "installed `builderos --help` ÷ `python -c pass`",
        ms["help"] / ms["python"],
        1.7,
        f"{ms['help']:.1f} ms ÷ {ms['python']:.1f} ms",
    )


def server(report: Report, source: Path, folder: Path, rounds: int) -> None:
    """From the start of the process to the first answer of /readyz, database started too; then its memory at rest."""
    home = Home(folder / "start", source)
    home.close()
    ready: list[float] = []
    memory = 0.0
    for number in range(rounds):
        process = Server(home.path)
        ready.append(process.ready_s)
        if number == rounds - 1:
            time.sleep(3)  # the engine starts behind the first answer
            memory = process.resident_mb()
        process.stop()
    report.at_most(
        "server ready, database initialised [s]", statistics.median(ready), 2,
        f"{', '.join(f'{s:.2f}' for s in ready)} s; PostgreSQL started too, engine on",
    )  # fmt: skip
    report.at_most(
        "resident memory of the server at rest [MB]",
        memory,
        200,
        "one process, engine running, without PostgreSQL",
    )
