"""Checkpoints and proofs: what somebody needs to verify the record, or one line of it, without this server."""

import base64
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from builderos.core import notes
from builderos.core.problems import Problem
from builderos.core.schema import In, Out, WriteIn
from builderos.core.unit import Unit
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource
from builderos.trust.signing.service import Signer

from .ports import Alarms

Size = Annotated[
    int | None, Field(ge=1, le=2**63 - 1, description="Number of lines. [default: the latest checkpoint]")
]


class CheckpointIn(In):
    """Which checkpoint."""

    size: Size = None


class MakeCheckpointIn(WriteIn):
    """Nothing to say: everything recorded so far is signed."""


class CheckpointOut(Out):
    """`note` is the C2SP checkpoint: keep it, and no line below it can be changed unnoticed."""

    origin: str
    size: int
    root: Annotated[str, Field(description="Root of the RFC 6962 tree over the lines' hashes, base64.")]
    note: str
    public_key: Annotated[str, Field(description="The server's Ed25519 key, base64.")]
    verifier_key: Annotated[str, Field(description="The same as other tools for signed notes take it.")]
    at: datetime
    waiting: Annotated[int, Field(description="Lines that came since and are under no checkpoint yet.")]


class ProofIn(In):
    """A line, and the number of lines that it shall be proven to be among."""

    seq: Annotated[int, Field(ge=1, le=2**63 - 1, description="Number of the line.")]
    size: Size = None
    with_line: Annotated[bool, Field(description="Whether to give the line itself, too.")] = False


class LineOut(Out):
    """A line as the export has it."""

    seq: int
    org_id: str
    body: str
    prev_hash: str
    hash: str


class ProofOut(Out):
    """RFC 6962 inclusion proof, at most 2 kB: `leaf` is SHA-256 of a zero byte and the line's hash."""

    seq: int
    size: int
    hash: str
    leaf: str
    proof: Annotated[list[str], Field(description="Sibling nodes from the leaf to the root, base64.")]
    root: str
    checkpoint: Annotated[str | None, Field(description="The signed note of this size, where there is one.")]
    line: LineOut | None = None


class GrowthIn(In):
    """Two numbers of lines."""

    from_: Annotated[int, Field(alias="from", ge=1, le=2**63 - 1, description="The older number of lines.")]
    to: Size = None


class GrowthOut(Out):
    """RFC 6962 consistency proof: the older lines are the beginning of the newer ones."""

    from_size: int
    from_root: str
    to_size: int
    to_root: str
    proof: list[str]
    checkpoint: str | None


def show(unit: Unit, body: CheckpointIn) -> CheckpointOut:
    """The latest checkpoint, or the one of a size."""
    policy.require(unit, "audit.read", _resource(unit))
    return _shown(unit, _latest(unit, body.size))


def make(unit: Unit, _body: MakeCheckpointIn) -> CheckpointOut:
    """Sign what was recorded so far; many lines at once take several calls (`waiting` says how many are left).

    Raises `conflict` where the record was altered, and the alert `ledger_altered`.
    """
    decision = policy.require(unit, "audit.verify", _resource(unit))
    try:
        made = ledger.extend(unit)
    except ledger.Altered as altered:
        detail = {"detail": altered.detail, **altered.extra}
        unit.keep(lambda later: _alarm(later, detail))
        raise
    if made is None:
        raise Problem("not_found", "nothing was recorded yet", hint="There is nothing to sign.")
    reply = _shown(unit, made)
    ledger.record(unit, "audit.checkpoint", unit.org_id, {"size": made.size}, rules=decision.rules)
    return reply


def _alarm(unit: Unit, detail: dict[str, Any]) -> None:
    unit.get(Alarms).ring(unit, "ledger_altered", unit.org_id, detail)


def prove(unit: Unit, body: ProofIn) -> ProofOut:
    """That a line is under a checkpoint. Raises `not_found` for a line that is not (yet)."""
    policy.require(unit, "audit.read", _resource(unit))
    size = _covered(unit, body.size)
    line = ledger.line_of(unit, body.seq) if body.seq <= size else None
    if line is None:
        raise Problem("not_found", f"line {body.seq} is not among the first {size}", hint=_SIGN)
    tree = ledger.stored_tree(unit)
    held = ledger.latest(unit, size=size)
    row = LineOut(
        seq=line.seq, org_id=unit.org_id, body=line.body, prev_hash=line.prev_hash.hex(), hash=line.hash.hex()
    )
    return ProofOut(
        seq=line.seq, size=size, hash=line.hash.hex(), leaf=_text(ledger.leaf(line.hash)),
        proof=[_text(step) for step in tree.inclusion(line.seq - 1, size)], root=_text(tree.root(size)),
        checkpoint=held.note if held else None, line=row if body.with_line else None,
    )  # fmt: skip


def prove_growth(unit: Unit, body: GrowthIn) -> GrowthOut:
    """That nothing below an older number of lines was changed since."""
    policy.require(unit, "audit.read", _resource(unit))
    size = _covered(unit, body.to)
    if body.from_ > size:
        raise Problem(
            "validation_failed", f"from is {body.from_}, after {size}", hint="Name the older size first."
        )
    tree = ledger.stored_tree(unit)
    held = ledger.latest(unit, size=size)
    return GrowthOut(
        from_size=body.from_, from_root=_text(tree.root(body.from_)), to_size=size, to_root=_text(tree.root(size)),
        proof=[_text(step) for step in tree.consistency(body.from_, size)],
        checkpoint=held.note if held else None,
    )  # fmt: skip


_SIGN = "Sign what was recorded since: POST /v1/audit/checkpoint."


def _latest(unit: Unit, size: int | None = None) -> ledger.Checkpoint:
    found = ledger.latest(unit, size=size)
    if found is None:
        which = "there is no checkpoint yet" if size is None else f"there is no checkpoint of {size} lines"
        raise Problem("not_found", which, hint=_SIGN)
    return found


def _covered(unit: Unit, size: int | None) -> int:
    """A size that the tree reaches."""
    last = _latest(unit)
    if size is not None and size > last.size:
        raise Problem("not_found", f"only {last.size} lines are under a checkpoint", hint=_SIGN)
    return size or last.size


def _shown(unit: Unit, found: ledger.Checkpoint) -> CheckpointOut:
    signer, origin = unit.get(Signer), notes.origin_of(unit.org_id)
    return CheckpointOut(
        origin=origin, size=found.size, root=_text(found.root), note=found.note, public_key=signer.public_key,
        verifier_key=notes.verifier_key(origin, signer.public_bytes), at=found.at, waiting=ledger.waiting(unit)[0],
    )  # fmt: skip


def _text(hash_: bytes) -> str:
    return base64.b64encode(hash_).decode()


def _resource(unit: Unit) -> Resource:
    return Resource(kind="ledger", id=unit.org_id, org_id=unit.org_id)
