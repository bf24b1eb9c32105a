"""The only way a branch gets a new commit: content, changelog entry and memory index in one atomic commit.

`write` is what commit, rollback, reset, restore, tasks and scaffolding end in. It runs in the caller's unit; the
journal's
transaction is the commit point, and the read-back check after it compares what is on disk with what was promised.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pygit2

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import (
    Edit,
    Entry,
    Person,
    RepositoryStore,
    encode_commit,
    fold_pending,
)
from builderos.core.clock import rfc3339
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.schema import Out
from builderos.core.unit import Call, Context, Unit, perform
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices
from builderos.trust.vault import service as vault

from . import allowance, delivery, soundness
from .content import Content, Draft, TreeFiles, tip_of, tree_of
from .guarding import guard
from .layout import config_issues, layout_of
from .places import Place, ask_paths
from .pushed import file_type, still_there

EMAIL_DOMAIN = "builderos.invalid"
MAX_WARNINGS = 20
MAX_PROMPT_VERSION = 200


class DiffStat(Out):
    """Size of a change in lines; a binary file counts as no lines."""

    files: int
    added: int
    deleted: int


@dataclass(frozen=True)
class Change:
    """What a verb wants written.

    `edits`: files by path. `delivery`: further delivery files that the verb itself computed (tasks, reverts);
    `entries`:
    changelog entries that come along from elsewhere (a restored branch); `entry_id`: where the verb needs it
    beforehand.
    `about`: delivery files that the changelog entry names beside the edits. `indexed`: whether the memory index takes
    the edits up; not where its own files come along in `delivery`.
    `details` go into the ledger line; `claimed_by` is what the client said of itself, kept as a claim.
    """

    edits: Mapping[str, Content]
    message: str
    tool: str
    task_id: str | None = None
    agent_version: str | None = None
    run_id: str | None = None
    claimed_by: str | None = None
    reverts: str | None = None
    delivery: Mapping[str, bytes | None] = field(default_factory=dict[str, bytes | None])
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    descriptions: Mapping[str, str] = field(default_factory=dict[str, str])
    event: str = "commit"
    entries: tuple[dict[str, Any], ...] = ()
    entry_id: str | None = None
    allow_empty: bool = False
    parents: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    indexed: bool = True


@dataclass(frozen=True)
class Written:
    """What came out: the commit is durable once the unit has committed."""

    sha: str
    entry: dict[str, Any]
    stat: DiffStat
    first: bool
    warnings: list[str]


def write(unit: Unit, place: Place, change: Change, tip: TreeFiles | None = None) -> Written:
    """Make one commit of `change` on top of the (locked) branch.

    `tip`: the files there, where the verb has opened them; objects that it put into their batch come along.
    Raises `validation_failed` when nothing would change, `invalid_path`, `quota_exceeded`,
    `policy_denied` (a credential).
    """
    branch = place.branch
    change = replace(change, message=vault.clean_text(unit, change.message))
    before = tip or tip_of(unit, branch)
    draft = Draft(before)
    draft.write(change.edits)
    _refuse_nothing(before, change)
    entry = changelog_entry(unit, branch, change)
    broken, slips = _write_delivery(unit, branch, draft, change, entry)
    after = draft.finish()
    ask_paths(unit, place, {*change.edits, *change.about}, lambda path: _is_mains(unit, branch, after, path))
    guard(unit, branch, place.action, before, after, {**change.edits, **change.delivery})
    if not broken:
        soundness.remember(after, layout_of(after))
    stat = measure(before, after, change.edits)
    who = person(unit.actor.name)
    parents = [bytes.fromhex(parent) for parent in (branch.tip, *change.parents)]
    commit = encode_commit(after.tree, parents, who, who, unit.now, change.message, trailers(unit, change))
    sha = after.batch.put("commit", commit).hex()
    _advance(unit, place, change, sha, before, after, stat)
    return Written(sha, entry, stat, branch.commits == 0, [*broken, *slips][:MAX_WARNINGS])


def _refuse_nothing(before: TreeFiles, change: Change) -> None:
    if change.delivery or change.entries or change.allow_empty:
        return
    for path, content in change.edits.items():
        if _differs(before.entry(path), content):
            return
    raise Problem(
        "validation_failed", "the commit would change nothing: the files already have this content",
        hint="Send what differs, or nothing.",
    )  # fmt: skip


def _differs(entry: Entry | None, content: Content) -> bool:
    """Whether writing `content` changes what a tree has; a link becomes a plain file even if the text is the same."""
    if entry is None or content is None:
        return (entry is None) != (content is None)
    if isinstance(content, Edit):
        return content.oid != entry.oid or (content.mode is not None and content.mode != entry.mode)
    return not entry.is_file or blob_oid(content) != entry.oid


def blob_oid(data: bytes) -> bytes:
    """The id git gives to a file of this content."""
    return hashlib.sha1(b"blob %d\0%s" % (len(data), data), usedforsecurity=False).digest()


def _is_mains(unit: Unit, branch: Branch, after: TreeFiles, path: str) -> bool:
    main = repositories.main_branch(unit, branch.repo_id)
    return TreeFiles(after.batch, tree_of(after.batch, main.tip)).entry(path) == after.entry(path)


def _write_delivery(
    unit: Unit, branch: Branch, draft: Draft, change: Change, entry: dict[str, Any]
) -> tuple[list[str], list[str]]:
    """Changelog, memory index, what earlier pushes left to write; returns warnings: files people broke, and slips."""
    layout = layout_of(draft)
    draft.write(change.delivery)
    entries, pushed = fold_pending(unit, branch)
    draft.write(delivery.changelog.append(draft, layout, [*change.entries, *entries, entry]))
    touched = [p for p in change.edits if change.indexed and not delivery.is_delivery(p, layout)]
    here, lost = still_there(draft, pushed)
    items = [
        *here,
        *(memory_item(unit, p, c, change) for p in touched if (c := change.edits[p]) is not None),
    ]
    if items:
        draft.write(delivery.memory.upsert(draft, layout, items))
    gone = [*lost, *(p for p in touched if change.edits[p] is None)]
    if gone:
        draft.write(delivery.memory.remove(draft, layout, gone))
    return _broken_files(unit, branch, draft, layout, change), _slips(draft, layout, change)


def _broken_files(
    unit: Unit, branch: Branch, draft: Draft, layout: delivery.Layout, change: Change
) -> list[str]:
    """Warnings about delivery files that people edited into something unreadable; each set raises `memory_invalid`."""
    found = soundness.issues_after(draft, layout, {**change.edits, **change.delivery})
    warnings = [_as_warning(issue) for issue in found[:MAX_WARNINGS]]
    if warnings:
        notices.raise_alert(unit, "memory_invalid", branch.name, {"issues": warnings})
    return warnings


def _slips(draft: Draft, layout: delivery.Layout, change: Change) -> list[str]:
    """Warnings about what can be read but is probably not meant: `builderos.yaml`, delivery files of this change."""
    found = list(config_issues(draft))
    for path, content in change.edits.items():
        if isinstance(content, bytes) and delivery.is_delivery(path, layout):
            found += [issue for issue in delivery.validate(path, content, layout) if issue.level != "broken"]
    return [_as_warning(issue) for issue in found]


def _as_warning(issue: delivery.Issue) -> str:
    return f"{issue.path}:{issue.line}: {issue.message}. {issue.hint}".strip()


def _advance(
    unit: Unit, place: Place, change: Change, sha: str, before: TreeFiles, after: TreeFiles, stat: DiffStat
) -> None:
    branch, settings, batch = place.branch, unit.settings, after.batch
    files = branch.files + _file_cost(branch, change.edits, before, after)
    allowance.take(unit, branch, commits=1, files=files)
    if stat.added + stat.deleted > settings.large_diff_lines:
        detail = {"commit": sha, "lines": stat.added + stat.deleted}
        notices.raise_alert(unit, "large_diff", branch.name, detail)
    line = ledger.compose(unit, change.event, sha, _payload(place, change, stat), rules=place.rules)
    repositories.advance(unit, branch, sha, batch.pack(), ledger_line=line, files=files)
    wanted = {p: entry.oid for p in change.edits if (entry := after.entry(p)) is not None}
    store, context, call = unit.get(RepositoryStore), unit.context, unit.call

    def verify() -> None:
        if not _reads_back(store, branch, sha, wanted):
            raise NotVerified(context, call, branch.name, sha)
        batch.publish()

    unit.after_commit(verify)


class NotVerified(Problem):
    """The commit is durable in the journal but the files on disk do not show it; an alert is raised by the edge."""

    def __init__(self, context: Context, call: Call, branch: str, sha: str) -> None:
        super().__init__(
            "write_not_verified", f"the commit {sha[:12]} on {branch} could not be read back",
            hint="It is kept in the journal; repeat the call with the same idempotency_key, or ask an administrator.",
        )  # fmt: skip
        perform(
            context,
            call,
            lambda unit: notices.raise_alert(unit, "write_not_verified", branch, {"commit": sha}),
        )


def _reads_back(store: RepositoryStore, branch: Branch, sha: str, wanted: Mapping[str, bytes]) -> bool:
    """Read the ref, the commit and the written blobs from disk, without any cache."""
    if store.read_ref(branch.store, branch.ref) in (None, branch.tip):  # a successor may have gone further
        return False
    repo = store.open(branch.store)
    try:
        commit = repo[sha].peel(pygit2.Commit)
        for path, oid in wanted.items():
            if commit.tree[path].id.raw != oid or pygit2.Oid(raw=oid) not in repo:
                return False
    except (KeyError, ValueError, pygit2.GitError):
        return False
    return True


def _payload(place: Place, change: Change, stat: DiffStat) -> dict[str, Any]:
    branch = place.branch
    payload: dict[str, Any] = {
        "repo": branch.repo_name, "repo_id": branch.repo_id, "branch": branch.name, "old": branch.tip,
        "paths": sorted({*change.edits, *change.about}), "stat": stat.model_dump(), "tool": change.tool,
        **change.details,
    }  # fmt: skip
    optional = {
        "task_id": change.task_id, "agent_version": change.agent_version, "run_id": change.run_id,
        "claimed_by": change.claimed_by, "reverts": change.reverts,
    }  # fmt: skip
    return payload | {key: value for key, value in optional.items() if value is not None}


def _file_cost(branch: Branch, edits: Mapping[str, Content], before: TreeFiles, after: TreeFiles) -> int:
    """How many more paths differ from the base after this change than before it."""
    base = TreeFiles(after.batch, tree_of(after.batch, branch.base_sha))
    cost = 0
    for path in edits:
        origin = base.entry(path)
        cost += (after.entry(path) != origin) - (before.entry(path) != origin)
    return cost


def reminder(unit: Unit, written: Written) -> str:
    """What the first commit of a workspace adds to its message: keep the token, which is not shown (SPEC §3.6)."""
    if not written.first or unit.actor.role != "sandbox":
        return ""
    return " Keep your token: it is the only way back into this workspace."


def person(name: str) -> Person:
    """A pseudonym as git's author."""
    return Person(name, f"{name}@{EMAIL_DOMAIN}")


