"""Pipelines of an organisation: looked over, published as versions that never change, found again.

What a name means: the file `ship/<name>/pipeline.yaml` on the branch of the run; else the newest version that the
organisation has published; else the one that comes with BuilderOS.
"""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.workspaces import service as workspaces
from builderos.core.ids import new_id
from builderos.core.operations import Reply
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.steps import Actions, Gates
from builderos.core.unit import Unit
from builderos.core.versions import rank_of
from builderos.core.yamlwords import error_of
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.vault import service as vault

from . import shipped
from .definition import Definition, expand, parse, read
from .pipelines_model import pipelines
from .pipelines_schema import (
    PipelineCheck,
    PipelineError,
    PipelineIn,
    PipelineList,
    PipelineListIn,
    PipelineOut,
    PipelinePublished,
    PipelinePublishIn,
    PipelineSummary,
    PipelineValidateIn,
)

MAX_VERSIONS: Final = 500
_OWN: Final = frozenset({"replay"})  # what only a replay's own steps do
_SHIPPED: Final[dict[str, Any]] = {"type": "shipped"}


def file_of(name: str) -> str:
    """Where the pipeline of a name lies in a repository."""
    return f"ship/{name}/{shipped.FILE}"


def validate(unit: Unit, body: PipelineValidateIn) -> PipelineCheck:
    """Every mistake of a file with its line; nothing is kept."""
    policy.require(unit, "pipeline.read", policy.org_resource(unit))
    definition, issues = read(
        body.content, name=body.name, actions=known_actions(unit), gates=known_gates(unit)
    )
    errors = [error_of(issue) for issue in issues]
    nodes: int | None = None
    own = _own_branch(unit)
    if definition is not None and (body.params is not None or not _asks(definition)):
        try:
            nodes = len(expand(definition, body.params or {}, resolve=lambda n, v: meant(unit, own, n, v)))
        except Problem as problem:
            errors = _errors_of(problem)
    return PipelineCheck(
        valid=not errors, name=definition.name if definition else None,
        version=definition.version if definition else None, digest=definition.digest if definition else None,
        steps=len(definition.steps) if definition else 0, nodes=nodes,
        errors=[PipelineError(**error) for error in errors],
    )  # fmt: skip


def publish(unit: Unit, body: PipelinePublishIn) -> Reply[PipelinePublished]:
    """Keep a version of a pipeline. The same file again changes nothing.

    Raises `validation_failed` with the line of every mistake, `version_exists` where the version says something else,
    `quota_exceeded`.
    """
    policy.require(unit, "pipeline.publish", policy.org_resource(unit))
    content, source = _given(unit, body)
    definition = parse(content, name=body.name, actions=known_actions(unit), gates=known_gates(unit))
    if vault.clean(unit, content) != content:
        raise Problem(
            "validation_failed", "the file holds a secret",
            hint="Name it under secrets: the step finds its value in a variable.",
        )  # fmt: skip
    found = _row(unit, definition.name, definition.version)
    if found is None:
        _count(unit, definition.name)
        found = _insert(unit, definition, content, source)
        state, status = "published", 201
    elif found.digest == definition.digest:
        state, status = "unchanged", 200
    else:
        raise Problem(
            "version_exists", f"{definition.ref} was published with other content",
            hint="Raise version in the file.", digest=found.digest,
        )  # fmt: skip
    message = f"{definition.ref} is {'published' if status == 201 else 'published already'}."
    return Reply(
        status,
        PipelinePublished(
            id=found.id, name=found.name, version=found.version, digest=found.digest, state=state, message=message
        ),
    )  # fmt: skip


