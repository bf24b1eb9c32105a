"""What nobody needs any more: tokens that are over, files and logs of old releases, organisations that go."""

from datetime import timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from builderos.core.context import Context
from builderos.core.unit import Unit, as_system
from builderos.engine import signals

from . import files, rows
from .keeping import Keeper
from .model import apps, releases, tokens

KEPT: Final = 5  # releases of an app whose files stay; older ones are laid out again where they are wanted
LOGS: Final = 20  # starts of a process whose logs stay
_AT_ONCE: Final = 500


def tidy(context: Context, org_id: str) -> None:
    """For the engine, each day."""
    for folder in as_system(context, org_id, _old):
        files.remove(folder)
    for folder, last in as_system(context, org_id, _logs, read_only=True):
        for log in folder.glob("*.log*"):
            number = log.name.partition(".")[0]
            if number.isdigit() and int(number) <= last - LOGS:
                log.unlink(missing_ok=True)


def erase(context: Context, org_id: str) -> None:
    """End all that any process serves of an organisation that is erased; safe to repeat."""
    about = f"{org_id} - forget -"
    context.get(Keeper).heard(about)
    as_system(context, org_id, lambda unit: signals.tell(unit, rows.WORD, about))


def _old(unit: Unit) -> list[Path]:
    unit.execute(sa.delete(tokens).where(tokens.c.expires_at < unit.now))
    c = releases.c
    newer = releases.alias()
    after = sa.select(sa.func.count()).where(newer.c.app_id == c.app_id, newer.c.number > c.number)
    live = sa.exists().where(apps.c.current_id == c.id, apps.c.state != "deleted")
    old = sa.select(releases).where(
        c.ended_at < unit.now - timedelta(hours=1), ~live,
        sa.or_(c.status.in_(("failed", "stopped")), after.scalar_subquery() >= KEPT),
    )  # fmt: skip
    found = unit.execute(old.order_by(c.id.desc()).limit(_AT_ONCE)).all()
    return [folder for row in found if (folder := rows.folder_of(unit, row)).parent.exists()]


def _logs(unit: Unit) -> list[tuple[Path, int]]:
    c = releases.c
    many = sa.select(releases).where(c.starts > LOGS).order_by(c.id.desc()).limit(_AT_ONCE)
    return [(rows.log_of(unit, row, "process", 1).parent, int(row.starts)) for row in unit.execute(many)]