def trailers(unit: Unit, change: Change) -> list[tuple[str, str]]:
    """The trailers of SPEC §3.3; empty ones are left out."""
    wanted = {
        "BuilderOS-Actor": unit.actor.name, "BuilderOS-Task": change.task_id, "BuilderOS-Tool": change.tool,
        "BuilderOS-Run": change.run_id, "BuilderOS-Agent-Version": change.agent_version,
        "BuilderOS-Prompt-Version": _prompt_version(change),
    }  # fmt: skip
    return [(key, value) for key, value in wanted.items() if value]


def _prompt_version(change: Change) -> str | None:
    """What the maker said in the metadata, where it fits into one line."""
    metadata: dict[str, Any] = change.details.get("metadata") or {}
    told = metadata.get("prompt_version")
    return told if isinstance(told, str) and told.isprintable() and len(told) <= MAX_PROMPT_VERSION else None


def changelog_entry(unit: Unit, branch: Branch, change: Change) -> dict[str, Any]:
    """The entry of this commit (SPEC §4). Actor, branch and time are the server's own knowledge."""
    entry: dict[str, Any] = {
        "id": change.entry_id or new_id("chg"), "timestamp": rfc3339(unit.now),
        "paths": sorted({*change.edits, *change.about}), "message": change.message,
        "task_id": change.task_id, "committed_by": unit.actor.name, "branch": branch.name, "tool": change.tool,
        "agent_version": change.agent_version, "run_id": change.run_id, "reverts": change.reverts,
    }  # fmt: skip
    if change.claimed_by is not None:
        entry["claimed_by"] = change.claimed_by
    return entry


