"""Lists, one prompt, its history, two versions beside each other, and what comes out when it is filled in."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from builderos.assets.repositories.schema import Branch
from builderos.assets.workspaces import service as workspaces
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy

from . import changes, registry, shipped
from .model import prompts
from .ports import Judged, Score, Scorers
from .publishing import as_changes
from .resolving import resolve
from .schema import (
    Diff,
    DiffIn,
    ListIn,
    Prompt,
    PromptList,
    PromptSummary,
    Rendered,
    RenderIn,
    ShowIn,
    SuiteDelta,
    Version,
    Versions,
    VersionsIn,
)
from .spec import PromptVersion
from .templates import render


def listed(unit: Unit, body: ListIn) -> PromptList:
    """Published and shipped prompts, by name."""
    policy.require(unit, "prompt.read", policy.org_resource(unit))
    key = list_key("prompts", begins=body.name, tag=body.tag)
    after = decode_cursor(key, body.cursor)
    after_name, start = str(after[0]) if after else "", body.name or ""
    c = prompts.c
    count = sa.func.count().over(partition_by=c.name).label("versions")
    newest = (
        sa.select(prompts, count)
        .where(c.name > after_name, c.name.startswith(start, autoescape=True))
        .order_by(c.name, c.rank.desc())
        .ext(distinct_on(c.name))
        .subquery()
    )
    wanted = sa.select(newest).order_by(newest.c.name).limit(body.limit + 1)
    if body.tag is not None:
        wanted = wanted.where(newest.c.tags.contains([body.tag]))
    found = {row.name: _summary(unit, row) for row in unit.execute(wanted).all()}
    for name in shipped.names():
        own = shipped.find(name)
        if own is None or name <= after_name or not name.startswith(start) or name in found:
            continue
        if (body.tag is None or body.tag in own.spec.tags) and registry.row_of(unit, name, None) is None:
            found[name] = _shipped_summary(own)
    items = [found[name] for name in sorted(found)]
    more = len(items) > body.limit
    items = items[: body.limit]
    return PromptList(items=items, next_cursor=encode_cursor(key, [items[-1].name]) if more else None)


def show(unit: Unit, body: ShowIn) -> Prompt:
    """One version with its file. Raises `not_found`, and what `locate` raises where a branch is named."""
    branch = _branch(unit, body)
    found = resolve(unit, _ref(body.name, body.version), branch=branch)
    return shown(unit, found)


def shown(unit: Unit, found: PromptVersion) -> Prompt:
    """A version as callers see it."""
    row = registry.row_of(unit, found.name, found.version)
    row = row if row is not None and row.sha256 == found.sha256 and found.source["type"] != "branch" else None
    latest = registry.latest(unit, found.name)
    spec = found.spec
    return Prompt(
        id=row.id if row else None, name=found.name, version=found.version, sha256=found.sha256,
        changelog=spec.changelog, description=spec.description, tags=list(spec.tags), owner=row.owner if row else None,
        created_at=row.created_at if row else None, source=dict(found.source),
        labels=registry.labels_of(unit, found.name).get(found.version, []) if row else [],
        latest=latest.version if latest else None, spec_yaml=found.content, template=found.template,
        inputs={name: one.as_json() for name, one in found.inputs.items()},
        output_schema=dict(found.output_schema) if found.output_schema is not None else None,
        partials={word: part.ref for word, part in found.partials.items()}, model=dict(found.model),
    )  # fmt: skip


def versions(unit: Unit, body: VersionsIn) -> Versions:
    """The history of a prompt, newest version first. Raises `not_found`."""
    policy.require(unit, "prompt.read", policy.org_resource(unit))
    key = list_key("prompt versions", of=body.name)
    after = decode_cursor(key, body.cursor)
    c = prompts.c
    wanted = sa.select(prompts).where(c.name == body.name).order_by(c.rank.desc()).limit(body.limit + 1)
    rows = unit.execute(wanted.where(c.rank < str(after[0])) if after else wanted).all()
    own = shipped.find(body.name)
    if not rows and after is None and own is None:
        raise registry.not_found(body.name)
    if not rows and own is not None and after is None:
        return Versions(items=[_shipped_version(own)], next_cursor=None)
    page = rows[: body.limit]
    latest = registry.latest(unit, body.name)
    held = registry.held_back(unit, body.name, [Judged(row.version, row.sha256) for row in page])
    labels = registry.labels_of(unit, body.name)
    items = [
        Version(
            version=row.version, sha256=row.sha256, changelog=row.changelog, owner=row.owner,
            created_at=row.created_at, labels=labels.get(row.version, []),
            latest=latest is not None and latest.version == row.version,
            gate=held[row.version].verdict if row.version in held else "pass",
            why=held[row.version].why if row.version in held else "",
        )
        for row in page
    ]  # fmt: skip
    cursor = encode_cursor(key, [page[-1].rank]) if len(rows) > body.limit else None
    return Versions(items=items, next_cursor=cursor)


def diff(unit: Unit, body: DiffIn) -> Diff:
    """Two versions beside each other: text, fields, and how they did in the suites."""
    branch = _branch(unit, body)
    new = resolve(unit, _ref(body.name, body.to or _newest(unit, body.name, branch)), branch=branch)
    old = (
        resolve(unit, _ref(body.name, body.from_), branch=branch)
        if body.from_ is not None
        else registry.before(unit, new.spec)
    )
    if old is None:
        raise Problem(
            "not_found", f"there is no version before {new.spec.ref}", hint="Name the old side with from."
        )
    found = changes.changes(old.spec, new.spec)
    level, suggested = changes.suggested(old.spec, new.spec)
    names = (old.spec.ref, new.spec.ref)
    return Diff(
        name=body.name, from_version=old.version, to_version=new.version, from_sha256=old.sha256, to_sha256=new.sha256,
        text=changes.unified(old.content, new.content, names),
        template=changes.unified(old.template, new.template, names),
        changes=as_changes(found), level=level, suggested_version=suggested, evals=_deltas(unit, body.name, old, new),
    )  # fmt: skip


def rendered(unit: Unit, body: RenderIn) -> Rendered:
    """A prompt filled in, as it would be sent. Raises `not_found`, `validation_failed`."""
    found = resolve(unit, body.prompt, branch=_branch(unit, body))
    return Rendered(
        name=found.name, version=found.version, sha256=found.sha256, text=render(found, body.inputs),
        model=dict(found.model), output_schema=dict(found.output_schema) if found.output_schema is not None else None,
    )  # fmt: skip


def _branch(unit: Unit, body: workspaces.BranchIn) -> Branch | None:
    """The branch that is meant; None: the registry alone, after asking whether it may be read."""
    if body.branch is not None or body.repo_name is not None:
        return workspaces.locate(unit, body, "files.read").branch
    policy.require(unit, "prompt.read", policy.org_resource(unit))
    return None


def _newest(unit: Unit, name: str, branch: Branch | None) -> str | None:
    """The highest version, whether or not a gate holds it back; None: what the name means on the branch."""
    row = registry.row_of(unit, name, None) if branch is None else None
    return row.version if row is not None else None


def _ref(name: str, version: str | None) -> str:
    return f"{name}@{version}" if version else name


def _deltas(unit: Unit, name: str, old: PromptVersion, new: PromptVersion) -> list[SuiteDelta]:
    asked = [Judged(old.version, old.sha256), Judged(new.version, new.sha256)]
    scorers = unit.get(Scorers)
    scores = [score for scorer in scorers for score in scorers.get(scorer)(unit, name, asked)]
    found: list[SuiteDelta] = []
    for suite in sorted({score.suite for score in scores}):
        before = _score(scores, suite, old.sha256)
        after = _score(scores, suite, new.sha256)
        rates = (before.pass_rate if before else None, after.pass_rate if after else None)
        delta = after.pass_rate - before.pass_rate if before and after else None
        cases = max(score.cases for score in (before, after) if score is not None)
        found.append(SuiteDelta(suite=suite, before=rates[0], after=rates[1], delta=delta, cases=cases))
    return found


def _score(scores: Sequence[Score], suite: str, sha256: str) -> Score | None:
    return next((score for score in scores if (score.suite, score.sha256) == (suite, sha256)), None)


def _summary(unit: Unit, row: sa.Row[Any]) -> PromptSummary:
    latest = registry.latest(unit, row.name)
    return PromptSummary(
        id=row.id, name=row.name, version=row.version, latest=latest.version if latest else None, sha256=row.sha256,
        changelog=row.changelog, tags=row.tags, owner=row.owner, created_at=row.created_at, source=row.source,
        versions=row.versions,
    )  # fmt: skip


def _shipped_summary(own: PromptVersion) -> PromptSummary:
    return PromptSummary(
        id=None, name=own.name, version=own.version, latest=own.version, sha256=own.sha256,
        changelog=own.spec.changelog, tags=list(own.spec.tags), owner=None, created_at=None, source=dict(own.source),
        versions=1,
    )  # fmt: skip


def _shipped_version(own: PromptVersion) -> Version:
    return Version(
        version=own.version, sha256=own.sha256, changelog=own.spec.changelog, owner=None, created_at=None, labels=[],
        latest=True, gate="pass", why="",
    )  # fmt: skip
