"""What a git client sees of a repository: its own branch and main, or, for whoever is bound to no branch, the base."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.schema import Branch, BranchKind, Repository
from builderos.assets.repositories.service import TAGS, RepositoryStore
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.audit.service import access
from builderos.trust.policy import service as policy

from .places import branch_resource

_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_SHARED: Final[tuple[BranchKind, ...]] = ("main", "base", "backup")


@dataclass(frozen=True)
class Address:
    """A repository as the client's URL names it."""

    repo: str
    owner: str | None = None


@dataclass(frozen=True)
class View:
    """One store as one caller may see it.

    `own` is the branch that pushes go to; None where there is none. `refs` are the visible refs with their tips, the
    own one first; `patterns` are the same for git, where namespaces stand for what they hold.
    """

    repo: Repository
    folder: str
    own: Branch | None
    main: Branch
    refs: Mapping[str, str]
    patterns: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """A view for one request, and the first object it asks for that is not in it."""

    view: View
    refused: str | None


def read(unit: Unit, address: Address, wants: Iterable[str] = ()) -> Reading:
    """The view for a fetch, with its refs on disk brought to where the database says they are.

    Raises `not_found` for another repository, `forbidden_branch`, `tool_not_allowed`, `policy_denied`.
    """
    view, wanted = look(unit, address, "git.fetch"), list(wants)
    if wanted:  # the list of refs, which comes before, gives away no content
        branch = view.own or view.main
        access.note(unit, "git.fetch", view.repo.id, repo=view.repo.name, branch=branch.name)
    store = unit.get(RepositoryStore)
    repositories.sync_ref(unit, view.main)
    if view.own is not None:
        repositories.sync_ref(unit, view.own)
        repositories.mirror_ref(unit, view.own, view.main)
    return Reading(view, repositories.unseen(store, view.folder, frozenset(view.refs.values()), wanted))


def look(unit: Unit, address: Address, action: policy.Action) -> View:
    """The view of the unit's actor, after asking the policy about `action` on the branch it is about.

    The stores hold the tips afterwards; the refs in them may still lag (`read`).
    """
    repo = _repository(unit, address)
    main = repositories.main_branch(unit, repo.id)
    own = _own_branch(unit, repo, action)
    policy.require(unit, action, branch_resource(unit, own or main))
    repositories.ready(unit, main)
    if own is None:
        return _base_view(unit, repo, main)
    repositories.ready(unit, own)
    refs = {own.ref: own.tip} | ({main.ref: main.tip} if _readable(unit, main) else {})
    return View(repo, own.store, own, main, refs, tuple(refs))


def _repository(unit: Unit, address: Address) -> Repository:
    """The repository; for a credential bound to one, every other is as if it did not exist."""
    if not _LABEL.match(address.repo) or (address.owner is not None and not _LABEL.match(address.owner)):
        raise _no_repository()
    if unit.actor.repo_id is None:
        return repositories.find_repository(unit, address.repo, address.owner)
    repo = repositories.repository_by_id(unit, unit.actor.repo_id)
    if repo.name != address.repo or address.owner not in (None, repo.owner):
        raise _no_repository()
    return repo


def _no_repository() -> Problem:
    return Problem(
        "not_found",
        "there is no such repository for this credential",
        hint="Check the address you clone from.",
    )


def _own_branch(unit: Unit, repo: Repository, action: policy.Action) -> Branch | None:
    """The branch of a workspace token, or the default write branch for who may do `action` there."""
    if unit.actor.branch is not None:
        branch = repositories.find_branch(unit, repo.id, unit.actor.branch)
        if branch is None or branch.state == "deleted":
            raise Problem(
                "not_found", f"the branch {unit.actor.branch} was deleted",
                hint="Call initSandbox with your token to open it again.",
            )  # fmt: skip
        return branch
    name = unit.settings.default_write_branch
    branch = repositories.find_branch(unit, repo.id, name.removeprefix("refs/heads/")) if name else None
    if branch is None or branch.state != "active" or branch.kind not in ("dev", "sandbox"):
        return None
    return branch if policy.decide(unit, action, branch_resource(unit, branch)).verdict == "allow" else None


def _readable(unit: Unit, branch: Branch) -> bool:
    return policy.decide(unit, "git.fetch", branch_resource(unit, branch)).verdict == "allow"


def _base_view(unit: Unit, repo: Repository, main: Branch) -> View:
    """Main, the base branch, backups and releases, each as far as the caller may read it."""
    shared = [b for kind in _SHARED for b in repositories.list_branches(unit, repo.id, kind=kind)]
    shown = [b for b in shared if b.store == main.store and b.state == "active" and _readable(unit, b)]
    for branch in shown:
        repositories.sync_ref(unit, branch)
    tags = repositories.tag_tips(unit.get(RepositoryStore), main.store)
    heads = {b.ref: b.tip for b in shown}
    return View(repo, main.store, None, main, heads | tags, (*heads, TAGS))
