"""What is known about something: by words and by vectors, each list ranked for itself, then both fused.

Everything that is compared was first narrowed down to the place: the organisation by the database's wall, the rest in
the same statement (`ops.recall`), so nothing of another place can take part, or be told from its absence.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.vault import service as vault

from . import vectors
from .items_schema import DATA_NOTICE, TIERS, Remembered, Tier
from .model import memory_items as items
from .places import Scope, living, seen

EXACT: Final = 20_000  # so many vectors are compared one by one; more are found by an index
DEPTH: Final = 50
MOST: Final = 50


@dataclass(frozen=True)
class Recalled:
    """The best of a place, best first. `warnings`: what could not be asked, in words."""

    items: tuple[Remembered, ...]
    warnings: tuple[str, ...] = ()


def recall(
    unit: Unit, scope: Scope, query: str, k: int = 10, *, tier: Tier | None = None, tag: str | None = None,
    vector: Sequence[float] | None = None, floor: float | None = None,
) -> Recalled:  # fmt: skip
    """The `k` items of a scope that answer best, for a caller that has asked the policy.

    `vector`: that of the question, where the caller has asked the model already; `floor`: the least similarity of
    what is found by vector alone (default: the model's). What does not reach it and has none of the words is left out.
    """
    model, warnings = vectors.embedder(unit), list[str]()
    text = vault.clean_text(unit, query)
    near: str | None = None
    try:
        vector = vectors.of_query(unit, text) if vector is None else vector
        near = vectors.as_text(vector) if any(vector) else None
    except Problem as problem:
        warnings.append(f"found by words alone: {problem.detail}")
    k = max(1, min(k, MOST))
    depth = max(DEPTH, 4 * k)
    ranked = unit.ask(
        "ops.recall", scope.repo_id, scope.branches, scope.agents, scope.run_id or "", [tier] if tier else list(TIERS),
        text, near, model.name,
        model.floor if floor is None else floor, depth, EXACT, unit.now,
    )  # fmt: skip
    if not ranked:
        return Recalled((), tuple(warnings))
    best: list[Remembered] = []
    for part in (ranked[: 2 * k], ranked[2 * k :]):  # the second where a tag or an end meanwhile has left few
        if len(best) < k and part:
            found = _rows(unit, scope, [row[0] for row in part], tag)
            known = [(found[id_], score, like) for id_, score, like, _ in part if id_ in found]
            best += [shown(unit, *one) for one in known[: k - len(best)]]
    return Recalled(tuple(best), tuple(warnings))


def _rows(unit: Unit, scope: Scope, ids: list[str], tag: str | None) -> dict[str, Any]:
    """The items behind the wall, the conditions of the place asked once more."""
    wanted = sa.select(items).where(items.c.id.in_(ids), *seen(scope), *living(unit))
    if tag is not None:
        wanted = wanted.where(items.c.tags.contains([tag]))
    return {row.id: row._mapping for row in unit.execute(wanted)}  # pyright: ignore[reportPrivateUsage]


def shown(unit: Unit, row: Any, score: float | None = None, similarity: float | None = None) -> Remembered:
    """An item as it is answered: once more without secrets, as some are known only since it was kept."""
    rest: dict[str, Any] = vault.clean(unit, {"tags": row["tags"], "source": row["source"]})
    return Remembered(
        id=row["id"], tier=row["tier"], fact=vault.clean_text(unit, row["fact"]) or None,
        body=vault.clean_text(unit, row["body"]), tags=rest["tags"], source=rest["source"],
        shared=row["branch_id"] == "", agent=row["agent"] or None, run_id=row["run_id"] or None,
        version=row["version"], pinned=row["pinned"], created_by=row["created_by"], created_at=row["created_at"],
        changed_at=row["changed_at"], expires_at=row["expires_at"],
        score=None if score is None else round(score, 4),
        similarity=None if similarity is None else round(similarity, 4),
    )  # fmt: skip


def quoted(found: Sequence[Remembered]) -> str:
    """Items as a model is shown them: JSON between two lines that say what it is.

    What an item says stands inside a JSON text, whose quotes and line ends it cannot leave. This is a courtesy to the
    model, no wall: what an agent may do is decided by the policy alone, whatever it has read.
    """
    told = [
        {"id": one.id, "tier": one.tier, "fact": one.fact, "source": one.source, "text": one.body}
        for one in found
    ]
    lines = [json.dumps(one, ensure_ascii=True).replace("<", "\\u003c") for one in told]
    return "\n".join([f"<memory> {DATA_NOTICE}", *lines, "</memory>"])
