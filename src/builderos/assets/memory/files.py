"""The memory of each agent as a file, `.builderos/memory/<agent>.json` in the state folder of its project.

A file is written shortly after something in it has changed, behind the calls, however often it changes. What a killed
process did not write is written by the schedule.
"""

import json
import logging
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.clock import rfc3339
from builderos.core.context import Context
from builderos.core.files import replacing
from builderos.core.home import project_state
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Unit, as_system
from builderos.trust.identity.service import roles
from builderos.trust.vault import service as vault

from .model import memory_items as items
from .places import living

log = logging.getLogger("builderos.memory")
FORMAT: Final = 1
EVERYBODYS: Final = "_all"  # no agent can be called so
_PAGE: Final = 500
_RECENT: Final = timedelta(days=3)
_SOON_S: Final = 0.5
_SHARE: Final = 10  # writing takes at most a tenth of the time
Which = tuple[str, str, str]  # organisation, repository, agent


class Files:
    """Writes the files of agents whose memory has changed, in a thread that nobody waits for."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: dict[Which, None] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def note(self, unit: Unit, repo_id: str, agent: str) -> None:
        """The memory of this agent is another one once the unit is durable."""
        which = (unit.org_id, repo_id, agent)
        unit.after_commit(lambda: self._put(which))

    def flush(self) -> None:
        """Write what waits, now."""
        with self._wake:
            todo, self._waiting = list(self._waiting), {}
        for which in todo:
            self._write(which)

    def close(self) -> None:
        """Write what waits, then end the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join(10)
        self.flush()

    def _put(self, which: Which) -> None:
        with self._wake:
            self._waiting[which] = None
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._main, name="memory-files", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def _main(self) -> None:
        pause = _SOON_S
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closed or bool(self._waiting))
                self._wake.wait_for(lambda: self._closed, pause)
                if self._closed:
                    return
            began = time.monotonic()
            self.flush()
            pause = max(_SOON_S, _SHARE * (time.monotonic() - began))

    def _write(self, which: Which) -> None:
        org_id, repo_id, agent = which
        try:
            write(self._context, org_id, repo_id, agent)
        except (Problem, OSError) as error:
            log.warning("the file of a memory is written later: %s", error)
        except Exception:  # the next one may well go
            log.exception("the file of a memory could not be written")


def write(context: Context, org_id: str, repo_id: str, agent: str) -> Path:
    """Write the file that holds an agent's memory of a repository; returns where. Raises `OSError`, `unavailable`."""
    repos, project_id = as_system(
        context, org_id, lambda unit: _together(unit, repo_id, agent), read_only=True
    )
    path = path_of(context, org_id, project_id, agent)
    with replacing(path) as file:
        file.write(f'{{"format": {FORMAT}, "agent": {json.dumps(agent or None)}, "items": [')
        for number, item in enumerate(_all(context, org_id, repos, agent)):
            file.write((",\n" if number else "\n") + json.dumps(item, ensure_ascii=False))
        file.write("\n]}\n")
    return path


def catch_up(context: Context, org_id: str) -> int:
    """Write the files that are older than what has changed in the last days; returns how many."""

    def changed(unit: Unit) -> list[tuple[str, str, datetime, str | None]]:
        c = items.c
        wanted = sa.select(c.repo_id, c.agent, sa.func.max(c.changed_at).label("at"))
        rows = unit.execute(wanted.where(c.changed_at > unit.now - _RECENT).group_by(c.repo_id, c.agent))
        return [(row.repo_id, row.agent, row.at, _project_of(unit, row.repo_id)) for row in rows]

    written = 0
    for repo_id, agent, at, project_id in as_system(context, org_id, changed, read_only=True):
        path = path_of(context, org_id, project_id, agent)
        if not path.exists() or path.stat().st_mtime < at.timestamp():
            write(context, org_id, repo_id, agent)
            written += 1
    return written


def path_of(context: Context, org_id: str, project_id: str | None, agent: str) -> Path:
    """Where the file of an agent lies."""
    home = context.get(Settings).home_dir
    return project_state(home, org_id, project_id) / "memory" / f"{agent or EVERYBODYS}.json"


def _together(unit: Unit, repo_id: str, agent: str) -> tuple[dict[str, str], str | None]:
    """Repositories of the same project in which the agent remembers something, with their names; and the project."""
    mine = _project_of(unit, repo_id)
    wanted = sa.select(items.c.repo_id).where(items.c.agent == agent).distinct()
    ids = {repo_id, *unit.execute(wanted).scalars()}
    same = [id_ for id_ in sorted(ids) if _project_of(unit, id_) == mine]
    return {id_: roles.home_of(unit, id_).repo_name or "" for id_ in same}, mine


def _project_of(unit: Unit, repo_id: str) -> str | None:
    return roles.home_of(unit, repo_id).project_id or None


def _all(context: Context, org_id: str, repos: dict[str, str], agent: str) -> Iterator[dict[str, Any]]:
    last = ""
    while True:
        page = as_system(
            context, org_id, lambda unit, after=last: page_of(unit, repos, agent, after), read_only=True
        )
        yield from page
        if len(page) < _PAGE:
            return
        last = page[-1]["id"]


def page_of(unit: Unit, repos: dict[str, str], agent: str, after: str) -> list[dict[str, Any]]:
    """Living items of an agent in these repositories as the file holds them, in the order of their ids."""
    c = items.c
    wanted = (
        sa.select(items)
        .where(c.repo_id.in_(repos), c.agent == agent, c.id > after, c.tier != "short_term", *living(unit))
        .order_by(c.id)
        .limit(_PAGE)
    )
    return [as_item(unit, row._mapping, repos[row.repo_id]) for row in unit.execute(wanted)]  # pyright: ignore[reportPrivateUsage]


def as_item(unit: Unit, row: Any, repo_name: str) -> dict[str, Any]:
    """An item with every column that is needed to put it back, without secrets."""
    plain = {name: _plain(value) for name, value in dict(row).items() if name not in ("org_id", "deleted_at")}
    said: dict[str, Any] = vault.clean(
        unit, {name: plain[name] for name in ("body", "fact", "tags", "source")}
    )
    return plain | said | {"repo": repo_name}


def _plain(value: Any) -> Any:
    return rfc3339(value) if isinstance(value, datetime) else value
