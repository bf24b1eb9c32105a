"""Replaying a run: an ordinary run of kind `replay` whose steps are executed once more from their records.

It walks the same way, through the same jail, with the network off; it commits nothing, asks nobody, does nothing
outside. With one thing changed (`against`) the steps that it touches are executed anew, all others keep their outcome.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.core.operations import Reply
from builderos.core.problems import Problem
from builderos.core.registry import Registry
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy

from . import records, sources, starting
from .definition import Definition, Node, Retries, bind, expand, node_of
from .model import steps
from .replay_prompts import with_prompt
from .replay_schema import ReplayIn, ReplayStarted
from .replay_steps import REPLAY, Told
from .rows import OVER, Row, find_run
from .seen import resource_of, seen_run

_AGAINST: Final = re.compile(
    r"(?P<kind>[a-z_]{1,40})(?:\.(?P<name>[^=@\s]{1,200}))?[=@](?P<value>.*)\Z", re.DOTALL
)
_VERSION: Final = re.compile(r"(?P<name>[a-z][a-z0-9_-]{0,62})@(?P<version>[^\s#@]{1,60})\Z")
PROMPT: Final = "prompt"
_RAN: Final = frozenset({"succeeded", "cached", "failed", "timed_out", "denied"})
_TAKEN: Final = (
    "project_id", "repo_id", "branch_id", "repo_name", "branch", "pipeline", "version", "params", "definition",
    "definition_digest", "input_fingerprint", "priority", "base_sha", "base_tree",
)  # fmt: skip

Variant: TypeAlias = Callable[[Unit, Row, list[Node], str, str], list[Node]]
"""The nodes of a run with one thing changed: `(unit, run, nodes, name, value)`. Raises `validation_failed`,
`not_found`."""


class Variants(Registry[Variant]):
    """What may be changed for a replay: `param`, `env`, `pipeline`, `prompt`; other rooms add theirs."""

    def __init__(self) -> None:
        super().__init__("ingredient")


def builtin(variants: Variants) -> None:
    """Enrol what this room can change itself."""
    variants.enrol("param", _with_param)
    variants.enrol("env", _with_env)
    variants.enrol("pipeline", _with_pipeline)
    variants.enrol(PROMPT, with_prompt)


def start(unit: Unit, body: ReplayIn) -> Reply[ReplayStarted]:
    """Begin to replay a run that has ended. Raises `not_found`, `illegal_transition`, `validation_failed`, what the
    policy says of starting runs.
    """
    seen_run(unit, body.id)
    old = find_run(unit, body.id)  # with its definition
    policy.require(unit, "run.start", resource_of(unit, old))
    if old.status not in OVER or old.kind == REPLAY:
        what = "is a replay itself" if old.kind == REPLAY else f"is {old.status}"
        raise Problem(
            "illegal_transition", f"the run {what}", hint="Replay a run that has ended.", allowed=[]
        )
    rows = unit.execute(sa.select(steps).where(steps.c.run_id == old.id).order_by(steps.c.position)).all()
    nodes = (
        _varied(unit, old, rows, body.against)
        if body.against
        else [_as_it_went(unit, old, row) for row in rows]
    )
    values: dict[str, Any] = {name: getattr(old, name) for name in _TAKEN}
    lanes = old.definition.get("lanes", "fail_fast") if body.against else "continue"
    trigger = {"type": REPLAY, "by": unit.actor.id, "run_id": old.id, "against": body.against}
    values |= {"kind": REPLAY, "rerun_of": old.id, "lanes": lanes, "trigger": trigger}
    run_id = starting.insert_run(unit, values, starting.rows_of(nodes), old.definition.get("timeout_s"))
    changed = f" with {body.against}" if body.against else ""
    text = f"Replaying {old.id}{changed} as {run_id}. Nothing is committed and nothing is done outside."
    return Reply(
        202, ReplayStarted(run_id=run_id, of=old.id, against=body.against, status="queued", message=text)
    )


def _as_it_went(unit: Unit, old: Row, row: Row) -> Node:
    """The node of a step as a plain replay carries it out: the same ones run, whatever others come to."""
    node = node_of(row.spec)
    told = _told(unit, old, row, node, vary=False)
    return replace(
        node, replay=told.as_json(), when=["value", row.status in _RAN], gates=(), retries=Retries(), on_fail="stop",
        cache=False, needs=tuple(row.needs),
    )  # fmt: skip


def _told(unit: Unit, old: Row, row: Row, node: Node, *, vary: bool) -> Told:
    """Whether a step is executed again, and if not, why."""
    asked = vary and node.agent is not None
    found = records.step_with_record(unit, old.id, row.name) if node.run is not None or asked else None
    if asked and found is not None:
        return Told(old.id, found, "agent", "", vary)
    why = (
        "it is not a command" if node.run is None
        else "it is not deterministic" if not node.deterministic
        else "it used the network" if node.network
        else f"it may end otherwise: {row.reason}" if row.reason not in records.REPRODUCIBLE and not vary
        else "it has no record" if found is None
        else ""
    )  # fmt: skip
    return Told(old.id, row.id if found is None else found, "record" if why else "again", why, vary)


# -------------------------------------------------------------------- one thing changed


def _varied(unit: Unit, old: Row, rows: Any, against: str) -> list[Node]:
    """The nodes with one thing changed. A step that was not there then cannot be compared: it is left out."""
    variants = unit.get(Variants)
    kind, name, value = _asked(against, variants)
    before = {row.name: row for row in rows}
    nodes = [node_of(row.spec) for row in rows]
    made = variants.get(kind)(unit, old, nodes, name, value)
    kept = [node for node in made if node.id in before]
    names = {node.id for node in kept}
    return [
        replace(
            node, replay=_told(unit, old, before[node.id], node, vary=True).as_json(), gates=(), retries=Retries(),
            cache=False, needs=tuple(need for need in node.needs if need in names),
        )
        for node in kept
    ]  # fmt: skip


def _asked(against: str, variants: Variants) -> tuple[str, str, str]:
    """Kind, name and value of what is to be changed. `NAME@VERSION` means a prompt."""
    asked, prompt = _AGAINST.match(against), _VERSION.match(against)
    if asked is not None and asked["kind"] in variants:
        return asked["kind"], asked["name"] or "", asked["value"]
    if prompt is not None:
        return PROMPT, prompt["name"], prompt["version"]
    raise Problem(
        "validation_failed", f"{against[:80]!r} names nothing that can be changed",
        hint=f"Say KIND.NAME=VALUE, KIND@VALUE, or NAME@VERSION of a prompt; kinds: {', '.join(sorted(variants))}.",
        allowed=sorted(variants),
    )  # fmt: skip


def _with_env(unit: Unit, run: Row, nodes: list[Node], name: str, value: str) -> list[Node]:
    del unit, run
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,200}", name) or "\0" in value:
        raise Problem("validation_failed", "no variable is named", hint="Say env.NAME=VALUE.")
    return [replace(node, env={**node.env, name: value}) for node in nodes]


def _with_param(unit: Unit, run: Row, nodes: list[Node], name: str, value: str) -> list[Node]:
    del nodes
    return _expanded(unit, run, _definition(unit, run, str(run.version)), {**run.params, name: _json(value)})


def _with_pipeline(unit: Unit, run: Row, nodes: list[Node], name: str, value: str) -> list[Node]:
    del nodes
    if name:
        raise Problem("validation_failed", "only the pipeline's own version", hint="Say pipeline@VERSION.")
    return _expanded(unit, run, _definition(unit, run, value), run.params)


def _definition(unit: Unit, run: Row, version: str) -> Definition:
    branch = repositories.branch_by_id(unit, run.branch_id) if run.branch_id else None
    found = sources.find(unit, f"{run.pipeline}@{version}", branch)
    if version == run.version and found.digest != run.definition_digest:
        raise Problem(
            "conflict", f"{found.ref} is not what it was when the run was started",
            hint="Publish each change under a version of its own.",
        )  # fmt: skip
    return found


def _expanded(unit: Unit, run: Row, definition: Definition, params: Mapping[str, Any]) -> list[Node]:
    branch = repositories.branch_by_id(unit, run.branch_id) if run.branch_id else None
    facts = {"branch": run.branch, "trigger": run.trigger.get("type"), "pipeline": definition.ref}
    return expand(definition, bind(definition, params), facts=facts, resolve=sources.resolver(unit, branch))


def _json(text: str) -> Any:
    """A value as JSON where it is some, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
