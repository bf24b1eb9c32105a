"""The registry of an organisation: what is published, what a reference means."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.core.versions import bounds_of, fits, is_stable, is_version, rank_of
from builderos.core.yamlwords import ID
from builderos.trust.ledger import service as ledger

from . import shipped
from .model import prompt_labels, prompts
from .ports import Gates, Judged, Verdict
from .reading import sound
from .spec import PromptVersion, Spec

LATEST: Final = "latest"
MAX_VERSIONS: Final = 1_000
MAX_DEPTH: Final = 5
_LOOKED_AT: Final = 50
"""So many of the newest versions are asked about when `latest` is looked for."""


def split(ref: str) -> tuple[str, str]:
    """Name and what stands behind the @ (empty: nothing). Raises `validation_failed`."""
    name, at, what = ref.partition("@")
    known = is_version(what) or bounds_of(what) is not None or ID.match(what) is not None
    if ID.match(name) is None or (at and not known):
        raise Problem(
            "validation_failed", f"{ref[:120]!r} names no prompt",
            hint="Write name, name@1.2.0, name@^1, name@latest or name@ with a label.",
        )  # fmt: skip
    return name, what


def find(unit: Unit, name: str, what: str) -> PromptVersion | None:
    """What a name and a version, range, label or `latest` (or nothing) mean in the registry, else as shipped."""
    if is_version(what):
        row = row_of(unit, name, what)
        return of_row(unit, row) if row is not None else _shipped(name, what)
    if what in ("", LATEST):
        return latest(unit, name)
    if bounds_of(what) is not None:
        return _newest_in(unit, name, what)
    c = prompt_labels.c
    labelled = unit.execute(sa.select(c.version).where(c.name == name, c.label == what)).scalar_one_or_none()
    return find(unit, name, labelled) if labelled is not None else None


def latest(unit: Unit, name: str) -> PromptVersion | None:
    """The highest stable version that no gate holds back; the shipped one where the registry knows none of the name."""
    c = prompts.c
    lean = sa.select(c.version, c.sha256).where(c.name == name, c.stable)
    versions = [
        Judged(r.version, r.sha256) for r in unit.execute(lean.order_by(c.rank.desc()).limit(_LOOKED_AT))
    ]
    if not versions:
        return shipped.find(name) if row_of(unit, name, None) is None else None
    verdicts = held_back(unit, name, versions)
    found = next((one.version for one in versions if one.version not in verdicts), None)
    row = row_of(unit, name, found) if found is not None else None
    return of_row(unit, row) if row is not None else None


def held_back(unit: Unit, name: str, versions: Sequence[Judged]) -> dict[str, Verdict]:
    """Version → what holds it back from being `latest`, of those that are."""
    found: dict[str, Verdict] = {}
    gates = unit.get(Gates)
    for gate in gates:
        for version, verdict in gates.get(gate)(unit, name, versions).items():
            if verdict.verdict != "pass":
                found.setdefault(version, Verdict(verdict.verdict, verdict.why or f"{gate} did not pass"))
    return found


def _newest_in(unit: Unit, name: str, range_: str) -> PromptVersion | None:
    c = prompts.c
    wanted = sa.select(c.version).where(c.name == name, c.stable).order_by(c.rank.desc()).limit(MAX_VERSIONS)
    versions = list(unit.execute(wanted).scalars())
    found = next((version for version in versions if fits(version, range_)), None)
    if found is not None:
        return find(unit, name, found)
    own = shipped.find(name)
    return own if own is not None and fits(own.version, range_) else None


def _shipped(name: str, version: str) -> PromptVersion | None:
    found = shipped.find(name)
    return found if found is not None and found.version == version else None


def row_of(unit: Unit, name: str, version: str | None) -> sa.Row[Any] | None:
    """The row of a version, or of the highest one."""
    c = prompts.c
    wanted = sa.select(prompts).where(c.name == name)
    if version is not None:
        wanted = wanted.where(c.version == version)
    return unit.execute(wanted.order_by(c.rank.desc()).limit(1)).one_or_none()


def of_row(unit: Unit, row: sa.Row[Any], depth: int = 0) -> PromptVersion:
    """A published version with its partials."""
    spec = sound(row.content)
    partials = parts(unit, spec, depth=depth)
    return PromptVersion(spec, row.sha256, row.content, row.source, partials)


def parts(unit: Unit, spec: Spec, depth: int = 0) -> dict[str, PromptVersion]:
    """The partials of a prompt by their word. Raises `not_found`, `validation_failed`."""
    found: dict[str, PromptVersion] = {}
    for word, ref in spec.partials.items():
        name, _, version = ref.partition("@")
        if depth >= MAX_DEPTH:
            raise too_deep(spec)
        row = row_of(unit, name, version)
        part = of_row(unit, row, depth + 1) if row is not None else _shipped(name, version)
        if part is None:
            raise not_found(ref)
        found[word] = part
    return found


def too_deep(spec: Spec) -> Problem:
    """The refusal for partials in partials in partials …"""
    return Problem(
        "validation_failed", f"{spec.ref}: more than {MAX_DEPTH} prompts in each other",
        hint="Write some of the text out.",
    )  # fmt: skip


def before(unit: Unit, spec: Spec) -> PromptVersion | None:
    """The highest stable version below this one: what its changes are measured against."""
    c = prompts.c
    lower = sa.select(prompts).where(c.name == spec.name, c.stable, c.rank < rank_of(spec.version))
    row = unit.execute(lower.order_by(c.rank.desc()).limit(1)).one_or_none()
    if row is not None:
        return of_row(unit, row)
    own = shipped.find(spec.name)
    return own if own is not None and rank_of(own.version) < rank_of(spec.version) else None


def insert(unit: Unit, spec: Spec, content: str, pins: dict[str, str], source: dict[str, Any]) -> str:
    """Keep a version; of several callers at the same moment one does, the others find it. Returns its id."""
    id_, sha256 = new_id("prm"), spec.sha256(pins)
    unit.add(
        prompts, id=id_, org_id=unit.org_id, name=spec.name, version=spec.version, rank=rank_of(spec.version),
        stable=is_stable(spec.version), sha256=sha256, content=content, partials=pins, tags=sorted(spec.tags),
        changelog=spec.changelog, source=source, owner=unit.actor.id, created_at=unit.now,
    )  # fmt: skip
    ledger.record(
        unit, "prompt.published", id_, {"prompt": spec.ref, "sha256": sha256, "source": source["type"]}
    )
    return id_


def count(unit: Unit, name: str) -> int:
    """How many versions there are."""
    return unit.execute(sa.select(sa.func.count()).where(prompts.c.name == name)).scalar_one()


def labels_of(unit: Unit, name: str) -> dict[str, list[str]]:
    """Version → its labels."""
    c = prompt_labels.c
    found: dict[str, list[str]] = {}
    for row in unit.execute(sa.select(c.version, c.label).where(c.name == name).order_by(c.label)):
        found.setdefault(row.version, []).append(row.label)
    return found


def not_found(ref: str) -> Problem:
    """The refusal for a prompt that is not there."""
    return Problem(
        "not_found", f"there is no prompt {ref[:160]!r}",
        hint="builderos prompt list shows what is there; a version that its gate holds back is no latest.",
    )  # fmt: skip
