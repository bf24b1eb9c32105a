"""The one question every verb asks before it acts."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from builderos.core.actor import Actor
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.identity.service import roles

from .actions import Action
from .document import Document
from .file_policy import EXEMPT, Asked, FilePolicy, No
from .force import InForce
from .globs import host_fault
from .loading import NO_MATCH
from .merging import Scene
from .rules import Policy
from .schema import NO_CONTEXT, Decision, RequestContext, Resource


class Refused(Problem):
    """The policy's no, or not yet; `decision` has all deciding rules, the reply one, as `policy_rule`."""

    def __init__(
        self, decision: Decision, action: Action, resource: Resource, paths: tuple[str, ...] = ()
    ) -> None:
        super().__init__(
            decision.code,
            _DETAIL.get(decision.code, "The policy does not allow {action} here.").format(action=action),
            hint=decision.hint,
            policy_rule=decision.rules[0],
        )
        self.decision = decision
        self.action: Action = action
        self.resource = resource
        self.paths = paths
        self.noted: dict[str, object] = {}  # what the ledger line of the refusal has beside the usual


NO_FILE: Final = FilePolicy(Document())
OUTWARD: Final[frozenset[Action]] = frozenset({"network.reach", "secret.use"})
_DETAIL = {
    "approval_required": "{action} waits for an approval.",
    "forbidden_branch": "{action} is not allowed on this branch with this credential.",
    "not_found": "There is no such object.",
    "protected_branch": "{action} is not allowed on a protected branch.",
    "tool_not_allowed": "The profile of this token does not include {action}.",
    "unauthenticated": "{action} needs a credential.",
}


def org_resource(unit: Unit) -> Resource:
    """The unit's own organisation, for acts on all of its things at once (lists of alerts, approvals, audit)."""
    return Resource(kind="org", id=unit.org_id, org_id=unit.org_id)


def acting(unit: Unit, resource: Resource) -> Actor:
    """The unit's actor in the role that it has there: the one in the organisation, unless a grant says otherwise."""
    actor = unit.actor
    if not actor.grants:
        return actor
    role = roles.role_at(actor, places_of(unit, resource), resource.environment)
    return actor if role == actor.role else replace(actor, role=role)


def places_of(unit: Unit, resource: Resource) -> tuple[str, ...]:
    """Ids of all that an object lies in, from the narrowest to the organisation."""
    repo_id = _repository_of(resource)
    if repo_id is None:
        return (*resource.lies_in, unit.org_id)
    if resource.home is None:
        return roles.home_of(unit, repo_id).places(unit.org_id, repo_id)
    return roles.Home.of_text("", resource.home).places(unit.org_id, repo_id)


def _repository_of(resource: Resource) -> str | None:
    if resource.repo_id is None and resource.lies_in and resource.lies_in[0].startswith("repo_"):
        return resource.lies_in[0]
    return resource.repo_id


def decide(
    unit: Unit,
    action: Action,
    resource: Resource,
    context: RequestContext = NO_CONTEXT,
    approved_digests: frozenset[str] = frozenset(),
) -> Decision:
    """What the shipped rules say to the unit's actor, and then the organisation's policy file; records nothing."""
    actor = acting(unit, resource)
    decision = unit.get(Policy).decide(actor, action, resource, context, approved_digests)
    if decision.verdict == "deny" or unit.actor.role == "system" or action in EXEMPT:
        return decision
    no = _no_of_file(unit, action, resource, context.paths)
    return decision if no is None else _denied(no, decision.digest)


def require_paths(unit: Unit, action: Action, resource: Resource, paths: Iterable[str]) -> None:
    """Ask about paths that came to light after `require` has allowed the act itself; raises `Refused`.

    Only the organisation's policy file knows rules for paths, so nothing else is asked.
    """
    if unit.actor.role == "system":
        return
    named = tuple(sorted(paths))
    no = _no_of_file(unit, action, resource, named)
    if no is not None:
        raise Refused(_denied(no, ""), action, resource, named)


