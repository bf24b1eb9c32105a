"""Receipts of runs: made once a run has ended, signed with the server's key, kept byte for byte as they were signed."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from builderos.core.context import Context
from builderos.core.files import replace_text
from builderos.core.home import project_state
from builderos.core.operations import Download
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out
from builderos.core.settings import Settings
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy
from builderos.trust.signing.service import Signer

from . import records
from .gathering import Whole, whole
from .keys import canonical
from .logs_find import TYPE as LOG
from .receipts_page import page
from .receipts_statement import PAYLOAD, Facts, Step, bare, statement
from .records_model import receipts
from .rows import OVER, Row
from .seen import seen_run


class ReceiptIn(In):
    """Of which run."""

    id: Line


class SignatureOut(Out):
    """One signature; `keyid` is the SHA-256 of the server's public key."""

    keyid: str
    sig: str


class ReceiptOut(Out):
    """A DSSE envelope around an in-toto Statement v1 with the predicate of SLSA provenance v1."""

    payload: Annotated[str, Field(description="Base64 of the statement.")]
    payloadType: str  # noqa: N815 - DSSE names it so
    signatures: list[SignatureOut]


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt as it is kept."""

    payload: bytes
    key_id: str
    signature: str

    def envelope(self) -> dict[str, Any]:
        """The DSSE envelope, plain JSON."""
        sig = {"keyid": self.key_id, "sig": self.signature}
        return {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": PAYLOAD,
            "signatures": [sig],
        }


def show(unit: Unit, body: ReceiptIn) -> ReceiptOut:
    """The signed receipt. Raises `not_found` while the run goes on."""
    return ReceiptOut.model_validate(_seen(unit, body).envelope())


def show_page(unit: Unit, body: ReceiptIn) -> Download:
    """The same as a page of Markdown for people."""
    found = _seen(unit, body)
    text = page(json.loads(found.payload), key_id=found.key_id).encode()
    return Download(iter((text,)), "text/markdown; charset=utf-8", f"receipt-{body.id}.md", size=len(text))


def _seen(unit: Unit, body: ReceiptIn) -> Receipt:
    run = seen_run(unit, body.id)
    if run.status not in OVER:
        raise Problem("not_found", f"the run is {run.status}", hint="A receipt is made when a run has ended.")
    (known,) = whole(unit, [run.id])
    if known.receipt is not None:
        return _kept(known.receipt)
    found = _made(unit, known)  # whoever ended the run was killed right after it
    unit.keep(lambda again, made=found: _store(again, body.id, made))
    return found


def ensured(unit: Unit, whole: Whole) -> Receipt | None:
    """The receipt of a run, made where there is none yet; None while the run goes on."""
    if whole.run.status not in OVER:
        return None
    if whole.receipt is not None:
        return _kept(whole.receipt)
    made = _made(unit, whole)
    _store(unit, whole.run.id, made)
    return made


def put(context: Context, whole: Whole, receipt: Receipt) -> None:
    """Write a receipt beside the run's file. Raises `OSError`."""
    run = whole.run
    path = path_of(context.get(Settings).home_dir, run.org_id, run.project_id, run.id)
    replace_text(path, json.dumps(receipt.envelope()) + "\n")


def path_of(home: Path, org_id: str, project_id: str | None, run_id: str) -> Path:
    """Where the receipt of a run lies."""
    return project_state(home, org_id, project_id) / "receipts" / f"{run_id}.json"


def _kept(row: Row) -> Receipt:
    return Receipt(bytes(row.payload), row.key_id, row.signature)


def _store(unit: Unit, run_id: str, made: Receipt) -> None:
    unit.add_new(
        receipts, org_id=unit.org_id, run_id=run_id, payload=made.payload, key_id=made.key_id,
        signature=made.signature, made_at=unit.now,
    )  # fmt: skip


def _made(unit: Unit, whole: Whole) -> Receipt:
    signer = unit.get(Signer)
    said = statement(gathered(unit, whole), public_key=signer.public_key, key_id=signer.key_id)
    payload = canonical(said).encode()
    signed = signer.envelope(PAYLOAD, payload)
    return Receipt(payload, signed.key_id, signed.signature)


# -------------------------------------------------------------------- gathering