def memory_item(unit: Unit, path: str, content: bytes | Edit, change: Change) -> dict[str, Any]:
    """The memory entry of a written file; fields that people maintain (description, tags) are kept by `upsert`."""
    oid = content.oid if isinstance(content, Edit) else blob_oid(content)
    item: dict[str, Any] = {
        "path": path, "owner": unit.actor.name, "file_type": file_type(path),
        "sha": oid.hex(), "last_updated": rfc3339(unit.now), "source": "tool",
    }  # fmt: skip
    if path in change.descriptions:
        item["description"] = change.descriptions[path]
    return item


def measure(before: TreeFiles, after: TreeFiles, paths: Mapping[str, Any]) -> DiffStat:
    """Added and deleted lines of the given paths."""
    added = deleted = files = 0
    for path in paths:
        old, new = before.entry(path), after.entry(path)
        if old == new:
            continue
        files += 1
        old_bytes = before.batch.read(old.oid)[1] if old is not None and old.is_file else b""
        new_bytes = after.batch.read(new.oid)[1] if new is not None and new.is_file else b""
        if old_bytes == new_bytes:
            continue
        if not old_bytes or not new_bytes:
            lines = _lines(new_bytes or old_bytes)
            added, deleted = (added + lines, deleted) if new_bytes else (added, deleted + lines)
            continue
        _, plus, minus = pygit2.Patch.create_from(old_bytes, new_bytes).line_stats
        added, deleted = added + plus, deleted + minus
    return DiffStat(files=files, added=added, deleted=deleted)


def _lines(data: bytes) -> int:
    if b"\0" in data[:8000]:
        return 0
    return data.count(b"\n") + (not data.endswith(b"\n"))
