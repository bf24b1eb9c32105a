"""Write a merge: one commit with two parents on the target, the source's objects with it, the base branch after
main.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import RepositoryStore, diff_trees, encode_commit
from builderos.core.clock import rfc3339
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.vault import service as vault

from . import allowance, delivery
from .content import TreeFiles, tree_of
from .layout import layout_of
from .merging import Preview, compose, objects_for, stores_of
from .model import pulls
from .writing import person


@dataclass(frozen=True)
class Landed:
    """The merge commit, and the tag of a release."""

    sha: str
    tag: str | None


def land(
    unit: Unit, source: Branch, target: Branch, found: Preview, *, title: str, pull_id: str | None, version: str | None,
    rules: tuple[str, ...],
) -> Landed:  # fmt: skip
    """Merge `found` into the (locked) target. The base branch follows main, so that new sandboxes start from it.

    Raises `conflict` for a version that is tagged already.
    """
    title = vault.clean_text(unit, title)
    entry = _entry(unit, source, target, found, title)
    merged = compose(unit, source, found, [entry])
    tags = {
        "BuilderOS-Actor": unit.actor.name,
        "BuilderOS-Tool": unit.call.tool,
        "BuilderOS-Promotion": pull_id or "",
    }
    who = person(unit.actor.name)
    parents = [bytes.fromhex(target.tip), bytes.fromhex(source.tip)]
    commit = found.batch.put(
        "commit", encode_commit(merged.tree, parents, who, who, unit.now, title, tags.items())
    )
    sha = commit.hex()
    _, target_repo = stores_of(unit, source, target)
    objects = objects_for(found, target_repo, source.tip, merged.tree, commit)
    tag = _tag(unit, target, found, sha, version, title) if version else None
    if tag is not None:
        objects += found.batch.pack([bytes.fromhex(tag[1])])
    payload: dict[str, Any] = {
        "repo": target.repo_name, "repo_id": target.repo_id, "branch": target.name, "old": target.tip,
        "from": source.name, "paths": sorted(path for path, _, _ in found.files),
        "from_sha": source.tip, "promotion": pull_id, "diff_hash": found.digest, "tag": tag[0] if tag else None,
    }  # fmt: skip
    files = _own_files(found, merged, source, target)
    if target.kind == "sandbox":
        allowance.take(unit, target, commits=1, files=files)
    line = ledger.compose(unit, "merge", sha, payload, rules=rules)
    repositories.advance(unit, target, sha, objects, ledger_line=line, files=files, pending=target.pending)
    if target.kind == "main":
        repositories.set_branch(unit, source.id, base_sha=source.tip, files=0)
        _follow(unit, target, sha)
    if tag is not None:
        store, name, oid = unit.get(RepositoryStore), f"refs/tags/{tag[0]}", tag[1]
        unit.after_commit(lambda: store.write_ref(target.store, name, oid))
    return Landed(sha, tag[0] if tag else None)


def _own_files(found: Preview, merged: TreeFiles, source: Branch, target: Branch) -> int:
    """How many files of the target differ from what it stands on, once it has the merge; shared branches count none."""
    if target.kind not in ("sandbox", "dev"):
        return 0
    layout = layout_of(merged)
    stands_on = source.tip if source.kind in ("main", "base") else target.base_sha
    changes = diff_trees(found.batch, tree_of(found.batch, stands_on), merged.tree)
    return sum(not delivery.is_delivery(path, layout) for path, _, _ in changes)


def _entry(unit: Unit, source: Branch, target: Branch, found: Preview, title: str) -> dict[str, Any]:
    return {
        "id": new_id("chg"), "timestamp": rfc3339(unit.now), "paths": [path for path, _, _ in found.files][:200],
        "message": title, "task_id": None, "committed_by": unit.actor.name, "branch": target.name,
        "tool": unit.call.tool, "agent_version": None, "run_id": None, "reverts": None, "merged_from": source.name,
    }  # fmt: skip


def _follow(unit: Unit, main: Branch, sha: str) -> None:
    """Bring the base branch to main's new commit. Its objects are in the same store."""
    repo = repositories.repository_by_id(unit, main.repo_id)
    base = repositories.find_branch(unit, main.repo_id, repo.base_branch, lock=True)
    if base is None or base.state != "active":
        return
    line = ledger.compose(
        unit,
        "base.followed",
        sha,
        {"branch": base.name, "old": base.tip, "repo": main.repo_name, "repo_id": main.repo_id},
    )
    repositories.advance(unit, base, sha, b"", ledger_line=line, commits=0)


def ensure_unreleased(unit: Unit, target: Branch, version: str) -> str:
    """The tag's name; raises `version_exists`. The table counts, too: its ref may still be on the way to the disk."""
    name, c = f"v{version}", pulls.c
    known = unit.execute(sa.select(c.id).where(c.repo_id == target.repo_id, c.tag == name)).first()
    if known is not None or unit.get(RepositoryStore).read_ref(target.store, f"refs/tags/{name}") is not None:
        raise Problem("version_exists", f"{name} is released already", hint="Choose a higher version.")
    return name


def _tag(unit: Unit, target: Branch, found: Preview, sha: str, version: str, title: str) -> tuple[str, str]:
    """Name and id of an annotated tag with release notes; the object is put into the batch."""
    name = ensure_unreleased(unit, target, version)
    who = person(unit.actor.name)
    notes = "\n".join(f"- {path}" for path, _, _ in found.files[:200])
    text = f"{title}\n\n{notes}\n" if notes else f"{title}\n"
    head = f"object {sha}\ntype commit\ntag {name}\n"
    tagger = f"tagger {who.name} <{who.email}> {int(unit.now.timestamp())} +0000\n"
    return name, found.batch.put("tag", f"{head}{tagger}\n{text}".encode()).hex()
