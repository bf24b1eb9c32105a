"""Looking prompt files over, and publishing them."""

from typing import Any

from builderos.assets.workspaces import service as workspaces
from builderos.core.holes import parts_of
from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.core.yamlwords import error_of
from builderos.trust.policy import service as policy
from builderos.trust.vault import service as vault

from . import changes, registry, resolving
from .local_files import note
from .reading import parse, read
from .schema import LintIn, LintOut, PromptChange, PromptError, Published, PublishIn
from .spec import PromptVersion, Spec


def lint(unit: Unit, body: LintIn) -> LintOut:
    """Every mistake of a file with its line, and the version that its changes ask for; nothing is kept."""
    policy.require(unit, "prompt.read", policy.org_resource(unit))
    spec, issues = read(body.content, name=body.name)
    errors = [PromptError(**error_of(issue)) for issue in issues]
    sha256: str | None = None
    if spec is not None:
        try:
            sha256 = spec.sha256(pins_of(checked_parts(unit, spec)))
        except Problem as problem:
            errors.append(_error(problem))
    if spec is None or errors:
        name, version = (spec.name, spec.version) if spec is not None else (None, None)
        return LintOut(valid=False, name=name, version=version, sha256=None, errors=errors, warnings=[])
    found = LintOut(
        valid=True, name=spec.name, version=spec.version, sha256=sha256, errors=[], warnings=warnings(spec)
    )
    base = registry.before(unit, spec)
    if base is None:
        return found
    level, suggested = changes.suggested(base.spec, spec)
    differences = as_changes(changes.changes(base.spec, spec))
    try:
        changes.require_bump(base.spec, spec)
    except Problem as problem:
        found = found.model_copy(update={"valid": False, "errors": [_error(problem, where="version")]})
    more = {"since": base.version, "level": level, "suggested_version": suggested, "changes": differences}
    return found.model_copy(update=more)


def publish(unit: Unit, body: PublishIn) -> Reply[Published]:
    """Keep a version of a prompt. The same file again changes nothing.

    Raises `validation_failed` with the line of every mistake or with the version that the changes ask for,
    `version_exists` where the version says something else, `quota_exceeded`.
    """
    policy.require(unit, "prompt.publish", policy.org_resource(unit))
    content, source = _given(unit, body)
    spec = parse(content, name=body.name)
    id_, sha256, new = keep(unit, spec, content, source)
    latest = registry.latest(unit, spec.name)
    said = "published" if new else "published already"
    message = f"{spec.ref} is {said}."
    if latest is None or latest.version != spec.version:
        message += f" {spec.name}@latest is {latest.version if latest else 'none yet'}."
    return Reply(
        201 if new else 200,
        Published(
            id=id_, name=spec.name, version=spec.version, sha256=sha256, state="published" if new else "unchanged",
            latest=latest.version if latest else None, message=message,
        ),
    )  # fmt: skip


def keep(unit: Unit, spec: Spec, content: str, source: dict[str, Any]) -> tuple[str, str, bool]:
    """Put a version into the registry: its id, its sha256, and whether it is new. Raises as `publish` does."""
    if vault.clean(unit, content) != content:
        raise Problem(
            "validation_failed", f"{spec.ref} holds a secret",
            hint="Take it out: whoever may read prompts would read it.",
        )  # fmt: skip
    pins = pins_of(checked_parts(unit, spec))
    sha256 = spec.sha256(pins)
    row = registry.row_of(unit, spec.name, spec.version)
    if row is not None and row.sha256 != sha256:
        base = registry.before(unit, spec)
        suggested = changes.suggested(base.spec, spec)[1] if base is not None else None
        raise Problem(
            "version_exists", f"{spec.ref} was published with other content",
            hint="Raise version in the file: a published version never changes.", sha256=row.sha256,
            suggested_version=suggested if suggested != spec.version else None,
        )  # fmt: skip
    if row is not None:
        return row.id, sha256, False
    _room(unit, spec.name)
    base = registry.before(unit, spec)
    if base is not None:
        changes.require_bump(base.spec, spec)
    id_ = registry.insert(unit, spec, content, pins, source)
    note(unit, spec.name, spec.version, content)
    return id_, sha256, True


def checked_parts(unit: Unit, spec: Spec) -> dict[str, PromptVersion]:
    """The partials of a prompt, each of which gets what it takes. Raises `not_found`, `validation_failed`."""
    found = registry.parts(unit, spec)
    for word, part in found.items():
        for name, one in part.inputs.items():
            own = spec.inputs.get(name)
            if own is None and one.required:
                said = f"{spec.ref}: the partial {word} takes {name}, which is no input here"
                raise Problem("validation_failed", said, hint=f"Add {name}: {one.type} below inputs.")
            if own is not None and own.type != one.type:
                said = f"{spec.ref}: {name} is a {own.type} here and a {one.type} in the partial {word}"
                raise Problem("validation_failed", said, hint="Use one type in both.")
    return found


def pins_of(parts: dict[str, PromptVersion]) -> dict[str, str]:
    """Word → sha256."""
    return {word: part.sha256 for word, part in parts.items()}


def warnings(spec: Spec) -> list[str]:
    """What is no mistake and still looks like one."""
    used = {(part.kind, part.text) for part in parts_of(spec.template)}
    found = [f"the input {name} is not used" for name in spec.inputs if ("input", name) not in used]
    if spec.partials:  # a partial may use what the template does not
        found = []
    return found + [
        f"the partial {word} is not used" for word in spec.partials if ("partial", word) not in used
    ]


def as_changes(found: list[changes.Change]) -> list[PromptChange]:
    """Differences as callers see them."""
    return [
        PromptChange(field=c.field, level=c.level, why=c.why, before=c.before, after=c.after) for c in found
    ]


def _error(problem: Problem, where: str = "partials") -> PromptError:
    return PromptError(
        line=1, column=1, where=where, message=problem.detail, hint=problem.hint, code=problem.code
    )


def _room(unit: Unit, name: str) -> None:
    count = registry.count(unit, name)
    if count >= registry.MAX_VERSIONS:
        raise Problem(
            "quota_exceeded", f"{name} has {count} versions; the limit is {registry.MAX_VERSIONS}",
            hint="Publish under another name.", limit=registry.MAX_VERSIONS,
        )  # fmt: skip


def _given(unit: Unit, body: PublishIn) -> tuple[str, dict[str, Any]]:
    if body.content is not None:
        return body.content, {"type": "upload"}
    if body.name is None:
        raise Problem(
            "validation_failed", "nothing to publish", hint="Send content, or name a prompt of a branch."
        )
    where = {"repo_name": body.repo_name, "repo_owner": body.repo_owner, "branch": body.branch}
    branch = workspaces.locate(unit, workspaces.BranchIn(**where), "files.read").branch
    path = resolving.file_of(body.name)
    text = workspaces.file_at(unit, branch, path)
    if text is None:
        raise Problem("not_found", f"there is no {path} on the branch {branch.name}", hint="Commit it first.")
    return text, {
        "type": "commit", "repo_name": branch.repo_name, "repo_id": branch.repo_id, "branch": branch.name,
        "commit": branch.tip, "path": path,
    }  # fmt: skip
