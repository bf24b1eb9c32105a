"""Apps and their releases as rows, and what happens to them. Each function is part of a unit of its caller."""

from pathlib import Path
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from builderos.core.home import project_state
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.execution.runs import service as runs
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices
from builderos.workloads.lineage import service as lineage

from .model import apps, releases

Row: TypeAlias = sa.Row[Any]
WORD: Final = "apps"
FOLDER: Final = "apps"
UNHEALTHY: Final[notices.Rule] = "deploy_unhealthy"
UNDER_WAY: Final = ("building", "starting")
BACK: Final = "back"  # the reason of a release that is on its way back


def find(unit: Unit, id_: str, *, lock: bool = False) -> Row:
    """The row of an app, by id or by name. Raises `not_found`."""
    c = apps.c
    which = c.id == id_ if id_.startswith("app_") else c.name == id_
    wanted = sa.select(apps).where(which, c.state != "deleted")
    row = unit.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no such app", hint="List the apps first.")
    return row


def release(unit: Unit, id_: str, *, lock: bool = False) -> Row:
    """The row of a release. Raises `not_found`."""
    wanted = sa.select(releases).where(releases.c.id == id_)
    row = unit.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise Problem("not_found", "there is no such release", hint="List the releases of the app first.")
    return row


def newest(unit: Unit, app_id: str) -> Row | None:
    """The newest release of an app."""
    c = releases.c
    return unit.execute(
        sa.select(releases).where(c.app_id == app_id).order_by(c.number.desc()).limit(1)
    ).one_or_none()


def under_way(unit: Unit, app_id: str) -> list[Row]:
    """Its releases that are about to be live, oldest first."""
    c = releases.c
    wanted = sa.select(releases).where(c.app_id == app_id, c.status.in_(UNDER_WAY)).order_by(c.number)
    return list(unit.execute(wanted).all())


def change(unit: Unit, id_: str, **values: Any) -> None:
    """Write columns of an app."""
    unit.execute(sa.update(apps).where(apps.c.id == id_).values(**values))


def change_release(unit: Unit, id_: str, **values: Any) -> None:
    """Write columns of a release."""
    unit.execute(sa.update(releases).where(releases.c.id == id_).values(**values))


def state_of(unit: Unit) -> Path:
    """The `.builderos/` folder that apps belong to."""
    return project_state(unit.settings.home_dir, unit.org_id, None)


def folder_of(unit: Unit, row: Row) -> Path:
    """Where the files of a release lie."""
    return state_of(unit) / FOLDER / row.app_id / row.id / "tree"


def log_of(unit: Unit, row: Row, of: str, start: int) -> Path:
    """Where a build, or one start of a process, is logged."""
    return state_of(unit) / "logs" / FOLDER / row.id / ("build.log" if of == "build" else f"{start}.log")


def told(unit: Unit, id_: str, type_: str, **payload: Any) -> None:
    """Tell whoever follows an app what happened to it."""
    runs.events.add(unit, id_, type_, {name: value for name, value in payload.items() if value is not None})


# -------------------------------------------------------------------- what happens to one


def is_under_way(unit: Unit, id_: str) -> bool:
    """Whether it is about to be live."""
    return release(unit, id_).status in UNDER_WAY


def starting(unit: Unit, id_: str) -> bool:
    """It is built, and about to be started; whether somebody still wants it."""
    row = release(unit, id_, lock=True)
    if row.status not in UNDER_WAY:
        return False
    change_release(unit, id_, status="starting")
    told(unit, row.app_id, "app.starting", release=id_)
    return True


def started(unit: Unit, id_: str) -> int:
    """Count one start of its process; which it is."""
    count = releases.c.starts + 1
    changed = (
        sa.update(releases).where(releases.c.id == id_).values(starts=count).returning(releases.c.starts)
    )
    return int(unit.execute(changed).scalar_one())


