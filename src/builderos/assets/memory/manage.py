"""Describe, forget, pin and check entries; bring the memory up to date with the files."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from builderos.assets.workspaces.service import locate, remembered
from builderos.core.clock import rfc3339
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy
from builderos.trust.secrets.service import redact

from . import tiers
from .schema import MAX_PATHS, EntryIn, Fault, ManageIn, ManageOut

MAX_INDEXED: Final = 2000
READS: Final = frozenset({"diff", "validate"})


@dataclass
class Plan:
    """What an action writes and tells."""

    put: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    drop: list[str] = field(default_factory=list[str])
    message: str = ""
    missing: list[str] = field(default_factory=list[str])
    stale: list[str] = field(default_factory=list[str])
    gone: list[str] = field(default_factory=list[str])
    faults: list[Fault] = field(default_factory=list[Fault])
    remaining: int = 0
    warnings: list[str] = field(default_factory=list[str])


def manage(unit: Unit, body: ManageIn) -> ManageOut:
    """Change the memory in one commit, or look at it.

    Raises `not_found` (no such file or entry), `conflict` (add: described already), `validation_failed`, and as
    `locate`.
    """
    if body.tier is not None or body.ids:
        return tiers.manage(unit, body)
    reads = body.action in READS
    action: policy.Action = "memory.read" if reads else "memory.write"
    memory = remembered.remember(unit, locate(unit, body, action, lock=not reads))
    plan = _plan(unit, memory, body)
    plan.warnings += [f"{i.path}:{i.line}: {i.message}" for i in memory.issues[:5]]
    sha = None
    if plan.put or plan.drop:
        written = remembered.save(
            unit, memory, put=plan.put, drop=plan.drop, message=plan.message, event=f"memory.{body.action}"
        )  # fmt: skip
        sha = written.sha
        plan.warnings += [w for w in written.warnings if w not in plan.warnings]
    return _reply(unit, memory, body, plan, sha)


def _plan(unit: Unit, memory: remembered.Remembered, body: ManageIn) -> Plan:
    if body.action in ("add", "update"):
        return _described(unit, memory, body)
    if body.action == "remove":
        paths = _known(memory, _paths(body))
        return Plan(drop=paths, message=f"Forget {_count(paths)} in the memory")
    if body.action in ("pin", "unpin"):
        return _pinned(memory, _paths(body), body.action == "pin")
    if body.action == "validate":
        return Plan(faults=[Fault(path=i.path, line=i.line, level=i.level, message=i.message, hint=i.hint)
                            for i in remembered.faults(memory)])  # fmt: skip
    return _indexed(unit, memory, write=body.action == "index")


def _entries(body: ManageIn) -> list[EntryIn]:
    entries = list(body.items)
    if body.path is not None:
        entries.append(
            EntryIn(path=body.path, description=body.description, tags=body.tags, owner=body.owner)
        )
    if not entries:
        raise Problem(
            "validation_failed", f"{body.action} needs a path", hint="Send path, or items.", field="path"
        )
    seen: set[str] = set()
    for entry in entries:
        if entry.path in seen:
            raise Problem("validation_failed", f"{entry.path} is listed twice", hint="List each file once.")
        seen.add(entry.path)
    return entries


def _paths(body: ManageIn) -> list[str]:
    paths: list[str] = list(dict.fromkeys([*body.paths, *([body.path] if body.path is not None else [])]))
    if not paths:
        raise Problem(
            "validation_failed", f"{body.action} needs a path", hint="Send path, or paths.", field="path"
        )
    return paths


def _known(memory: remembered.Remembered, paths: list[str]) -> list[str]:
    unknown = [path for path in paths if memory.get(path) is None]
    if unknown:
        raise Problem(
            "not_found", f"the memory has no entry for {', '.join(unknown[:5])}", hint="memoryQuery lists the entries.",
            missing=unknown,
        )  # fmt: skip
    return paths


def _described(unit: Unit, memory: remembered.Remembered, body: ManageIn) -> Plan:
    """add: files that nobody has described yet. update: entries that are there."""
    entries = _entries(body)
    plan = Plan(message=f"Describe {_count([e.path for e in entries])} in the memory")
    if body.action == "update":
        _known(memory, [entry.path for entry in entries])
    for entry in entries:
        held = memory.get(entry.path)
        if body.action == "add":
            _refuse_add(memory, entry, held)
        given = _given(entry, plan.warnings)
        if held is None:
            given = {**_new(unit, entry.path, _sha(memory, entry.path)), **given}
        plan.put.append({**given, "path": entry.path, "last_updated": rfc3339(unit.now)})
    return plan


def _refuse_add(memory: remembered.Remembered, entry: EntryIn, held: Mapping[str, Any] | None) -> None:
    if _sha(memory, entry.path) is None:
        raise Problem(
            "not_found", f"there is no file {entry.path}", hint="Commit the file first.", missing=[entry.path]
        )
    if held is not None and held.get("description") and entry.description not in (None, held["description"]):
        raise Problem(
            "conflict", f"{entry.path} is described already", hint="Use update to change it.", path=entry.path
        )


def _given(entry: EntryIn, warnings: list[str]) -> dict[str, Any]:
    """The members that were sent, without credentials."""
    given = {
        name: value
        for name in ("description", "tags", "owner")
        if (value := getattr(entry, name)) is not None
    }
    if entry.description is not None:
        given["description"] = redact(entry.description)
        if given["description"] != entry.description:
            warnings.append(f"{entry.path}: a credential was taken out of the description")
    if entry.tags is not None:
        given["tags"] = list(dict.fromkeys(entry.tags))
    return given


def _sha(memory: remembered.Remembered, path: str) -> str | None:
    entry = memory.tip.entry(path)
    return entry.oid.hex() if entry is not None and entry.is_file else None


def _new(unit: Unit, path: str, sha: str | None) -> dict[str, Any]:
    name = path.rpartition("/")[2]
    kind = name.rpartition(".")[2] if "." in name else ""
    return {"owner": unit.actor.name, "file_type": kind, "sha": sha, "source": "tool"}


def _pinned(memory: remembered.Remembered, paths: list[str], pinned: bool) -> Plan:
    """Entries whose pin changes; those that are as wished already cost no commit."""
    _known(memory, paths)
    changed = [path for path in paths if ((memory.get(path) or {}).get("pinned") is True) != pinned]
    verb = "Pin" if pinned else "Unpin"
    put: list[dict[str, Any]] = [{"path": path, "pinned": pinned} for path in changed]
    return Plan(put=put, message=f"{verb} {_count(changed)} in the memory")


def _indexed(unit: Unit, memory: remembered.Remembered, *, write: bool) -> Plan:
    """What differs between the memory and the files; with `write` the first part of it to be written."""
    files = dict(remembered.files_of(memory))
    held = {doc.path: doc.entry.get("sha") for doc in memory.docs}
    plan = Plan(message="Bring the memory up to date with the files")
    plan.missing = [path for path in files if path not in held]
    plan.stale = [path for path, sha in files.items() if path in held and held[path] != sha]
    plan.gone = [path for path in held if path not in files]
    if not write:
        return plan
    plan.drop = plan.gone[:MAX_INDEXED]
    todo = [*plan.stale, *plan.missing]
    stamp, new = rfc3339(unit.now), frozenset(plan.missing)
    for path in todo[: MAX_INDEXED - len(plan.drop)]:
        first = _new(unit, path, None) if path in new else {}
        plan.put.append({**first, "path": path, "sha": files[path], "last_updated": stamp})
    plan.remaining = len(todo) + len(plan.gone) - len(plan.put) - len(plan.drop)
    return plan


def _count(paths: Iterable[str]) -> str:
    listed = list(paths)
    return listed[0] if len(listed) == 1 else f"{len(listed)} files"


def _reply(
    unit: Unit, memory: remembered.Remembered, body: ManageIn, plan: Plan, sha: str | None
) -> ManageOut:
    """The reply within its size: lists are halved until it fits."""
    changed = [*(item["path"] for item in plan.put), *plan.drop]
    lists = {"changed": changed, "missing": plan.missing, "stale": plan.stale, "gone": plan.gone}
    counts = {**{name: len(paths) for name, paths in lists.items()}, "faults": len(plan.faults)}
    place, most = memory.place, MAX_PATHS
    while True:
        reply = ManageOut(
            action=body.action, **{name: paths[:most] for name, paths in lists.items()}, faults=plan.faults[:most],
            counts=counts, remaining=plan.remaining, truncated=max(counts.values()) > most, commit_sha=sha,
            warnings=[w[:300] for w in plan.warnings[:5]], repo_name=place.repo_name, branch=place.branch.name,
            message=_message(body.action, counts, plan, f"branch {place.branch.name} of {place.repo_name}", sha),
        )  # fmt: skip
        if most == 0 or len(reply.model_dump_json().encode()) <= unit.settings.memory_reply:
            return reply
        most //= 2


def _message(action: str, counts: dict[str, int], plan: Plan, where: str, sha: str | None) -> str:
    if action == "validate":
        return (
            f"The memory files of {where} are in order."
            if not plan.faults
            else f"{counts['faults']} faults in {where}."
        )
    if action == "diff":
        differ = f"{counts['missing']} files without an entry, {counts['stale']} changed"
        return f"{differ}, {counts['gone']} entries without a file, in {where}."
    if sha is None:
        return f"Nothing had to be changed in {where}."
    more = f" {plan.remaining} are left; call index again." if plan.remaining else ""
    return f"Changed {counts['changed']} entries in {where}.{more}"
