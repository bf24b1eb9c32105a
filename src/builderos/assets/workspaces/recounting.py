"""What the record tells of repositories, branches, sandboxes, backups, promotions and links: their rows, line by line.

Each act leaves a line in the transaction that changes the rows, so the lines in their order tell how the rows stand.
What no line tells, git or the credentials do (`rebuilding`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from builderos.assets.repositories.service import LostBranch, LostRepository, main_id_of

from .pushed import Pusher

SHA_LENGTH: Final = 40


@dataclass(frozen=True)
class Event:
    """One line."""

    type: str
    object: str
    actor: str
    actor_name: str
    at: datetime
    payload: Mapping[str, Any]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Event":
        """A line's body, parsed."""
        at = datetime.fromisoformat(body["at"])
        return cls(body["type"], body["object"], body["actor"], body["actor_name"], at, body["payload"])


@dataclass(frozen=True)
class Push:
    """A push whose changelog entry no commit has written yet."""

    sha: str
    by: Pusher
    entry_id: str
    commits: tuple[str, ...]
    paths: tuple[str, ...]


@dataclass
class Told:
    """Rows by id, as far as lines tell of them."""

    repositories: dict[str, LostRepository] = field(default_factory=dict[str, LostRepository])
    branches: dict[str, LostBranch] = field(default_factory=dict[str, LostBranch])
    sandboxes: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    backups: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    pulls: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    shares: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    pushes: dict[str, list[Push]] = field(default_factory=dict[str, list[Push]])
    names: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def tell(self, event: Event) -> None:
        """Take one more line in; the lines come in their order."""
        teller = _TELLERS.get(event.type)
        if teller is not None:
            teller(self, event)
        elif "old" in event.payload and "repo_id" in event.payload and len(event.object) == SHA_LENGTH:
            _moved(self, event)

    def branch(self, branch: LostBranch) -> None:
        """A new branch."""
        self.branches[branch.id] = branch
        self.names[branch.repo_id, branch.name] = branch.id


def recount(bodies: Iterable[Mapping[str, Any]]) -> Told:
    """What all lines tell."""
    told = Told()
    for body in bodies:
        told.tell(Event.of(body))
    return told


# ---------------------------------------------------------------- repositories and branches


def _repository(told: Told, event: Event) -> None:
    said, id_ = event.payload, event.object
    told.repositories[id_] = LostRepository(
        id_, said["owner"], said["repo"], said["base_branch"], list(said["reserved"]), event.at,
        source=said.get("source"), upstream_branch=said.get("branch"),
    )  # fmt: skip
    told.branch(
        LostBranch(main_id_of(id_), id_, "main", "main", said["head"], said["head"], event.at, event.at)
    )


def _repository_moved(told: Told, event: Event) -> None:
    if event.object in told.repositories:
        told.repositories[event.object].project_id = event.payload["to"]


def _branch(told: Told, event: Event) -> None:
    said = event.payload
    head = said["head"]
    branch = LostBranch(
        event.object, said["repo_id"], said["branch"], said["kind"], head, head, event.at, event.at
    )
    told.branch(branch)


def _moved(told: Told, event: Event) -> None:
    """A commit, a merge or a push."""
    said = event.payload
    branch = told.branches.get(told.names.get((said["repo_id"], said["branch"]), ""))
    if branch is None:
        return
    branch.tip, branch.moved_at = event.object, event.at
    if event.type == "push":
        branch.commits += len(said["commits"])
        branch.base_sha = said["base"]
        _remember_push(told, branch, event)
        return
    branch.commits += event.type != "base.followed"
    if event.type == "merge":
        _merged(told, branch, event)
    elif event.type != "base.followed":
        told.pushes.pop(branch.id, None)  # the server's own commit has written their entries


def _remember_push(told: Told, branch: LostBranch, event: Event) -> None:
    said = event.payload
    if said["entry"] is None:
        return
    by = Pusher(event.actor_name, event.at)
    push = Push(event.object, by, said["entry"], tuple(said["commits"]), tuple(said["paths"]))
    told.pushes.setdefault(branch.id, []).append(push)


def _merged(told: Told, target: LostBranch, event: Event) -> None:
    said = event.payload
    source = told.branches.get(told.names.get((said["repo_id"], said["from"]), ""))
    if target.kind == "main" and source is not None:
        source.base_sha = said["from_sha"]
    elif source is not None and source.kind in ("main", "base"):
        target.base_sha = said["from_sha"]
    pull = told.pulls.get(said["promotion"] or "")
    if pull is not None:
        pull |= {"state": "merged", "merge_sha": event.object, "tag": said["tag"], "merged_at": event.at}


# ---------------------------------------------------------------- sandboxes and their links


def _sandbox(told: Told, event: Event) -> None:
    said, id_ = event.payload, event.object
    branch_id = "br_" + id_.removeprefix("sbx_")
    base = said["base"]
    told.branch(
        LostBranch(branch_id, said["repo_id"], said["branch"], "sandbox", base, base, event.at, event.at)
    )
    told.sandboxes[id_] = {
        "id": id_, "repo_id": said["repo_id"], "branch_id": branch_id, "name": said["branch"], "state": "active",
        "profile": said["profile"], "created_by": event.actor, "created_at": event.at, "last_active_at": event.at,
        "archived_at": None, "deleted_at": None,
    }  # fmt: skip


