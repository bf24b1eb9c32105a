"""Is this installation whole? Each check looks; with `fix` what can be mended without a person is, and looked at again.

Mending uses what a start and the schedules use. Nothing is deleted but locks and temporary files of dead processes.
"""

import json
import re
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.service import Torn
from builderos.core.clock import rfc3339, utcnow
from builderos.core.database import Database
from builderos.core.inspection import clock_of, inspect
from builderos.core.problems import Problem
from builderos.core.schema import Out, WriteIn
from builderos.core.unit import Unit, as_system
from builderos.engine import outbox
from builderos.engine.service import Engine
from builderos.trust.ledger import service as ledger
from builderos.trust.orgs import service as orgs
from builderos.trust.policy import service as policy

from .ports import Examiners, Projection, Projections
from .rebuilding import missing, rebuild_all
from .schedules import backups_without_ref, settle_backups

OLDEST_GIT: Final = (2, 32)  # the first to roll packs up (`repack --geometric`)
OLDEST_POSTGRESQL: Final = 150000
SPACE: Final = 1024**3
JOURNAL_AGE: Final = timedelta(hours=1)
CHECKPOINT_AGE: Final = timedelta(hours=1)
CLOCK_S: Final = 5
SECRETS: Final = ("secret.key", "owner.token", "pg.password")
_NAMED: Final = 10


class DoctorIn(WriteIn):
    """Whether to look only."""

    fix: Annotated[bool, Field(description="Mend what can be mended safely.")] = False
    rebuild: Annotated[
        bool, Field(description="Write rows that are gone again, from the ledger, git and files.")
    ] = False


class CheckOut(Out):
    """One check. `fixed`: it was not well, and is now."""

    name: str
    ok: bool
    detail: str
    fixed: bool = False


class DoctorOut(Out):
    """All checks; `ok` when each of them is."""

    ok: bool
    checks: list[CheckOut]
    message: str


class Unwell(Exception):
    """What a check found wrong."""


@dataclass(frozen=True)
class Check:
    """`look` returns what is well, or raises `Unwell`; `mend` repairs it."""

    name: str
    look: Callable[[Unit], str]
    mend: Callable[[Unit], object] | None = None


def examine(unit: Unit, body: DoctorIn) -> DoctorOut:
    """Run every check. Only an owner may: the answers tell of the whole server."""
    decision = policy.require(unit, "server.doctor", policy.org_resource(unit))
    projections = unit.get(Projections)
    rebuilt = [REBUILDING, *(_rebuilding(name, projections.get(name)) for name in projections)]
    checks = [_run(unit, check, fix=body.rebuild) for check in rebuilt]
    lent = unit.get(Examiners)
    others = [Check(name, lent.get(name).look, lent.get(name).mend) for name in lent]
    checks += [_run(unit, check, fix=body.fix) for check in (*CHECKS, *others)]
    wrong = [c.name for c in checks if not c.ok]
    fixed = [c.name for c in checks if c.fixed]
    if fixed:
        ledger.record(
            unit, "server.mended", unit.org_id, {"fixed": fixed, "wrong": wrong}, rules=decision.rules
        )
    message = "All is well." if not wrong else f"Not well: {', '.join(wrong)}."
    return DoctorOut(
        ok=not wrong, checks=checks, message=message + (f" Mended: {', '.join(fixed)}." if fixed else "")
    )


def _rebuilding(name: str, projection: Projection) -> Check:
    def look(unit: Unit) -> str:
        found = projection.missing(unit)
        if found:
            raise Unwell(_named("there are files of these and no rows", found))
        return "every file has its rows"

    return Check(f"projections of {name}", look, lambda unit: projection.rebuild(unit.context))


def _run(unit: Unit, check: Check, *, fix: bool) -> CheckOut:
    try:
        return CheckOut(name=check.name, ok=True, detail=check.look(unit))
    except (Unwell, Problem, OSError) as found:
        before = str(found)
    if not fix or check.mend is None:
        return CheckOut(name=check.name, ok=False, detail=before)
    try:
        check.mend(unit)
        return CheckOut(name=check.name, ok=True, detail=f"{check.look(unit)} (was: {before})", fixed=True)
    except (Unwell, Problem, OSError) as found:
        return CheckOut(name=check.name, ok=False, detail=str(found))


def _named(what: str, names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} {what}: {', '.join(names[:_NAMED])}{more}"


