"""Looks for credentials in what a change adds to a branch; what the branch or main already holds is not new."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch
from builderos.assets.repositories.service import Arrival, Batch, Commit, Oid
from builderos.core.keys import ServerKeys
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.policy.service import Action
from builderos.trust.secrets.service import Redactor, redact
from builderos.trust.vault import service as vault

from .content import TreeFiles, tree_of
from .merging import Preview
from .places import Place, branch_resource


def guard(
    unit: Unit,
    branch: Branch,
    action: Action,
    before: TreeFiles,
    after: TreeFiles,
    changed: Mapping[str, Any],
) -> None:
    """Raise `CredentialFound` where a change (paths of its files) would bring a new credential into the branch."""
    if unit.actor.role == "system":
        return
    check_names(changed)
    found = suspects_in(unit, branch, before, after, changed)
    if found:
        vault.refuse(unit, action, branch_resource(unit, branch), found)


def guard_settled(unit: Unit, place: Place, found: Preview, settled: Mapping[str, bytes | None]) -> None:
    """Likewise for conflicts that are settled by hand while main comes into a branch."""
    kept, keys = unit.get(vault.Known).pair(unit).guarded, unit.get(ServerKeys)
    sides = (found.ours, found.theirs)
    suspects: list[vault.Suspect] = []
    for path, data in settled.items():
        if data is not None:
            known = partial(_held_by, sides, settled)
            suspects += vault.suspects(keys, place.branch.repo_id, path, data, known, kept)
    if suspects:
        vault.refuse(unit, place.action, branch_resource(unit, place.branch), suspects)


def _held_by(sides: Iterable[TreeFiles], paths: Iterable[str]) -> Iterator[bytes]:
    for files in sides:
        for path in paths:
            yield files.read(path) or b""


def check_names(paths: Iterable[str]) -> None:
    """Raise `invalid_path` where a file is called by a credential: paths are shown and recorded everywhere."""
    names = "\n".join(paths).encode("utf-8", "replace").decode()
    if redact(names) != names:
        raise Problem(
            "invalid_path", "the name of a file holds a credential", hint="Call the file by another name."
        )


def suspects_in(
    unit: Unit, branch: Branch, before: TreeFiles, after: TreeFiles, changed: Mapping[str, Any]
) -> list[vault.Suspect]:
    """Credentials that `after` has in the changed files and neither `before` nor main has."""
    keys, found = unit.get(ServerKeys), list[vault.Suspect]()
    kept = unit.get(vault.Known).pair(unit).guarded
    known = partial(_known, unit, branch, before, after, changed)
    for path in changed:
        now, was = after.entry(path), before.entry(path)
        if now is None or now.is_tree or now == was:
            continue
        data = after.batch.read(now.oid)[1]
        found += vault.suspects(keys, branch.repo_id, path, data, known, kept)
    return found


def _known(
    unit: Unit, branch: Branch, before: TreeFiles, after: TreeFiles, changed: Mapping[str, Any]
) -> Iterator[bytes]:
    """What stands where something is changed now: in the branch and in main. A file that moves brings nothing new."""
    main = repositories.main_branch(unit, branch.repo_id)
    mains = TreeFiles(after.batch, tree_of(after.batch, main.tip))
    for path in changed:
        for files in (before, mains):
            yield files.read(path) or b""


def suspects_pushed(
    keys: ServerKeys,
    repo_id: str,
    sizes: Iterable[tuple[Oid, int]],
    arrival: Arrival,
    commits: Mapping[str, Commit],
    looking: "Looking",
) -> list[vault.Suspect]:
    """Credentials in the files, messages and makers of a push, also those that a later commit of it takes out again."""
    found: list[vault.Suspect] = []
    for oid, _ in sizes:
        path = arrival.objects[oid]
        if not looking.in_main(oid):
            data = looking.batch.read(oid)[1]
            found += vault.suspects(keys, repo_id, path, data, partial(looking.before, path), looking.kept)
    for sha, commit in commits.items():
        found += vault.suspects(
            keys, repo_id, f"message of commit {sha[:10]}", commit.message.encode(), tuple, looking.kept
        )
        said = _said_of_itself(looking.batch.read(bytes.fromhex(sha))[1])
        found += vault.suspects(keys, repo_id, f"author of commit {sha[:10]}", said, tuple, looking.kept)
    return found


def _said_of_itself(commit: bytes) -> bytes:
    """What a commit says of its makers and whatever else its maker wrote above the message. Ids and signatures are
    left out: they look like credentials.
    """
    kept, signed = list[bytes](), False
    for line in commit.partition(b"\n\n")[0].split(b"\n"):
        if not line.startswith(b" "):  # else it goes on with the one before
            signed = line.startswith((b"tree ", b"parent ", b"gpgsig"))
        if not signed:
            kept.append(line)
    return b"\n".join(kept)


@dataclass(frozen=True)
class Looking:
    """What a push is compared with: `files` are the trees of the branch before it and of main, `touched` its paths."""

    batch: Batch
    files: tuple[TreeFiles, ...]
    touched: tuple[str, ...]
    in_main: Callable[[Oid], bool]
    kept: Redactor

    def before(self, path: str) -> Iterator[bytes]:
        """Contents that the file, or one that may have been moved to it, had in any of them."""
        for name in (path, *self.touched):
            for files in self.files:
                yield files.read(name) or b""