def _of_sandbox(change: Callable[[Told, Event, dict[str, Any], LostBranch], None]) -> "Teller":
    def teller(told: Told, event: Event) -> None:
        row = told.sandboxes.get(event.object)
        if row is not None:
            change(told, event, row, told.branches[row["branch_id"]])

    return teller


def _resumed(told: Told, event: Event, row: dict[str, Any], branch: LostBranch) -> None:
    row["last_active_at"] = event.at
    if not event.payload["recreated"]:
        return
    row |= {"state": "active", "deleted_at": None}
    branch.tip = branch.base_sha = event.payload["head"]
    branch.state, branch.commits, branch.moved_at = "active", 0, event.at
    told.pushes.pop(branch.id, None)


def _renewed(_told: Told, event: Event, row: dict[str, Any], branch: LostBranch) -> None:
    row |= {"state": "active", "archived_at": None, "last_active_at": event.at}
    branch.state = "active"


def _expired(_told: Told, _event: Event, row: dict[str, Any], _branch: LostBranch) -> None:
    row["state"] = "expired"


def _archived(_told: Told, event: Event, row: dict[str, Any], branch: LostBranch) -> None:
    row |= {"state": "archived", "archived_at": event.at}
    branch.state = "archived"


def _deleted(_told: Told, event: Event, row: dict[str, Any], branch: LostBranch) -> None:
    row |= {"state": "deleted", "deleted_at": event.at}
    branch.state = "deleted"


def _shared(told: Told, event: Event) -> None:
    said = event.payload
    told.shares[said["share_id"]] = {
        "id": said["share_id"], "sandbox_id": event.object, "credential_id": said["credential_id"],
        "created_by": event.actor, "created_at": event.at, "revoked_at": None,
    }  # fmt: skip


def _unshared(told: Told, event: Event) -> None:
    if event.payload["share_id"] in told.shares:
        told.shares[event.payload["share_id"]]["revoked_at"] = event.at


# ---------------------------------------------------------------- backups and promotions


def _backup(told: Told, event: Event) -> None:
    said = event.payload
    until = said["expires_at"]
    told.backups[event.object] = {
        "id": event.object, "branch_id": said["branch_id"], "kind": said["kind"], "scope": said["scope"],
        "ref": said["ref"], "commit_sha": said["commit"], "sha256": said["sha256"], "created_by": event.actor,
        "created_at": event.at, "expires_at": datetime.fromisoformat(until) if until else None,
    }  # fmt: skip


def _backup_removed(told: Told, event: Event) -> None:
    row = told.backups.pop(event.object, None)
    if row is None or row["branch_id"] not in told.branches:
        return
    repo_id = told.branches[row["branch_id"]].repo_id
    kept_as = told.branches.get(told.names.get((repo_id, row["ref"].removeprefix("refs/heads/")), ""))
    if kept_as is not None and kept_as.kind == "backup":
        kept_as.state = "deleted"


def _promotion(told: Told, event: Event) -> None:
    said, id_ = event.payload, event.object
    known = told.pulls.get(id_)
    made = (known["created_by"], known["created_at"]) if known is not None else (event.actor, event.at)
    told.pulls[id_] = {
        "id": id_, "source_branch_id": said["source_branch_id"], "target_branch_id": said["target_branch_id"],
        "title": said["title"], "mode": said["mode"], "version": said["version"], "state": "open",
        "head_sha": said["head"], "base_sha": said["base_sha"], "diff_hash": said["diff_hash"],
        "diff_stat": said["diff_stat"], "checks": said["checks"], "comments": [], "approval_id": said["approval_id"],
        "merge_sha": None, "tag": None, "created_by": made[0], "created_at": made[1], "merged_at": None,
    }  # fmt: skip


def _decided(told: Told, event: Event) -> None:
    pull = told.pulls.get(event.payload["object"])
    if pull is not None and event.payload["state"] == "denied" and pull["approval_id"] == event.object:
        pull["state"] = "closed"


Teller = Callable[[Told, Event], None]
_TELLERS: Final[dict[str, Teller]] = {
    "repo.imported": _repository,
    "repo.created": _repository,
    "repo.moved": _repository_moved,
    "branch.created": _branch,
    "sandbox.created": _sandbox,
    "sandbox.resumed": _of_sandbox(_resumed),
    "sandbox.token_renew": _of_sandbox(_renewed),
    "sandbox.expired": _of_sandbox(_expired),
    "sandbox.archived": _of_sandbox(_archived),
    "sandbox.deleted": _of_sandbox(_deleted),
    "sandbox.shared": _shared,
    "sandbox.unshared": _unshared,
    "backup.created": _backup,
    "backup.removed": _backup_removed,
    "promotion.opened": _promotion,
    "approval.decided": _decided,
}