def listed(unit: Unit, body: PipelineListIn) -> PipelineList:
    """Published and shipped pipelines, by name."""
    policy.require(unit, "pipeline.read", policy.org_resource(unit))
    key = list_key("pipelines", begins=body.name)
    after = decode_cursor(key, body.cursor)
    c, start = pipelines.c, (body.name or "")
    after_name = str(after[0]) if after else ""
    newest = (
        sa.select(pipelines, sa.func.count().over(partition_by=c.name).label("versions"))
        .where(c.name > after_name, c.name.startswith(start, autoescape=True))
        .order_by(c.name, c.rank.desc())
        .ext(distinct_on(c.name))
        .limit(body.limit + 1)
    )
    found = {row.name: _summary(row) for row in unit.execute(newest)}
    for name in shipped.names():
        if name > after_name and name.startswith(start) and name not in found and not _row(unit, name, None):
            found[name] = _shipped_summary(name)
    items = [found[name] for name in sorted(found)]
    more = len(items) > body.limit
    items = items[: body.limit]
    return PipelineList(items=items, next_cursor=encode_cursor(key, [items[-1].name]) if more else None)


def show(unit: Unit, body: PipelineIn) -> PipelineOut:
    """One pipeline with its file. Raises `not_found`, and what `locate` raises where a branch is named."""
    if body.branch is not None or body.repo_name is not None:
        branch = workspaces.locate(unit, body, "files.read").branch
        text = workspaces.file_at(unit, branch, file_of(body.name))
        if text is None:
            raise not_found(body.name, None, on="this branch")
        definition = parse(text, name=body.name)
        source = {
            "type": "branch",
            "repo_name": branch.repo_name,
            "branch": branch.name,
            "commit": branch.tip,
        }
        return _shown(definition, text, source, [definition.version], None)
    policy.require(unit, "pipeline.read", policy.org_resource(unit))
    row = _row(unit, body.name, body.version)
    if row is not None:
        c = pipelines.c
        versions = sa.select(c.version).where(c.name == body.name).order_by(c.rank.desc()).limit(MAX_VERSIONS)
        known = list(unit.execute(versions).scalars())
        return _shown(parse(row.content), row.content, row.source, known, row)
    found = shipped.find(body.name)
    if found is None or body.version not in (None, found.definition.version):
        raise not_found(body.name, body.version)
    return _shown(found.definition, found.content, _SHIPPED, [found.definition.version], None)


def published(unit: Unit, name: str, version: str | None) -> Definition:
    """The published or shipped pipeline. Raises `not_found`, `validation_failed` where this server lacks what it uses.

    Asks no policy: for those who have.
    """
    row = _row(unit, name, version)
    if row is not None:
        return parse(row.content, name=name, actions=known_actions(unit), gates=known_gates(unit))
    found = shipped.find(name)
    if found is None or version not in (None, found.definition.version):
        raise not_found(name, version)
    return found.definition


def meant(unit: Unit, branch: Branch | None, name: str, version: str | None) -> Definition:
    """What a name means: on the branch, else published, else shipped. Raises `not_found`, `validation_failed`."""
    text = workspaces.file_at(unit, branch, file_of(name)) if branch is not None else None
    if text is not None:
        definition = parse(text, name=name, actions=known_actions(unit), gates=known_gates(unit))
        if version in (None, definition.version):
            return definition
    return published(unit, name, version)


def _own_branch(unit: Unit) -> Branch | None:
    """The branch of a workspace that asks."""
    repo_id, name = unit.actor.repo_id, unit.actor.branch
    return repositories.find_branch(unit, repo_id, name) if repo_id and name else None


def known_actions(unit: Unit) -> Sequence[str]:
    """Names of what steps may do on this server."""
    return sorted(set(unit.get(Actions)) - _OWN)


def known_gates(unit: Unit) -> Sequence[str]:
    """Kinds of gates that this server can check by itself."""
    return sorted(unit.get(Gates))


def not_found(name: str, version: str | None, *, on: str = "") -> Problem:
    """The refusal for a pipeline that is not there."""
    what = f"{name[:80]}@{version[:40]}" if version else name[:80]
    return Problem(
        "not_found", f"there is no pipeline {what!r}{' on ' + on if on else ''}",
        hint=f"Commit {file_of(name[:80])}, or publish it; builderos pipeline list shows what is there.",
    )  # fmt: skip


