"""The statement of a receipt: what is known of a finished run in the words of in-toto and SLSA.

An in-toto Statement v1 (github.com/in-toto/attestation, spec/v1) with the predicate of SLSA provenance v1
(slsa.dev/provenance/v1). Nothing is added beside their fields: what is ours stands in `externalParameters` (what was
asked for), `internalParameters` (what the server knows of how it went) and `annotations`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from builderos import VERSION
from builderos.core.clock import rfc3339

from .keys import digest

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "urn:builderos:pipeline-run:1"
PAYLOAD: Final = "application/vnd.in-toto+json"


@dataclass(frozen=True, slots=True)
class Step:
    """One step as the receipt tells of it. Hashes are `sha256:…`, trees are ids of git."""

    name: str
    id: str
    action: str
    status: str
    reason: str | None
    attempt: int
    agent: str | None
    key: str | None
    served_from: str | None
    input_tree: str | None
    output_tree: str | None
    runtime: str | None
    tier: str | None
    log: str | None
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a receipt says, gathered."""

    org_id: str
    run_id: str
    kind: str
    pipeline: str
    definition: str
    fingerprint: str
    status: str
    reason: str | None
    params: Mapping[str, Any]
    trigger: Mapping[str, Any]
    actor_id: str
    repo: str | None
    branch: str | None
    base_sha: str | None
    base_tree: str | None
    policy: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime
    steps: Sequence[Step]
    commits: Sequence[str] = ()
    artifacts: Sequence[Mapping[str, Any]] = ()  # path, hash, size, media_type, step, id
    approvals: Sequence[Mapping[str, Any]] = ()
    effects: Sequence[Mapping[str, Any]] = ()
    prompts: Mapping[str, str] = field(default_factory=dict[str, str])
    agents: Mapping[str, str] = field(default_factory=dict[str, str])
    tools: Mapping[str, str] = field(default_factory=dict[str, str])
    runtimes: Mapping[str, str] = field(default_factory=dict[str, str])
    ledger: Mapping[str, Any] = field(default_factory=dict[str, Any])


def statement(facts: Facts, *, public_key: str, key_id: str) -> dict[str, Any]:
    """The statement, plain JSON. `public_key` is base64 of the 32 raw bytes of the Ed25519 key that signs it.

    Raises `ValueError` for params that are not JSON.
    """
    steps = [_step(step) for step in facts.steps]
    build = {
        "buildType": BUILD_TYPE,
        "externalParameters": _asked(facts),
        "internalParameters": _known(facts, steps),
        "resolvedDependencies": _dependencies(facts),
    }
    server = {
        "id": f"urn:builderos:server:{key_id}",
        "version": {"builderos": VERSION},
        "builderDependencies": [_key(public_key, key_id)],
    }
    metadata = {
        "invocationId": facts.run_id,
        "startedOn": rfc3339(facts.started_at or facts.created_at),
        "finishedOn": rfc3339(facts.ended_at),
    }
    details = {"builder": server, "metadata": metadata, "byproducts": _logs(facts)}
    return {
        "_type": STATEMENT, "subject": _subjects(facts, steps), "predicateType": PREDICATE,
        "predicate": {"buildDefinition": build, "runDetails": details},
    }  # fmt: skip


def _subjects(facts: Facts, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the run brought about: its commits, its artifacts, and its own course."""
    repo = facts.repo or ""
    found = [{"name": f"{repo}@{facts.branch}", "digest": {"gitCommit": sha}} for sha in facts.commits]
    found += [
        {
            "name": kept["path"], "digest": {"sha256": bare(kept["hash"])},
            "annotations": {name: kept[name] for name in ("id", "step", "size", "media_type")},
        }
        for kept in facts.artifacts
    ]  # fmt: skip
    return [*found, {"name": facts.run_id, "digest": {"sha256": bare(digest(steps))}}]


def _asked(facts: Facts) -> dict[str, Any]:
    return {
        "pipeline": facts.pipeline, "params": dict(facts.params), "trigger": dict(facts.trigger),
        "repository": facts.repo, "branch": facts.branch,
    }  # fmt: skip


def _known(facts: Facts, steps: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "organisation": facts.org_id, "kind": facts.kind, "status": facts.status, "reason": facts.reason,
        "actor": facts.actor_id, "inputFingerprint": facts.fingerprint, "policyDigest": facts.policy,
        "timeToShipSeconds": time_to_ship_s(facts), "steps": steps,
        "approvals": [dict(item) for item in facts.approvals], "effects": [dict(item) for item in facts.effects],
        "prompts": dict(facts.prompts), "agents": dict(facts.agents), "tools": dict(facts.tools),
        "runtimes": dict(facts.runtimes), "ledger": dict(facts.ledger),
    }  # fmt: skip


def time_to_ship_s(facts: Facts) -> float:
    """From the wish to the end, waiting included."""
    return round((facts.ended_at - facts.created_at).total_seconds(), 3)


def _dependencies(facts: Facts) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"name": facts.pipeline, "digest": {"sha256": bare(facts.definition)}}]
    if facts.base_sha is not None:
        digests = {"gitCommit": facts.base_sha} | ({"gitTree": facts.base_tree} if facts.base_tree else {})
        found.append({"name": f"{facts.repo}@{facts.branch}", "digest": digests})
    if facts.policy:
        found.append({"name": "policy", "digest": {"sha256": bare(facts.policy)}})
    for kind, named in (("prompt", facts.prompts), ("runtime", facts.runtimes)):
        found += [
            {"name": f"{kind}:{name}", "digest": {"sha256": bare(value)}}
            for name, value in sorted(named.items()) if value
        ]  # fmt: skip
    return found


def _logs(facts: Facts) -> list[dict[str, Any]]:
    return [
        {"name": f"log:{step.name}", "digest": {"sha256": bare(step.log)}} for step in facts.steps if step.log
    ]


def _key(public_key: str, key_id: str) -> dict[str, Any]:
    kind = {"scheme": "ed25519"}
    return {
        "name": "public key",
        "digest": {"sha256": key_id},
        "content": public_key,
        "annotations": kind,
    }


def _step(step: Step) -> dict[str, Any]:
    told = {
        "name": step.name, "id": step.id, "action": step.action, "status": step.status, "reason": step.reason,
        "attempt": step.attempt, "agent": step.agent, "key": step.key, "servedFrom": step.served_from,
        "inputTree": step.input_tree, "outputTree": step.output_tree, "runtime": step.runtime, "tier": step.tier,
        "startedOn": rfc3339(step.started_at) if step.started_at else None,
        "finishedOn": rfc3339(step.ended_at) if step.ended_at else None,
    }  # fmt: skip
    return {name: value for name, value in told.items() if value not in (None, "")}


def bare(hash_: str) -> str:
    """The digits of `sha256:…`, as in-toto has them."""
    return hash_.rpartition(":")[2]