# ---------------------------------------------------------------- the machine and the database


def _database(unit: Unit) -> str:
    facts = inspect(unit.get(Database))
    if facts.missing:
        raise Unwell(_named("columns are missing; restart the server to migrate", list(facts.missing)))
    if facts.version < OLDEST_POSTGRESQL:
        raise Unwell(f"PostgreSQL {facts.version // 10000} is too old; 15 or newer is needed")
    return f"PostgreSQL {facts.version // 10000}.{facts.version % 10000}, migrated"


def _durability(unit: Unit) -> str:
    settings = inspect(unit.get(Database)).settings
    off = [name for name in ("fsync", "full_page_writes") if settings.get(name) != "on"]
    if off:
        raise Unwell(f"PostgreSQL runs with {' and '.join(off)} off: a power loss can lose acknowledged work")
    return "PostgreSQL writes to disk before it answers"


def _row_security(unit: Unit) -> str:
    facts = inspect(unit.get(Database))
    if facts.superuser or facts.bypasses_rows:
        raise Unwell("the server's database role passes row-level security: organisations are not apart")
    return "the server's role cannot pass row-level security"


def _git(_unit: Unit) -> str:
    said = repositories.run_git(["--version"]).stdout.decode().strip()
    version = re.search(r"(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < OLDEST_GIT:
        raise Unwell(f"{said or 'git'} is too old; {'.'.join(map(str, OLDEST_GIT))} or newer is needed")
    return said


def _space(unit: Unit) -> str:
    free = shutil.disk_usage(unit.settings.home_dir).free
    if free < SPACE:
        raise Unwell(f"only {free // 1024**2} MiB are free where the state folder lies")
    return f"{free / 1024**3:.1f} GiB free"


# ---------------------------------------------------------------- repositories


def _secrets(unit: Unit) -> str:
    open_ = _open_secrets(unit)
    if open_:
        raise Unwell(_named("secrets can be read by others", [path.name for path in open_]))
    return "secrets are readable by the server alone"


def _open_secrets(unit: Unit) -> list[Path]:
    """Files of the server that hold a secret, and that somebody else on the machine could read."""
    paths = (unit.settings.home_dir / name for name in SECRETS)
    return [path for path in paths if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077]


def _close_secrets(unit: Unit) -> None:
    for path in _open_secrets(unit):
        path.chmod(0o600)


def _clock(unit: Unit) -> str:
    """Approvals, tokens and the order of the record go by the clock: it must not run back, nor apart."""
    now = utcnow()
    apart = abs((clock_of(unit.get(Database)) - now).total_seconds())
    if apart > CLOCK_S:
        raise Unwell(f"the clocks of server and database are {apart:.0f} s apart")
    newest = _newest(unit)
    if newest is not None and (newest - now).total_seconds() > CLOCK_S:
        raise Unwell(f"the clock says {rfc3339(now)}, and the record already has a line of {rfc3339(newest)}")
    return "server and database agree on the time, and it has not run back"


def _newest(unit: Unit) -> datetime | None:
    """When the newest line of the record was written."""
    line = ledger.line_of(unit, ledger.stored_head(unit)[0])
    return datetime.fromisoformat(json.loads(line.body)["at"]) if line is not None else None


def _drafts(unit: Unit) -> str:
    found = repositories.drafts(unit)
    if found:
        raise Unwell(_named("imports and pushes of dead processes are left", [path.name for path in found]))
    return "nothing half made is left"


def _locks(unit: Unit) -> str:
    found = repositories.stale(unit)
    if found:
        raise Unwell(_named("files of dead processes", [path.name for path in found]))
    return "no file of a dead process"


def _journal(unit: Unit) -> str:
    rows, since = repositories.backlog(unit)
    torn = list(unit.get(Torn))
    if torn:
        raise Unwell(_named("branches may be torn since a power loss", torn))
    if since is not None and unit.now - since > JOURNAL_AGE:
        raise Unwell(
            f"{rows} journal rows wait for a checkpoint, the oldest since {since:%Y-%m-%d %H:%M} UTC"
        )
    return f"{rows} journal rows wait for the next checkpoint"


def _mend_journal(unit: Unit) -> None:
    repositories.settle_all(unit.context)
    repositories.checkpoint(unit.context)


def _branches(unit: Unit) -> str:
    found = repositories.misfits(unit)
    if found:
        raise Unwell(
            _named("branches differ from their files", [f"{id_} ({what})" for id_, what in found.items()])
        )
    return "every branch has its files, its commit and its ref"


def _mend_branches(unit: Unit) -> None:
    for branch_id in repositories.misfits(unit):
        as_system(unit.context, unit.org_id, lambda own, id_=branch_id: repositories.align(own, id_))


def _orphans(unit: Unit) -> str:
    found = repositories.orphans(unit)
    if found:
        raise Unwell(_named("folders belong to no branch", [path.name for path in found]))
    return "every folder belongs to a branch"


def _projections(unit: Unit) -> str:
    found = missing(unit)
    if found:
        raise Unwell(_named("rows are missing that the record tells of", found))
    return "every repository, branch, sandbox, backup, promotion and link of the record has its row"


def _backups(unit: Unit) -> str:
    found = backups_without_ref(unit)
    if found:
        raise Unwell(_named("backups have no ref", [ref for _, ref, _ in found]))
    return "every backup is pinned"


# ---------------------------------------------------------------- records and schedules


def _ledger(unit: Unit) -> str:
    """Of every organisation: whoever asks answers for the whole server."""
    lines = 0
    for org_id in _organisations(unit):
        verdict = as_system(unit.context, org_id, ledger.verify_stored, read_only=True)
        if not verdict.ok:
            raise Unwell(f"line {verdict.first_bad} of {org_id}: {verdict.reason}")
        lines += verdict.lines
    return f"{lines} lines verify"


def _checkpoints(unit: Unit) -> str:
    waits = 0
    for org_id in _organisations(unit):
        found, count, since = as_system(unit.context, org_id, _signed, read_only=True)
        if found:
            raise Unwell(_named(f"things of {org_id} do not fit the signed record", found))
        if count and since < rfc3339(unit.now - CHECKPOINT_AGE):
            raise Unwell(f"{count} lines of {org_id} wait for a signed checkpoint, the first since {since}")
        waits += count
    return f"every checkpoint fits; {waits} lines wait for the next one"


def _signed(unit: Unit) -> tuple[list[str], int, str]:
    """What does not fit, and how many lines wait for a signature since when."""
    return ledger.findings(unit, ledger.verify_stored(unit).lines), *ledger.waiting(unit)


def _sign_all(unit: Unit) -> None:
    for org_id in _organisations(unit):
        ledger.extend_all(unit.context, org_id)


def _organisations(unit: Unit) -> list[str]:
    return unit.context.get(Database).organisations("doctor")


def _erasures(unit: Unit) -> str:
    late = orgs.closing.due(unit.context)
    if late:
        raise Unwell(_named("organisations are to be erased and are still there", late))
    return "nothing is left of what was erased"


def _engine(unit: Unit) -> str:
    if not unit.settings.engine:
        return "off in this process, as configured"
    try:
        state = unit.get(Engine).state
    except KeyError:
        state = "off"
    if state not in ("starting", "running"):
        raise Unwell(f"the engine is {state}: schedules and the outbox wait")
    return state


def _outbox(unit: Unit) -> str:
    found = outbox.stuck(unit)
    if found:
        raise Unwell(
            _named(
                "messages could not be delivered yet", [f"{kind} {key}: {why}" for kind, key, _, why in found]
            )
        )
    return "nothing is stuck"


REBUILDING: Final = Check("projections", _projections, lambda unit: rebuild_all(unit.context))
CHECKS: Final = (
    Check("database", _database),
    Check("durability", _durability),
    Check("row security", _row_security),
    Check("git", _git),
    Check("disk space", _space),
    Check("secrets", _secrets, _close_secrets),
    Check("clock", _clock),
    Check("locks", _locks, repositories.sweep),
    Check("drafts", _drafts, repositories.sweep_drafts),
    Check("journal", _journal, _mend_journal),
    Check("branches", _branches, _mend_branches),
    Check("orphans", _orphans, repositories.set_aside),
    Check("backups", _backups, lambda unit: settle_backups(unit.context)),
    Check("ledger", _ledger),
    Check("checkpoints", _checkpoints, _sign_all),
    Check("erasures", _erasures, lambda unit: orgs.closing.erase_due(unit.context)),
    Check("engine", _engine),
    Check("outbox", _outbox),
)
