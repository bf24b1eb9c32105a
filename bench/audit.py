"""Rows about the record of acts: how fast it verifies, alone and fetched, and what looking into it costs."""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from builderos.core.actor import system_actor
from builderos.core.chain import run, seed
from builderos.core.unit import Call, Unit, as_system, open_unit, perform
from builderos.interfaces.cli import verify_audit as script
from builderos.trust.audit.service import access
from builderos.trust.ledger import service as ledger

from .appending import PAYLOAD
from .report import Report
from .stage import REPO, Home
from .timing import fdatasync_case, interleave, medians
from .wire import path_of

STEP = 2_000


def fill(home: Home, org_id: str, count: int) -> None:
    """So many lines as a commit leaves them, each appended as the server appends."""

    def some(unit: Unit) -> None:
        body = ledger.compose(unit, "commit", "a" * 40, PAYLOAD, rules=("sandbox-own",))
        wanted = "select count(ops.ledger_append(replace(%s, repeat('a', 40), md5(n::text) || '00000000'))) "
        unit.driver.execute(wanted + "from generate_series(1, %s) n", (body, STEP))

    for _ in range(count // STEP):
        perform(home.context, Call(system_actor(org_id), request_id="req_bench"), some)


def best(work: Callable[[], object], rounds: int = 3) -> float:
    """Seconds of the fastest round: what the work needs, without what others did to the machine meanwhile."""
    took: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


def verification(report: Report, home: Home, place: Path, count: int) -> None:
    """The chain in memory, the chain as the database holds it, and an export with the standalone script."""
    org_id = home.org_id
    fill(home, org_id, count)
    call = Call(home.owner, "valid", request_id="req_bench")
    with open_unit(home.context, call, read_only=True) as unit:
        lines = list(itertools.islice(ledger.scan(unit), min(count, 200_000)))
        bodies = [line.body.encode() for line in lines]
        took = best(lambda: run(seed(org_id), 1, bodies))
        how = f"{len(lines)} lines of {len(lines[-1].body)} bytes; best of 3"
        report.at_least("verify the chain, hashing alone [1,000 rows/s]", len(lines) / took / 1e3, 1000, how)
        total = ledger.stored_head(unit)[0]
        took = best(lambda: ledger.verify_stored(unit))
        report.at_least(
            "verify the chain with fetching [1,000 rows/s]",
            total / took / 1e3,
            250,
            f"{total} lines; best of 3",
        )
    _checkpoints(report, home, total)
    _reads(report, home)
    _script(report, home, place, total)


def _checkpoints(report: Report, home: Home, total: int) -> None:
    took = best(lambda: ledger.extend_all(home.context, home.org_id), 1)
    report.shown(
        "sign a checkpoint [1,000 new rows/s]", total / took / 1e3, f"{total} new lines, verified and added"
    )
    as_system(home.context, home.org_id, lambda unit: ledger.record(unit, "bench", "x", {}))
    took = best(lambda: ledger.extend_all(home.context, home.org_id), 1)
    report.shown("sign a checkpoint of 1 new line [ms]", took * 1e3, f"behind {total} lines")
    proof = home.run("proveLine", home.owner, seq=total // 3)
    took = best(lambda: home.run("proveLine", home.owner, seq=total // 3), 5)
    report.at_most("size of an inclusion proof [bytes]", len(proof.model_dump_json()), 2048, f"{total} lines")
    report.shown("prove a line [ms]", took * 1e3, f"{total} lines; best of 5")


def _reads(report: Report, home: Home) -> None:
    """What it costs that a read is on the disk before it is answered: one flush of the log that all share."""
    box = home.open_sandbox()
    body = home.app.operation("fetchFiles").body(repo_name=REPO, branch=box.branch, path=path_of(1))

    def silent(_number: int) -> None:
        with mock.patch.object(access, "note"):
            home.perform("fetchFiles", box.actor, body)

    cases = {
        "recorded": lambda _number: home.perform("fetchFiles", box.actor, body), "silent": silent,
        "sync": fdatasync_case(home.path),
    }  # fmt: skip
    ms = medians(interleave(150, cases))
    how = f"{ms['recorded']:.2f} ms ÷ {ms['silent']:.2f} ms, one file; fdatasync {ms['sync']:.2f} ms"
    report.shown("a read on record ÷ one that is not", ms["recorded"] / ms["silent"], how)


def _script(report: Report, home: Home, place: Path, total: int) -> None:
    """The program that an auditor runs, on a file, in a process of its own."""
    file = place / "export.jsonl"
    with file.open("wb") as target:
        began = time.perf_counter()
        for chunk in home.run("exportAudit", home.owner, format="jsonl").chunks:
            target.write(chunk)
        took = time.perf_counter() - began
    report.shown(
        "export [1,000 rows/s]", total / took / 1e3, f"{total} lines, {file.stat().st_size >> 20} MiB"
    )
    took = best(
        lambda: subprocess.run([sys.executable, "-I", script.__file__, file], check=True, capture_output=True)
    )
    how = "a process of its own; chain, tree, signatures; best of 3"
    report.shown("verify an export with the standalone script [1,000 rows/s]", total / took / 1e3, how)
    file.unlink()
