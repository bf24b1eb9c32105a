"""`memoryQuery` and `memoryManage` on what is remembered, where they are asked for a tier instead of files."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.repositories.schema import Branch
from builderos.assets.workspaces.service import locate, remembered
from builderos.core.clock import rfc3339
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit

from . import keeping, vectors
from .items_schema import DATA_NOTICE, Remembered
from .keeping import Note
from .model import memory_items as items
from .model import memory_vectors
from .places import Scope, living, reading, row_of, seen, unknown, writing
from .recalling import MOST, recall, shown
from .schema import MAX_PATHS, Fault, ManageIn, ManageOut, QueryIn, QueryOut, Stats

BODY_CHARS: Final = 1500
SHORT_CHARS: Final = 200
TOP: Final = 20
EMBEDDED: Final = 500  # by one call of index
CHECKED: Final = 2000  # by one call of validate


def query(unit: Unit, body: QueryIn) -> QueryOut:
    """Search, list or count what is remembered in a branch. Raises `validation_failed`, and as `locate`."""
    branch, scope, _ = reading(unit, body, body.agent, body.run_id)
    tier = None if body.tier == "all" else body.tier
    of_tier = [items.c.tier == tier] if tier is not None else []
    matching = [*seen(scope), *living(unit), *of_tier]
    if body.tag is not None:
        matching.append(items.c.tags.contains([body.tag]))
    total = unit.execute(sa.select(sa.func.count()).select_from(items).where(*matching)).scalar_one()
    if body.mode == "stats":
        return _reply(branch, total, stats=_counted(unit, matching, total))
    if body.mode == "list":
        return _listed(unit, branch, body, matching, total)
    if not (body.query or "").strip():
        raise Problem(
            "validation_failed", "search needs words", hint="Say what to look for in query.", field="query"
        )
    key = list_key("memory-tiers", scope=scope, tier=body.tier, tag=body.tag, query=body.query, k=body.k)
    last = decode_cursor(key, body.cursor)
    skip = int(last[0]) if last is not None and isinstance(last[0], int) else 0
    found = recall(unit, scope, body.query or "", min(body.k or 10, MOST), tier=tier, tag=body.tag)
    rest = found.items[max(skip, 0) :]
    page, cut = _fitting(unit, branch, rest[: body.limit])
    done = skip + len(page)
    return _reply(
        branch, len(found.items), page, truncated=cut, warnings=found.warnings,
        cursor=encode_cursor(key, [done]) if page and done < len(found.items) else None,
    )  # fmt: skip


def _listed(
    unit: Unit, branch: Branch, body: QueryIn, matching: Sequence[sa.ColumnElement[bool]], total: int
) -> QueryOut:
    c = items.c
    key = list_key(
        "memory-tier", branch=branch.id, tier=body.tier, tag=body.tag, agent=body.agent, run=body.run_id
    )
    last = decode_cursor(key, body.cursor)
    wanted = sa.select(items).where(*matching).order_by(c.id.desc()).limit(body.limit + 1)
    if last is not None:
        wanted = wanted.where(c.id < str(last[0]))
    rows = [row._mapping for row in unit.execute(wanted)]  # pyright: ignore[reportPrivateUsage]
    page, cut = _fitting(unit, branch, [shown(unit, row) for row in rows[: body.limit]])
    cursor = encode_cursor(key, [page[-1].id]) if page and len(page) < len(rows) else None
    return _reply(branch, total, page, truncated=cut, cursor=cursor)


def _reply(
    branch: Branch, total: int, page: Sequence[Remembered] = (), *, cursor: str | None = None,
    truncated: bool = False, stats: Stats | None = None, warnings: Sequence[str] = (),
) -> QueryOut:  # fmt: skip
    where = f"branch {branch.name} of {branch.repo_name}"
    said = f"{total} things are remembered" if stats is not None else f"{len(page)} of {total} things"
    return QueryOut(
        items=[], memories=list(page), next_cursor=cursor, total=total, truncated=truncated, stats=stats,
        warnings=[warning[:300] for warning in warnings], notice=DATA_NOTICE, repo_name=branch.repo_name,
        branch=branch.name, message=f"{said} in {where}.",
    )  # fmt: skip


def _fitting(unit: Unit, branch: Branch, found: Sequence[Remembered]) -> tuple[list[Remembered], bool]:
    """Items as long as they fit into a reply, at least one; whether the size ended the page or cut one."""
    room = unit.settings.memory_reply - 1200 - len(_reply(branch, 10**9).model_dump_json().encode())
    page: list[Remembered] = []
    for one in found:
        item = _shorter(one, BODY_CHARS)
        if len(item.model_dump_json().encode()) + 1 > room and page:
            return page, True
        if len(item.model_dump_json().encode()) + 1 > room:
            item = _shorter(one, SHORT_CHARS).model_copy(update={"tags": one.tags[:3], "source": {}})
        room -= len(item.model_dump_json().encode()) + 1
        page.append(item)
    return page, any(item.cut for item in page)


def _shorter(item: Remembered, chars: int) -> Remembered:
    if len(item.body) <= chars:
        return item
    return item.model_copy(update={"body": item.body[:chars], "cut": True})


def _counted(unit: Unit, matching: Sequence[sa.ColumnElement[bool]], total: int) -> Stats:
    c = items.c
    tags = sa.func.unnest(c.tags)
    pinned = sa.select(sa.func.count()).select_from(items).where(*matching, c.pinned)
    newest = (
        unit.execute(sa.select(sa.func.max(c.changed_at)).where(*matching)).scalar_one() if total else None
    )
    return Stats(
        by_tier=_top(unit, c.tier, matching), by_owner=_top(unit, c.agent, matching), by_tag=_top(unit, tags, matching),
        pinned=unit.execute(pinned).scalar_one(), last_updated=rfc3339(newest) if newest is not None else None,
    )  # fmt: skip


def _top(unit: Unit, what: Any, matching: Sequence[sa.ColumnElement[bool]]) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    word, times = what.label("word"), sa.func.count().label("times")
    wanted = sa.select(word, times).where(*matching).group_by(word).order_by(times.desc(), word).limit(TOP)
    return {str(row.word)[:100] or "(all)": int(row.times) for row in unit.execute(wanted)}


# ---------------------------------------------------------------- changing


def manage(unit: Unit, body: ManageIn) -> ManageOut:
    """Keep, change, forget or pin something; make missing vectors; say what is amiss.

    Raises `conflict` (add: the fact is known), `not_found`, `quota_exceeded`, `validation_failed`, and as `locate`.
    """
    if body.action in ("diff", "validate", "index"):
        return _looked_after(unit, body)
    if body.action == "add" or (body.action == "update" and not body.ids):
        branch, rules = writing(unit, body, shared=body.shared)
        changed = [_put(unit, body, branch, rules)]
    else:
        branch = locate(unit, body, "memory.read").branch
        changed = _each(unit, body, branch)
    where = f"branch {branch.name} of {branch.repo_name}"
    return _told(
        unit, body, branch, changed=changed, message=f"Changed {len(changed)} things remembered in {where}."
    )


def _note(body: ManageIn) -> Note:
    return Note(
        body=body.body, tier=body.tier, fact=body.fact, tags=None if body.tags is None else tuple(body.tags),
        source={"path": body.path} if body.path is not None else None,
        ttl=None if body.ttl_s is None else timedelta(seconds=body.ttl_s),
    )  # fmt: skip


def _put(unit: Unit, body: ManageIn, branch: Branch, rules: tuple[str, ...]) -> str:
    run_id = body.run_id if body.tier == "short_term" else None
    scope = Scope(branch.repo_id, None if body.shared else branch.id, body.agent, run_id)
    held = keeping.fact(unit, scope, body.fact) if body.fact else None
    there = held is not None and held["deleted_at"] is None
    if body.action == "add" and there:
        raise Problem("conflict", f"the fact {body.fact} is known already", hint="Use update to change it.")
    if body.action == "update" and not there:
        raise unknown() if body.fact else _nothing_named(body)
    row = keeping.remember(unit, scope, _note(body), rules=rules)
    return str(row["id"])


def _each(unit: Unit, body: ManageIn, branch: Branch) -> list[str]:
    """The items that a call names, each as if it were named alone."""
    if not body.ids:
        raise _nothing_named(body)
    changed: list[str] = []
    for id_ in dict.fromkeys(body.ids):
        row, rules = row_of(unit, id_, write=True)
        if row.repo_id != branch.repo_id:
            raise unknown()
        held: Any = row._mapping  # pyright: ignore[reportPrivateUsage]
        if body.action == "remove":
            keeping.remove(unit, held, rules=rules)
        elif body.action == "update":
            if body.fact not in (None, row.fact) or body.tier not in (None, row.tier):
                raise Problem(
                    "validation_failed", "tier and fact never change", hint="Add a new one.", field="tier"
                )
            keeping.change(unit, held, _note(body), rules=rules)
        else:
            keeping.pin(unit, held, body.action == "pin", rules=rules)
        changed.append(id_)
    return changed


def _nothing_named(body: ManageIn) -> Problem:
    return Problem(
        "validation_failed", f"{body.action} needs ids", hint="memoryQuery lists them.", field="ids"
    )


def _looked_after(unit: Unit, body: ManageIn) -> ManageOut:
    branch, scope, _ = reading(unit, body, body.agent, body.run_id)
    of_tier = [items.c.tier == body.tier] if body.tier is not None else []
    where = [*seen(scope), *of_tier]
    if body.action == "validate":
        faults = _faults(unit, body, where)
        said = f"{len(faults)} faults" if faults else "Nothing is amiss"
        return _told(unit, body, branch, faults=faults, message=f"{said} in what {branch.name} remembers.")
    waiting = vectors.stale(unit, where, CHECKED)
    ids = [one.id for one in waiting]
    old = set(
        unit.execute(sa.select(memory_vectors.c.item_id).where(memory_vectors.c.item_id.in_(ids))).scalars()
    )
    if body.action == "diff":
        missing, stale = [id_ for id_ in ids if id_ not in old], [id_ for id_ in ids if id_ in old]
        message = f"{len(missing)} things without a vector, {len(stale)} with one of another model."
        return _told(unit, body, branch, missing=missing, stale=stale, message=message)
    writing(unit, body, shared=body.shared)
    done = vectors.make_now(unit, waiting[:EMBEDDED])
    left = len(waiting) - len(done)
    message = f"Made {len(done)} vectors; {left} are left."
    return _told(unit, body, branch, changed=done, remaining=left, message=message)


def _faults(unit: Unit, body: ManageIn, where: Sequence[sa.ColumnElement[bool]]) -> list[Fault]:
    """Items that hold a secret by what is known today, and those whose file is gone."""
    files = {
        path for path, _ in remembered.files_of(remembered.remember(unit, locate(unit, body, "memory.read")))
    }
    found: list[Fault] = []
    for row in unit.execute(
        sa.select(items).where(*where, *living(unit)).order_by(items.c.id).limit(CHECKED)
    ):
        if keeping.clean(unit, row.body) != row.body:
            found.append(
                _fault(row.id, "error", "it holds a secret", "Update it: secrets are taken out on the way.")
            )
        path = row.source.get("path")
        if path is not None and path not in files:
            found.append(_fault(row.id, "warning", f"there is no file {path}"[:300], "Update or remove it."))
    return found


def _fault(id_: str, level: str, message: str, hint: str) -> Fault:
    return Fault(path=id_, line=0, level=level, message=message, hint=hint)


def _told(
    unit: Unit, body: ManageIn, branch: Branch, *, message: str, changed: Sequence[str] = (),
    missing: Sequence[str] = (), stale: Sequence[str] = (), faults: Sequence[Fault] = (), remaining: int = 0,
) -> ManageOut:  # fmt: skip
    """The reply within its size: lists are halved until it fits."""
    lists = {"changed": changed, "missing": missing, "stale": stale}
    counts = {name: len(ids) for name, ids in lists.items()} | {"gone": 0, "faults": len(faults)}
    most = MAX_PATHS
    while True:
        reply = ManageOut(
            action=body.action, **{name: list(ids[:most]) for name, ids in lists.items()}, gone=[],
            faults=list(faults[:most]), counts=counts, remaining=remaining, truncated=max(counts.values()) > most,
            commit_sha=None, warnings=[], repo_name=branch.repo_name, branch=branch.name, message=message,
        )  # fmt: skip
        if most == 0 or len(reply.model_dump_json().encode()) <= unit.settings.memory_reply:
            return reply
        most //= 2
