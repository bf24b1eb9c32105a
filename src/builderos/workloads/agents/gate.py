"""The one gate before every tool call, whoever makes it: policy of the organisation, of the agent, and approvals.

What a model says plays no part in it. An approval is bound to the digest of tool, arguments and workspace: with other
arguments it is asked for again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from builderos.assets.repositories import service as repositories
from builderos.assets.workspaces import service as workspaces
from builderos.core.context import Context
from builderos.core.paths import fold
from builderos.core.problems import Problem
from builderos.core.steps import Work
from builderos.core.unit import Call, Unit
from builderos.execution.runs import service as runs
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import RequestContext, Resource

from .definition import Agent

Effect = Literal["read", "write", "outside"]
BUILT_IN: Final = (
    "ask_question", "delete_file", "edit_file", "list_files", "read_file", "recall", "remember", "run_shell",
    "run_tests", "search_files", "write_file",
)  # fmt: skip
MCP: Final = "mcp"  # a tool of an MCP server
LISTING: Final = "mcp_server"  # such a server itself: being told what it offers
APPROVALS: Final = tuple(f"tool.{name}" for name in (*BUILT_IN, MCP, LISTING, "verb", "foreign"))
# What says how agents and pipelines work here: who changes it changes what the next run may do.
RULES: Final = (
    "builderos.policy.yaml", "builderos.yaml", "mcp.yaml", "agents/**", "prompts/**", "ship/**",
    "project/changelog.yaml", "project/changelog/**", ".logs/**",  # what the server alone writes
)  # fmt: skip
_SHOWN: Final = 20_000


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of a tool. `kind` is the word that approvals go by: the tool's own name, or `mcp`, `verb`, `foreign`.
    `paths` are what it changes, as far as that is known before."""

    tool: str
    version: str
    kind: str
    effect: Effect
    args: Mapping[str, Any]
    paths: tuple[str, ...] = ()

    def digest(self, step_id: str, tree: str) -> str:
        """`sha256:…` of exactly what would be done, and where. Raises `ValueError` for what is no JSON."""
        return runs.digest(
            {"tool": f"{self.tool}@{self.version}", "args": dict(self.args), "step": step_id, "tree": tree}
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says: the rules that allow it, or the approval that it waits for."""

    rules: tuple[str, ...]
    approval_id: str | None = None
    approved: bool = False


class Forbidden(Problem):
    """The agent's own file says no."""

    def __init__(self, agent: Agent, detail: str) -> None:
        super().__init__(
            "policy_denied", detail, hint="Do without it, or ask for it with ask_question.",
            policy_rule=f"agent:{agent.name}",
        )  # fmt: skip
        self.rules = (f"agent:{agent.name}",)


def call_of(context: Context, work: Work, agent: Agent, tool: str) -> Call:
    """On whose behalf a tool acts: whoever started the run, with the rights of now, under the agent's name.

    Raises `token_invalid` where they may act no more. Blocks.
    """
    call = context.get(runs.Callers).of(context, work.call.actor.org_id, work.run_id)
    return replace(call, actor=replace(call.actor, name=agent.name), tool=f"{tool}@1")


def resource_of(unit: Unit, work: Work) -> Resource:
    """What tools act upon: the branch of the run, or the organisation."""
    if work.branch_id is None:
        return policy.org_resource(unit)
    return workspaces.branch_resource(unit, repositories.branch_by_id(unit, work.branch_id))


def judge(unit: Unit, work: Work, agent: Agent, asked: Asked, tree: str, prompt: str) -> Verdict:
    """Whether this call may be made now. Raises `policy.Refused`, `Forbidden`.

    Where somebody has to say yes first, the request is in this unit; the call is not made.
    """
    context = RequestContext(paths=asked.paths)
    decision = policy.require(unit, "tool.use", resource_of(unit, work), context)
    check(agent, asked)
    why = _asks(unit, agent, asked)
    if not why:
        return Verdict(decision.rules)
    action, digest = f"tool.{asked.kind}", asked.digest(work.step_id, tree)
    if policy.approvals.is_approved(unit, action=action, object_=work.step_id, diff_hash=digest):
        return Verdict((*decision.rules, why), approved=True)
    shown = json.dumps({"tool": asked.tool, "arguments": dict(asked.args)}, indent=2, ensure_ascii=False)[
        :_SHOWN
    ]
    where = {"repo": work.repo_name, "branch": work.branch} if work.repo_name else None
    approval_id = policy.approvals.request(
        unit, action=action, object_=work.step_id, diff=shown,
        diff_stat={"files": len(asked.paths), "added": 0, "deleted": 0}, diff_hash=digest,
        reason=f"{agent.role} {agent.ref} wants to use {asked.tool} in {work.name}"[:2000],
        risk="high" if asked.effect == "outside" or asked.kind == "delete_file" else "medium",
        risk_reasons=[why], where=where, run_id=work.run_id, step_id=work.step_id, requested_by=unit.actor.id,
        prompt_version=prompt,
    )  # fmt: skip
    return Verdict((*decision.rules, why), approval_id)


def check(agent: Agent, asked: Asked) -> None:
    """What the agent's own file says. Raises `Forbidden`."""
    bounds = agent.policy
    if runs.any_fits(bounds.deny_tools, [asked.tool]):
        raise Forbidden(agent, f"{agent.name} may not use {asked.tool}.")
    for path in asked.paths:
        if not may_change(agent, path):
            raise Forbidden(agent, f"{agent.name} may not change {path[:200]}.")


def may_change(agent: Agent, path: str) -> bool:
    """Whether the agent's own file lets it change a path; rules of agents and pipelines only where it names them."""
    bounds = agent.policy
    if runs.any_fits(bounds.deny_paths, [path]):
        return False
    if runs.any_fits(RULES, [fold(path)]):
        return runs.any_fits(bounds.ask_paths, [path])
    return runs.any_fits((*bounds.allow_paths, *bounds.ask_paths), [path])


def _asks(unit: Unit, agent: Agent, asked: Asked) -> str:
    """The rule that wants a person's yes; empty where none does."""
    bounds = agent.policy
    if runs.any_fits(bounds.ask_tools, [asked.tool]) or runs.any_fits(bounds.ask_paths, asked.paths):
        return f"agent:{agent.name}:ask"
    action = f"tool.{asked.kind}"
    for rule in policy.document_in_force(unit).approvals:
        if action in rule.actions or "tool.use" in rule.actions:
            return rule.id
    return ""
