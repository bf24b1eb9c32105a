"""What a git client may read: `git upload-pack` with a view of chosen refs, and the guard over what is asked for.

Hidden refs alone isolate nothing: protocol v2 hands out any object whose id is asked for, and v0 does once it allows
partial clones. So the ids that a request wants are checked before git sees it.
"""

from collections.abc import Collection, Iterable
from typing import Final

import pygit2

from .gitcli import GitCommand, git_command
from .objects import Oid
from .store import RepositoryStore

TAGS: Final = "refs/tags/"
_FILTERS: Final = (
    "blob:none",
    "blob:limit",
    "tree",
    "object:type",
    "combine",
)  # not sparse:oid, which reads an object


def upload_pack(
    store: RepositoryStore, folder: str, refs: Iterable[str], *, version: int, advertise: bool
) -> GitCommand:
    """Serves one request of the smart HTTP protocol from the store at `folder`, which shows only `refs`.

    A ref is named in full, or as a namespace that ends with a slash. `version` is the protocol's (0 to 2); `advertise`
    asks for the opening list instead of an answer to a request on stdin.
    """
    config = [
        ("transfer.hideRefs", "refs/"), *(("transfer.hideRefs", f"!{ref.rstrip('/')}") for ref in refs),
        ("uploadpack.allowFilter", "true"), ("uploadpack.allowAnySHA1InWant", "true"),
        ("uploadpack.allowRefInWant", "false"), ("transfer.advertiseObjectInfo", "false"),
        ("uploadpackfilter.allow", "false"), *((f"uploadpackfilter.{name}.allow", "true") for name in _FILTERS),
        ("pack.threads", "1"), ("pack.windowMemory", "64m"), ("core.alternateRefsCommand", "true"),
    ]  # fmt: skip
    mode = ["--http-backend-info-refs"] if advertise else []
    env = {"GIT_PROTOCOL": f"version={version}"} if version else {}
    args = ["upload-pack", "--strict", "--stateless-rpc", *mode, str(store.path(folder))]
    return git_command(args, config=config, env=env)


def unseen(store: RepositoryStore, folder: str, tips: Collection[str], wants: Iterable[str]) -> str | None:
    """The first of `wants` (object ids in hex) that a view of `tips` does not give; None where all are given.

    A commit must be reachable from a tip; a tag must be one. Files and folders need only exist: the store holds this
    branch and what its repository has merged, and a partial clone asks for them one by one.
    """
    repo = store.open(folder)
    commits: list[str] = []
    for want in wants:
        if want in tips:
            continue
        kind = _kind(repo, want)
        if kind == pygit2.enums.ObjectType.COMMIT:
            commits.append(want)
        elif kind not in (pygit2.enums.ObjectType.BLOB, pygit2.enums.ObjectType.TREE):
            return want
    return _unreachable(repo, tips, commits)


def holds(store: RepositoryStore, folder: str, oid: Oid) -> bool:
    """Whether the store at `folder`, or the base it borrows from, has this object."""
    return pygit2.Oid(raw=oid) in store.open(folder)


def tag_tips(store: RepositoryStore, folder: str) -> dict[str, str]:
    """Every tag of a store with the object it names. Only the server makes tags, for releases."""
    repo = store.open(folder)
    return {ref.name: str(ref.target) for ref in repo.references.iterator() if ref.name.startswith(TAGS)}


def _kind(repo: pygit2.Repository, sha: str) -> pygit2.enums.ObjectType | None:
    try:
        return repo.odb.read_header(pygit2.Oid(hex=sha))[0]
    except KeyError:
        return None


def _unreachable(repo: pygit2.Repository, tips: Iterable[str], commits: list[str]) -> str | None:
    if not commits:
        return None
    walker = repo.walk(None)
    for sha in commits:
        walker.push(sha)
    for tip in tips:
        if _kind(repo, tip) is not None:
            walker.hide(tip)
    first = next(iter(walker), None)
    return None if first is None else str(first.id)