def may_reach(unit: Unit, host: str, where: Resource) -> Decision:
    """Whether the unit's actor may reach a host from a repository (`where`: kind `repo`, with the names of its place).

    Denied unless the policy file lists the host under `network`, to the server itself as well. A host is a name of at
    least two labels; whatever a resolver might read as something else (an address, a number, a trailing dot, a port) is
    denied.
    """
    if fault := host_fault(host):
        return Decision("deny", (NO_MATCH,), "policy_denied", fault, "")
    return _outward(unit, "network.reach", where, Asked("network.reach", _tool(unit), host=host))


def may_use_secret(unit: Unit, name: str, where: Resource) -> Decision:
    """Whether a secret may be handed to what the unit's actor runs in a repository (`where`, as in `may_reach`).

    Denied unless the policy file lists the name under `secrets`, to the server itself as well.
    """
    if not name:
        return Decision("deny", (NO_MATCH,), "policy_denied", "Name the secret.", "")
    return _outward(unit, "secret.use", where, Asked("secret.use", _tool(unit), secret=name))


def _outward(unit: Unit, action: Action, where: Resource, asked: Asked) -> Decision:
    decision = unit.get(Policy).decide(acting(unit, where), action, where)
    if decision.verdict == "deny":
        return decision
    no = (unit.get(InForce).of(unit).file or NO_FILE).judge(asked, _scene(unit, where))
    return decision if no is None else _denied(no, decision.digest)


def _no_of_file(unit: Unit, action: Action, resource: Resource, paths: tuple[str, ...]) -> No | None:
    file = unit.get(InForce).of(unit).file
    if file is None:
        return None
    # A model is a tool that is called model:provider/name.
    tool = f"model:{resource.id}" if resource.kind == "model" else _tool(unit)
    return file.judge(Asked(action, tool, paths), _scene(unit, resource))


def _scene(unit: Unit, resource: Resource) -> Scene:
    """Who acts and where. Whoever asked without naming the project is bound by the one that the object lies in."""
    project, home = resource.project, resource.home
    repo_id = _repository_of(resource)
    if repo_id is not None and (project is None or home is None):
        found = roles.home_of(unit, repo_id)
        project, home_name = found.repo_name or project, found.project
    else:
        home_name = home.split("|", 2)[2] if home else ""
    return Scene(unit.actor.name, project, resource.branch, resource.environment, home_name or None)


def _tool(unit: Unit) -> str:
    return unit.call.tool.partition("@")[0]


def _denied(no: No, digest: str) -> Decision:
    return Decision("deny", no.rules, "policy_denied", no.hint, digest)


def require(
    unit: Unit,
    action: Action,
    resource: Resource,
    context: RequestContext = NO_CONTEXT,
    approved_digests: frozenset[str] = frozenset(),
) -> Decision:
    """The decision that allows the act, for its ledger line; raises `Refused` with the deciding rule's code.

    Codes: `approval_required`, `forbidden_branch`, `not_found`, `policy_denied`, `protected_branch`,
    `tool_not_allowed`, `unauthenticated`.
    """
    decision = decide(unit, action, resource, context, approved_digests)
    if decision.verdict != "allow":
        raise Refused(decision, action, resource, context.paths)
    return decision


def named_by_file(unit: Unit, action: Action, resource: Resource) -> tuple[str, ...]:
    """The rules of the policy file that allow the unit's actor this act by its name, among its tools, as the level that
    decides; empty where none does, or one denies it. So an organisation says yes beforehand to what the server may do.
    """
    file = unit.get(InForce).of(unit).file
    if file is None:
        return ()
    scene = _scene(unit, resource)
    found = file.in_scene(scene).merged.allows.get("tools")
    if found is None or action not in found.patterns or file.judge(Asked(action, action), scene) is not None:
        return ()
    return found.rules
