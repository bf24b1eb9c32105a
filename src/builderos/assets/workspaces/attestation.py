"""The provenance of a commit as others verify it: an in-toto Statement in a DSSE envelope, signed by this server."""

import json
from typing import Annotated, Any, Final

from pydantic import Field

from builderos.core.schema import In, Out, Sha
from builderos.core.unit import Unit
from builderos.trust.signing.service import Signer

from .provenance import Act, Approved, Brought, ProvenanceOut, find_commit, told

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "urn:builderos:commit-provenance:1"
PAYLOAD: Final = "application/vnd.in-toto+json"


class AttestationIn(In):
    """Of which commit."""

    id: Annotated[Sha, Field(description="The commit, 40 hexadecimal digits.")]


class SignatureOut(Out):
    """One signature; `keyid` is the SHA-256 of the server's public key."""

    keyid: str
    sig: str


class AttestationOut(Out):
    """A DSSE envelope. `payload` is base64 of an in-toto Statement v1 about the commit."""

    payloadType: str  # noqa: N815 - DSSE names it so
    payload: str
    signatures: list[SignatureOut]


def attest(unit: Unit, body: AttestationIn) -> AttestationOut:
    """Sign what is known about a commit. Raises `not_found` as `provenance` does."""
    known = told(unit, find_commit(unit, body.id))
    payload = json.dumps(
        statement(unit.org_id, known), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    made = unit.get(Signer).envelope(PAYLOAD, payload.encode())
    signature = SignatureOut(keyid=made.key_id, sig=made.signature)
    return AttestationOut(payloadType=made.payload_type, payload=made.payload, signatures=[signature])


def statement(org_id: str, known: ProvenanceOut) -> dict[str, Any]:
    """The in-toto Statement. The words of people (messages, comments) stay out of it: only who, what, when, by which
    rule.
    """
    commit = known.commit
    assert commit is not None
    predicate = {
        "organisation": org_id, "repository": commit.repo_name, "branch": commit.branch, "paths": commit.paths,
        "act": _act(commit.act), "promotions": [_promotion(step) for step in known.promotions],
        "agent_version": commit.agent_version, "prompt_version": commit.prompt_version, "task_id": commit.task_id,
        "run_id": commit.run_id,
    }  # fmt: skip
    subject = {"name": commit.repo_name, "digest": {"gitCommit": commit.sha}}
    return {"_type": STATEMENT, "subject": [subject], "predicateType": PREDICATE, "predicate": predicate}


def _act(act: Act | None) -> dict[str, Any] | None:
    if act is None:
        return None
    return {
        "actor": act.actor, "role": act.role, "at": act.at, "door": act.door, "tool": act.tool,
        "request_id": act.request_id, "rules": act.rules, "ledger": {"seq": act.seq, "hash": {"sha256": act.hash}},
    }  # fmt: skip


def _promotion(step: Brought) -> dict[str, Any]:
    return {
        "id": step.id, "source": step.source, "target": step.target, "merge": {"gitCommit": step.merge_sha},
        "diff_hash": step.diff_hash, "act": _act(step.act), "approval": _approval(step.approval),
    }  # fmt: skip


def _approval(approval: Approved | None) -> dict[str, Any] | None:
    if approval is None:
        return None
    decisions = [{"who": said.who, "when": said.when, "verdict": said.verdict} for said in approval.decisions]
    return {
        "id": approval.id, "state": approval.state, "diff_hash": approval.diff_hash, "decisions": decisions,
        "self_approved": approval.self_approved, "requested_by": approval.requested_by,
    }  # fmt: skip