def go_live(unit: Unit, id_: str) -> bool:
    """It is well, and the app from now on, instead of the one before. Whether it is: a later one stays where it is
    live, and what was stopped meanwhile is not started again.
    """
    app = find(unit, release(unit, id_).app_id, lock=True)
    row = release(unit, id_, lock=True)
    if row.status not in UNDER_WAY or app.state != "active":
        return False
    old = release(unit, app.current_id) if app.current_id is not None else None
    back = row.reason == BACK
    if old is not None and old.number > row.number and not back:
        change_release(unit, id_, status="superseded", reason="overtaken", ended_at=unit.now)
        told(unit, app.id, "app.overtaken", release=id_, by=old.id)
        ledger.record(unit, "app.superseded", id_, {"app": app.id, "by": old.id})
        return False
    if old is not None and old.id != id_ and old.status == "live":
        change_release(unit, old.id, status="rolled_back" if back else "superseded", ended_at=unit.now)
    values = {} if back else {"replaces": old.id if old is not None else None}
    change_release(
        unit, id_, status="live", reason=None, detail="", live_at=row.live_at or unit.now, ended_at=None, **values
    )  # fmt: skip
    change(unit, app.id, current_id=id_, asleep=False, updated_at=unit.now)
    code = lineage.Node("code", row.commit_sha, f"{app.repo_name} at {row.commit_sha[:8]}")
    lineage.record(unit, code, lineage.Node("app", app.id, app.name), "served_by")
    for name, endpoint_id in row.spec["reaches"].items():
        lineage.record(
            unit,
            lineage.Node("endpoint", endpoint_id, name),
            lineage.Node("app", app.id, app.name),
            "used_by",
        )
    told(
        unit, app.id, "app.live", release=id_, number=row.number, replaces=old.id if old is not None else None
    )
    ledger.record(unit, "app.rolled_back" if back else "app.live", id_, {
        "app": app.id, "name": app.name, "number": row.number, "commit": row.commit_sha,
        "replaces": old.id if old is not None else "",
    })  # fmt: skip
    return True


def fail(unit: Unit, id_: str, reason: str, detail: str) -> None:
    """It never became well; what is live stays so. Somebody is told."""
    row = release(unit, id_, lock=True)
    if row.status not in UNDER_WAY:
        return
    back = row.reason == BACK
    change_release(
        unit, id_, status="superseded" if back else "failed", reason=reason, detail=detail[:2000], ended_at=unit.now
    )  # fmt: skip
    told(unit, row.app_id, "app.failed", release=id_, reason=reason, detail=detail[:500])
    notices.raise_alert(unit, UNHEALTHY, id_, {"app": row.app_id, "reason": reason, "detail": detail[:500]})
    ledger.record(unit, "app.failed", id_, {"app": row.app_id, "reason": reason, "back": back})


def crashed(unit: Unit, id_: str, detail: str, in_a_row: int, loop_at: int) -> None:
    """Its process ended by itself; once that happens again and again, somebody is told."""
    row = release(unit, id_, lock=True)
    change_release(unit, id_, crashes=row.crashes + 1, detail=detail[:2000])
    told(unit, row.app_id, "app.crashed", release=id_, detail=detail[:500], in_a_row=in_a_row)
    if in_a_row == loop_at:
        said = {"app": row.app_id, "reason": "crashes", "detail": detail[:500]}
        notices.raise_alert(unit, UNHEALTHY, row.app_id, said)
        ledger.record(unit, "app.unhealthy", id_, said)


def give_up(unit: Unit, app_id: str, detail: str) -> None:
    """What is live of it ends again and again, and is not started again: its release has failed."""
    app = find(unit, app_id, lock=True)
    row = release(unit, app.current_id, lock=True) if app.current_id is not None else None
    if row is None or row.status != "live":
        return
    change_release(unit, row.id, status="failed", reason="crashes", detail=detail[:2000], ended_at=unit.now)
    said = {"app": app_id, "reason": "crashes", "detail": detail[:500]}
    told(unit, app_id, "app.failed", release=row.id, reason="crashes", detail=detail[:500])
    notices.raise_alert(unit, UNHEALTHY, row.id, said)
    ledger.record(unit, "app.failed", row.id, said)


def again(unit: Unit, id_: str) -> None:
    """Have a release that was given up be tried again."""
    if release(unit, id_, lock=True).status == "failed":
        change_release(unit, id_, status="live", reason=None, detail="", ended_at=None)


def slept(unit: Unit, app_id: str, asleep: bool) -> None:
    """Nothing runs of it until somebody asks; or something does again."""
    row = find(unit, app_id, lock=True)
    if row.asleep is not asleep:
        change(unit, app_id, asleep=asleep)
        told(unit, app_id, "app.asleep" if asleep else "app.awake")


def unwell(unit: Unit, id_: str, detail: str) -> None:
    """It is live and does not say that it is well: somebody is told."""
    row = release(unit, id_)
    told(unit, row.app_id, "app.unhealthy", release=id_, detail=detail[:500])
    notices.raise_alert(
        unit, UNHEALTHY, row.app_id, {"app": row.app_id, "reason": "health", "detail": detail[:500]}
    )
    ledger.record(unit, "app.unhealthy", id_, {"app": row.app_id, "reason": "health"})