def _given(unit: Unit, body: PipelinePublishIn) -> tuple[str, dict[str, Any]]:
    if body.content is not None:
        return body.content, {"type": "upload"}
    if body.name is None:
        raise Problem(
            "validation_failed", "nothing to publish", hint="Send content, or name a pipeline of a branch."
        )
    where = {"repo_name": body.repo_name, "repo_owner": body.repo_owner, "branch": body.branch}
    branch = workspaces.locate(unit, workspaces.BranchIn(**where), "files.read").branch
    text = workspaces.file_at(unit, branch, file_of(body.name))
    if text is None:
        raise not_found(body.name, None, on=f"the branch {branch.name}")
    return text, {
        "type": "commit", "repo_name": branch.repo_name, "repo_id": branch.repo_id, "branch": branch.name,
        "commit": branch.tip, "path": file_of(body.name),
    }  # fmt: skip


def _insert(unit: Unit, definition: Definition, content: str, source: dict[str, Any]) -> sa.Row[Any]:
    found = unit.execute(
        sa.insert(pipelines)
        .values(
            id=new_id("pip"), org_id=unit.org_id, name=definition.name, version=definition.version,
            rank=rank_of(definition.version), digest=definition.digest, content=content, source=source,
            summary={"description": definition.description, "steps": len(definition.steps)},
            published_by=unit.actor.id, created_at=unit.now,
        )
        .returning(pipelines)
    ).one()  # fmt: skip
    payload = {"pipeline": definition.ref, "digest": definition.digest, "source": source["type"]}
    ledger.record(unit, "pipeline.published", found.id, payload)
    return found


def _count(unit: Unit, name: str) -> None:
    count = unit.execute(sa.select(sa.func.count()).where(pipelines.c.name == name)).scalar_one()
    if count >= MAX_VERSIONS:
        raise Problem(
            "quota_exceeded", f"{name} has {count} versions; the limit is {MAX_VERSIONS}",
            hint="Publish under another name.", limit=MAX_VERSIONS,
        )  # fmt: skip


def _row(unit: Unit, name: str, version: str | None) -> sa.Row[Any] | None:
    c = pipelines.c
    wanted = sa.select(pipelines).where(c.name == name)
    if version is not None:
        wanted = wanted.where(c.version == version)
    return unit.execute(wanted.order_by(c.rank.desc()).limit(1)).one_or_none()


def _asks(definition: Definition) -> bool:
    return any(parameter.required for parameter in definition.params)


def _errors_of(problem: Problem) -> list[dict[str, Any]]:
    place = {
        "line": 1,
        "column": 1,
        "where": "",
        "message": problem.detail,
        "hint": problem.hint,
        "code": problem.code,
    }
    return [place | error for error in problem.extra.get("errors", [])] or [place]


def _summary(row: sa.Row[Any]) -> PipelineSummary:
    return PipelineSummary(
        id=row.id, name=row.name, version=row.version, digest=row.digest, description=row.summary["description"],
        source=row.source, published_by=row.published_by, created_at=row.created_at, versions=row.versions,
    )  # fmt: skip


def _shipped_summary(name: str) -> PipelineSummary:
    found = shipped.find(name)
    assert found is not None
    of = found.definition
    return PipelineSummary(
        id=None, name=of.name, version=of.version, digest=of.digest, description=of.description, source=_SHIPPED,
        published_by=None, created_at=None, versions=1,
    )  # fmt: skip


def _shown(
    definition: Definition, content: str, source: dict[str, Any], versions: list[str], row: sa.Row[Any] | None
) -> PipelineOut:
    said = definition.as_json()
    return PipelineOut(
        id=row.id if row else None, name=definition.name, version=definition.version, digest=definition.digest,
        description=definition.description, source=source, published_by=row.published_by if row else None,
        created_at=row.created_at if row else None, content=content, steps=said["steps"],
        triggers=said.get("triggers", [{"kind": "manual"}]), params=said.get("params", []), versions=versions,
    )  # fmt: skip
