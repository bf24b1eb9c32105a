"""Who acts: the facts that a credential proves, nothing that a client claims."""

from dataclasses import dataclass
from typing import Literal

Role = Literal[
    "owner", "api_key", "sandbox", "share", "anonymous", "system",
    "org_owner", "admin", "builder", "reviewer", "viewer", "invite", "workload",
]  # fmt: skip
MemberRole = Literal["org_owner", "admin", "builder", "reviewer", "viewer"]
Profile = Literal["minimal", "standard", "full", "closing"]  # closing: an owner of what is about to be erased


@dataclass(frozen=True, slots=True)
class Grant:
    """A role in one place (an organisation, a workspace, a project, a repository), and there perhaps in one environment
    alone.
    """

    id: str
    place_id: str
    environment: str  # empty: whatever the environment
    role: MemberRole


@dataclass(frozen=True, slots=True)
class Actor:
    """A caller as the credential proves it.

    `name` is a pseudonym fit for git and the ledger (`sandbox-golden-otter`, `owner`), never a person's data.
    `repo_id`/`sandbox_id`/`branch` are set where the credential is bound to one sandbox.
    `member_id` is the member of the organisation on whose behalf the credential acts: a workspace token or an API key
    keeps the one who made it. A `workload` is an app or a session that calls this server: `id` is its own, and its
    scopes name what it may call (`endpoint:iris`, `model:fast`). `role` holds in the whole organisation, `grants`
    where they say. `session_id` is the signed-in session whose credentials follow each other. `opened_by` is set
    where a workspace acts that somebody known opened: a member's id, or the id of the local owner, who is no member of
    anything.
    """

    role: Role
    id: str
    name: str
    org_id: str
    profile: Profile = "standard"
    scopes: frozenset[str] = frozenset()
    credential_id: str | None = None
    repo_id: str | None = None
    sandbox_id: str | None = None
    branch: str | None = None
    member_id: str | None = None
    grants: tuple[Grant, ...] = ()
    session_id: str | None = None
    opened_by: str | None = None


def is_anonymous(actor: Actor) -> bool:
    """Whether nobody knows who acts: a workspace that neither a member of the organisation nor the local owner opened,
    or no credential at all.
    """
    return actor.role == "anonymous" or (actor.role == "sandbox" and not (actor.member_id or actor.opened_by))


def is_named(actor: Actor, what: str) -> bool:
    """Whether the manifest of a workload names this, e.g. `endpoint:iris`; nobody else has a manifest."""
    return actor.role != "workload" or what in actor.scopes


def system_actor(org_id: str) -> Actor:
    """The server itself: schedules, settling after a crash."""
    return Actor(role="system", id="act_system", name="builderos", org_id=org_id, profile="full")
