"""The record of an execution: what went into a step and what came out of it, under one seal.

One mechanism for three uses: a step with an equal key may be served from a record (`cache`), a run is executed again
from its records (`replay`), and a receipt tells of them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from builderos.core.home import project_state
from builderos.core.steps import Done, Work
from builderos.core.unit import Unit
from builderos.execution.compute import service as compute
from builderos.trust.policy import service as policy

from .definition import Node
from .keys import FIXED, Ingredients, canonical, definition_of, ingredients_of
from .logs import end_of
from .model import runs
from .records_model import step_records

REPRODUCIBLE: Final = (None, "exit")
"""Reasons of an end that another execution comes to again; of all others (time, memory, a lost machine) nobody can say
that."""
_TAKEN_OVER: Final = 20
_NAMES: Final = ("BUILDEROS_RUN_ID", "BUILDEROS_STEP", compute.ATTEMPT)


@dataclass(frozen=True, slots=True)
class Material:
    """What is known of an attempt before it is made. `environment`: all that the command finds beside the system's.

    `source` is the record that it was served from, `run/step`.
    """

    ingredients: Ingredients
    runtime: str
    environment: Mapping[str, str]
    source: str | None = None

    @property
    def key(self) -> str:
        """The key of the step."""
        return self.ingredients.key


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `artifacts`: path, hash (`sha256:…`), size, media_type, id of each."""

    run_id: str
    step_id: str
    name: str
    attempt: int
    key: str
    ingredients: Ingredients
    environment: Mapping[str, str]
    runtime: str
    status: str
    reason: str | None
    error: str
    exit_code: int | None
    output_tree: str | None
    result: Mapping[str, Any]
    artifacts: tuple[Mapping[str, Any], ...] = ()
    log: str | None = None
    source: str | None = None
    deterministic: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Damaged(Exception):
    """A record is not as it was written."""


def environment_of(work: Work) -> dict[str, str]:
    """What a command finds beside the system's own variables; what the step sets counts most."""
    own = dict(zip(_NAMES, (work.run_id, work.name, str(work.attempt)), strict=True))
    return dict(FIXED) | own | {name: str(value) for name, value in work.node.env.items()}


def material(unit: Unit, work: Work) -> Material:
    """What an attempt is going to be made of. Raises `runtime_not_approved` as running it would."""
    node: Node = work.node
    runtime, digest, profile = "", "", ""
    if node.run is not None:
        runtime, digest, profile = compute.runtime_of(
            unit, work.repo_id, node.runtime or "", node.profile or ""
        )
    environment = environment_of(work)
    made = Ingredients(
        definition=definition_of(node.as_json()) | {"runtime": runtime, "profile": profile},
        tree=work.input_tree or work.base_tree or "", inputs=dict(node.inputs),
        params=dict(work.params) if node.run is None else {},
        env={name: value for name, value in environment.items() if name not in _NAMES},
        tools={work.action: "1"}, runtime=digest, reach=_reach(unit, work),
    )  # fmt: skip
    return Material(made, runtime, environment)


def _reach(unit: Unit, work: Work) -> dict[str, Any]:
    """Hosts and secrets are given to somebody: nobody else is served what came of them, nor anybody once the rules
    have changed."""
    node: Node = work.node
    if not node.network and not node.secrets:
        return {}
    return {"actor": unit.actor.id, "policy": unit.get(policy.InForce).of(unit).digest}


def write(unit: Unit, work: Work, done: Done, kept: list[dict[str, Any]]) -> str | None:
    """Write the record of an attempt in the unit that records it; its key. None where there is nothing to record."""
    known = done.record
    if not isinstance(known, Material):
        return None
    if done.reason not in REPRODUCIBLE:
        return known.key
    node: Node = work.node
    output = (
        done.output_tree if done.status == "failed" else done.output_tree or work.input_tree or work.base_tree
    )
    body = canonical(
        {
            "run": work.run_id, "step": work.step_id, "name": work.name, "attempt": work.attempt, "key": known.key,
            "ingredients": known.ingredients.as_json(), "environment": dict(known.environment),
            "runtime": known.runtime, "status": done.status, "reason": done.reason, "error": done.error[:2000],
            "exit_code": done.exit_code, "output_tree": output, "result": dict(done.result), "artifacts": kept,
            "log": _log_of(unit, work), "source": known.source, "deterministic": node.deterministic,
        }
    )  # fmt: skip
    values = {
        "org_id": unit.org_id, "step_id": work.step_id, "attempt": work.attempt, "run_id": work.run_id,
        "repo_id": work.repo_id, "name": work.name, "key": known.key,
        "servable": node.cache and done.status == "succeeded", "body": body, "seal": seal_of(unit.org_id, body),
        "recorded_at": unit.now,
    }  # fmt: skip
    unit.execute(sa.insert(step_records).values(**values))
    return known.key


def seal_of(org_id: str, body: str) -> bytes:
    """The hash over a record; that of another organisation has another one."""
    return hashlib.sha256(f"{org_id}\0{body}".encode("utf-8", "surrogatepass")).digest()


def read(row: Any) -> Record:
    """The record of a row. Raises `Damaged` where it is not what was sealed, or does not belong here."""
    if bytes(row.seal) != seal_of(row.org_id, row.body):
        raise Damaged("its seal does not fit")
    told: dict[str, Any] = json.loads(row.body)
    if (told["run"], told["step"], told["attempt"], told["key"]) != (
        row.run_id,
        row.step_id,
        row.attempt,
        row.key,
    ):
        raise Damaged("it is another step's")
    ingredients = ingredients_of(told["ingredients"])
    if ingredients.key != row.key:
        raise Damaged("its key is not that of its ingredients")
    return Record(
        row.run_id, row.step_id, row.name, row.attempt, row.key, ingredients, told["environment"], told["runtime"],
        told["status"], told["reason"], told["error"], told["exit_code"], told["output_tree"], told["result"],
        tuple(told["artifacts"]), told["log"], told["source"], told["deterministic"],
    )  # fmt: skip


def step_with_record(unit: Unit, run_id: str, name: str) -> str | None:
    """The step whose record tells of the one of this name: itself, or in an earlier run that it was taken over from."""
    c = step_records.c
    at: str | None = run_id
    for _ in range(_TAKEN_OVER):
        wanted = sa.select(c.step_id).where(c.org_id == unit.org_id, c.run_id == at, c.name == name)
        found = unit.execute(wanted.limit(1)).scalar_one_or_none()
        if found is not None:
            return str(found)
        at = unit.execute(sa.select(runs.c.rerun_of).where(runs.c.id == at)).scalar_one_or_none()
        if at is None:
            return None
    return None


def of_step(unit: Unit, run_id: str, name: str) -> Record | None:
    """The record of a step, or of the one that it was taken over from; None where there is none that can be used."""
    step_id = step_with_record(unit, run_id, name)
    c = step_records.c
    wanted = sa.select(step_records).where(c.org_id == unit.org_id, c.step_id == step_id)
    row = unit.execute(wanted.order_by(c.attempt.desc()).limit(1)).one_or_none()
    try:
        return read(row) if row is not None else None
    except Damaged:
        return None


def _log_of(unit: Unit, work: Work) -> str | None:
    """The hash of the attempt's log, once it is whole."""
    state = project_state(unit.settings.home_dir, unit.org_id, work.project_id)
    path = end_of(state / "logs" / work.run_id / f"{work.name}.{work.attempt}.log")
    try:
        return f"sha256:{json.loads(path.read_text())['sha256']}"
    except (OSError, ValueError, KeyError):
        return None  # a step without output of its own, or a disk that took no more
