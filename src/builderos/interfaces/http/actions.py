"""`listActions`: which tools there are, as far as the caller may use them. It is here because it needs all rooms."""

from typing import Annotated, Final, Literal

from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.core.actor import Actor
from builderos.core.application import Application
from builderos.core.operations import Operation, Operations
from builderos.core.schema import In, Line, Out, ToolIn
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy

routes = Operations("tools")

# A key without one of these scopes cannot use what needs it, whatever the resource.
WRITE: Final = "write"
READERS: Final = frozenset({"reviewer", "viewer"})
BUILDERS: Final = frozenset({"org_owner", "admin", "builder"})
PROMOTE: Final = "promote"

Group = Annotated[Line | None, Field(description="Only tools of this group, e.g. tasks.")]


class ActionsIn(ToolIn):
    """Which tools to list."""

    group: Group = None


class ActionsGetIn(In):
    """The same without a body: the credential stands in the Authorization header."""

    group: Group = None


class Tool(Out):
    """One tool. `sensitivity`: it reads, writes, or does what should be confirmed first."""

    name: str
    version: str
    group: str
    summary: str
    sensitivity: Literal["read", "write", "consequential"]
    deprecated: bool
    schema_ref: str


class ActionsOut(Out):
    """The tools that the caller may use; a credential without a branch of its own has null there."""

    tools: list[Tool]
    repo_name: str | None
    branch: str | None
    message: str


@routes.post("/actions/list", "listActions", effect="read", profile="minimal")
def list_actions(unit: Unit, body: ActionsIn) -> ActionsOut:
    """List the tools you may use, with their versions and schemas."""
    return listed(unit, body.group)


@routes.get("/actions/list", "getActions")
def get_actions(unit: Unit, body: ActionsGetIn) -> ActionsOut:
    """List the tools you may use (with an Authorization header; otherwise use listActions)."""
    return listed(unit, body.group)


def listed(unit: Unit, group: str | None) -> ActionsOut:
    """Every operation that the caller's profile, role and scopes leave. Raises `policy_denied` for a read-only link."""
    policy.require(unit, "tools.list", policy.org_resource(unit))
    actor = unit.actor
    operations = unit.get(Application).operations()
    tools = [_tool(o) for o in operations if may_use(actor, o) and group in (None, o.group)]
    repo = repositories.repository_by_id(unit, actor.repo_id).name if actor.repo_id is not None else None
    where = f" on branch {actor.branch} of {repo}" if actor.branch is not None else ""
    return ActionsOut(
        tools=tools, repo_name=repo, branch=actor.branch, message=f"You may use {len(tools)} tools{where}."
    )  # fmt: skip


def may_use(actor: Actor, operation: Operation) -> bool:
    """Whether a caller can ever use an operation; on which branch is asked of the policy when it is called."""
    if actor.profile == "minimal":
        return operation.profile == "minimal" and not operation.deprecated
    if actor.role == "sandbox":
        if operation.name == "promote" and actor.scopes and PROMOTE not in actor.scopes:
            return False
        return operation.profile != "platform" or (operation.deprecated and operation.method == "POST")
    if actor.role == "api_key" and operation.effect == "write":
        return (PROMOTE if operation.name == "promote" else WRITE) in actor.scopes or _administers(
            actor, operation
        )
    if actor.role in BUILDERS | READERS and operation.effect == "write" and operation.profile != "platform":
        return actor.role in BUILDERS and WRITE in actor.scopes
    return True


def _administers(actor: Actor, operation: Operation) -> bool:
    return operation.profile == "platform" and bool(actor.scopes & {"admin", "approve"})


def _tool(operation: Operation) -> Tool:
    path = operation.path.replace("~", "~0").replace("/", "~1")
    return Tool(
        name=operation.name,
        version=operation.version,
        group=operation.group,
        summary=operation.summary,
        sensitivity="consequential" if operation.consequential else operation.effect,
        deprecated=operation.deprecated,
        schema_ref=f"/openapi.json#/paths/{path}/{operation.method.lower()}",
    )