def gathered(unit: Unit, whole: Whole) -> Facts:
    """All that a receipt says of a run that has ended."""
    run, rows = whole.run, whole.steps
    known = _records(whole.records)
    names = {row.id: row.name for row in rows}
    made_with = _made_with(known)
    sessions = _sessions(rows)
    made_with["prompts"] |= {
        one["prompt"].partition("#")[0]: one["prompt"].partition("#")[2] for one in sessions
    }
    return Facts(
        unit.org_id, run.id, run.kind, f"{run.pipeline}@{run.version}", run.definition_digest, run.input_fingerprint,
        run.status, run.reason, run.params, {k: v for k, v in run.trigger.items() if v is not None}, run.actor_id,
        run.repo_name or None, run.branch or None, run.base_sha, run.base_tree, run.policy_digest, run.created_at,
        run.started_at, run.ended_at, [_step(row, known.get(row.id)) for row in rows], commits=tuple(run.commits),
        artifacts=[
            {"id": kept.id, "path": kept.path, "hash": kept.hash, "size": kept.size, "media_type": kept.media_type,
             "step": names.get(kept.step_id or "", "")}
            for kept in whole.artifacts if kept.type != LOG
        ],
        approvals=[_approval(unit, id_) for id_ in _approvals(run, rows)],
        effects=[
            {"kind": e.kind, "key": e.key, "state": e.state, "requestDigest": e.request_digest}
            for e in whole.effects
        ],
        agents={one["agent"].partition("@")[0]: one["model"] for one in sessions} | _agents(rows, known),
        ledger=_lines(whole), **made_with,
    )  # fmt: skip


def _sessions(rows: Sequence[Row]) -> list[Mapping[str, str]]:
    """Agent, prompt and model of everybody who took part in steps of several sessions."""
    found: list[Mapping[str, str]] = []
    for row in rows:
        made: Sequence[Mapping[str, str]] = row.result.get("made_by") or ()
        found += made
    return found


def _records(rows: Mapping[str, Row]) -> dict[str, records.Record]:
    found: dict[str, records.Record] = {}
    for id_, row in rows.items():
        try:
            found[id_] = records.read(row)
        except records.Damaged:  # the receipt tells what is sure; the cache raises the alert
            continue
    return found


def _made_with(known: Mapping[str, records.Record]) -> dict[str, dict[str, str]]:
    prompts: dict[str, str] = {}
    tools: dict[str, str] = {}
    runtimes: dict[str, str] = {}
    for record in known.values():
        tools |= record.ingredients.tools
        if record.ingredients.runtime:
            runtimes[record.runtime] = record.ingredients.runtime
        if record.ingredients.prompt:
            prompts[str(record.ingredients.definition.get("prompt", record.name))] = record.ingredients.prompt
    return {"prompts": prompts, "tools": tools, "runtimes": runtimes}


def _agents(rows: Sequence[Row], known: Mapping[str, records.Record]) -> dict[str, str]:
    """Agent → the model that answered to it. A step that has agents without being one knows them from its record."""
    found: dict[str, str] = {}
    for row in rows:
        record = known.get(row.id)
        model = record.ingredients.model if record is not None else None
        recorded = record.ingredients.definition.get("agent") if record is not None and model else None
        name = row.agent_id or str(recorded or "").partition("@")[0]
        if name:
            found[name] = str(model["name"]) if model is not None else ""
    return found


def _step(row: Row, record: records.Record | None) -> Step:
    return Step(
        row.name, row.id, row.action, row.status, row.reason, row.attempt, row.agent_id, row.cache_key,
        record.source if record else None, row.input_tree, row.output_tree, record.runtime if record else None,
        row.tier, record.log if record else None, row.started_at, row.ended_at,
    )  # fmt: skip


def _approvals(run: Row, rows: Any) -> list[str]:
    return list(dict.fromkeys([*run.approvals, *(row.approval_id for row in rows if row.approval_id)]))


def _approval(unit: Unit, id_: str) -> dict[str, Any]:
    """Who said what to which change; their words are theirs."""
    found = policy.approvals.find(unit, id_)
    said = [{"who": d["who"], "when": d["when"], "verdict": d["verdict"]} for d in found.decisions]
    return {
        "id": id_, "action": found.action, "state": found.state, "diffHash": found.diff_hash,
        "requestedBy": found.requested_by, "selfApproved": found.self_approved, "decisions": said,
    }  # fmt: skip


def _lines(whole: Whole) -> dict[str, Any]:
    """Where in the ledger the run begins and ends."""
    first, last = whole.began, whole.ended
    if first is None or last is None:
        return {}
    return {"fromSeq": first["seq"], "toSeq": last["seq"], "hash": {"sha256": bare(last["hash"])}}
