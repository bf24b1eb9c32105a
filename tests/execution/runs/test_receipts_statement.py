"""The statement of a receipt in the words of in-toto and SLSA, and what people read of it."""

import base64
import copy
import dataclasses
import hashlib
import html
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from builderos.core.keys import ServerKeys
from builderos.execution.runs.receipts_page import page, span, text
from builderos.execution.runs.receipts_statement import PAYLOAD, Facts, Step, statement
from builderos.interfaces.cli import verify_receipt
from builderos.trust.signing.service import Signer

BEGAN = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
SHA = "a" * 40
HASH = "sha256:" + "b" * 64
STEP = Step(
    "build", "stp_1", "run", "succeeded", None, 2, None, HASH, None, SHA, SHA, "py311", "strong", HASH, BEGAN,
    BEGAN + timedelta(seconds=65),
)  # fmt: skip
FACTS = Facts(
    "org_1", "run_1", "pipeline", "feature@1.0.0", HASH, HASH, "succeeded", None, {"goal": "Ship <b>it</b>", "n": 1.5},
    {"type": "manual", "by": "usr_1"}, "usr_1", "lab", "sandbox-golden-otter", SHA, SHA, HASH, BEGAN, BEGAN,
    BEGAN + timedelta(seconds=90), (STEP,), commits=(SHA,),
    artifacts=({"id": "art_1", "path": "out/report.txt", "hash": HASH, "size": 3, "media_type": "text/plain",
                "step": "build"},),
    approvals=({"id": "apr_1", "action": "deploy.prod", "state": "approved", "diffHash": HASH, "selfApproved": False,
                "decisions": [{"who": "usr_2", "when": "2026-11-21T10:01:00Z", "verdict": "approve"}]},),
    effects=({"kind": "git.push", "key": "run_1.push", "state": "done", "requestDigest": HASH},),
    prompts={"planner@1.3.0": HASH}, agents={"builder": "model-x"}, tools={"run": "1"}, runtimes={"py311": HASH},
    ledger={"fromSeq": 101, "toSeq": 163, "hash": HASH},
)  # fmt: skip


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer(ServerKeys(b"a secret of this test alone, long enough"))


def made(signer: Signer, facts: Facts = FACTS) -> dict[str, Any]:
    return statement(facts, public_key=signer.public_key, key_id=signer.key_id)


def envelope(signer: Signer, said: dict[str, Any]) -> dict[str, Any]:
    signed = signer.envelope(PAYLOAD, json.dumps(said).encode())
    signatures = [{"keyid": signed.key_id, "sig": signed.signature}]
    return {"payload": signed.payload, "payloadType": signed.payload_type, "signatures": signatures}


def test_every_field_is_one_of_in_toto_and_slsa(signer: Signer) -> None:
    """Their own schema reads it, and refuses whatever it does not know."""
    said = made(signer)
    parsed = json_format.ParseDict(said, statement_pb2.Statement())
    Statement.copy_from_pb(parsed).validate()
    predicate = json_format.ParseDict(said["predicate"], provenance_pb2.Provenance())
    assert predicate.build_definition.build_type == "urn:builderos:pipeline-run:1"
    assert predicate.run_details.metadata.invocation_id == "run_1"
    assert predicate.run_details.metadata.finished_on.ToDatetime(UTC) == FACTS.ended_at
    assert dict(predicate.build_definition.resolved_dependencies[1].digest) == {
        "gitCommit": SHA,
        "gitTree": SHA,
    }
    assert predicate.run_details.builder.builder_dependencies[0].content == signer.public_bytes
    assert said["predicateType"] == "https://slsa.dev/provenance/v1"


def test_what_was_made_is_the_subject(signer: Signer) -> None:
    said = made(signer)
    assert [(s["name"], *s["digest"]) for s in said["subject"]] == [
        ("lab@sandbox-golden-otter", "gitCommit"), ("out/report.txt", "sha256"), ("run_1", "sha256"),
    ]  # fmt: skip
    alone = made(signer, dataclasses.replace(FACTS, commits=(), artifacts=()))
    assert [s["name"] for s in alone["subject"]] == ["run_1"]


def test_everything_that_is_promised_stands_in_it(signer: Signer) -> None:
    build = made(signer)["predicate"]["buildDefinition"]
    assert build["externalParameters"]["params"] == FACTS.params
    known = build["internalParameters"]
    assert (known["policyDigest"], known["timeToShipSeconds"]) == (HASH, 90.0)
    assert (known["ledger"]["fromSeq"], known["ledger"]["toSeq"]) == (101, 163)
    assert known["prompts"] == {"planner@1.3.0": HASH}
    assert (known["agents"], known["tools"]) == ({"builder": "model-x"}, {"run": "1"})
    assert known["approvals"][0]["decisions"][0]["who"] == "usr_2"
    assert known["steps"][0]["key"] == HASH


def test_another_implementation_verifies_the_signature(signer: Signer) -> None:
    key = SSlibKey(signer.key_id, "ed25519", "ed25519", {"public": signer.public_bytes.hex()})
    signed = envelope(signer, made(signer))
    assert list(Envelope.from_dict(copy.deepcopy(signed)).verify([key], 1)) == [signer.key_id]
    forged = base64.b64decode(signed["payload"]).replace(b"out/report.txt", b"out/reporx.txt")
    with pytest.raises(VerificationError):
        Envelope.from_dict(signed | {"payload": base64.b64encode(forged).decode()}).verify([key], 1)


@pytest.mark.parametrize("how", ["with the key", "with its own key"])
def test_the_offline_program_verifies_it(
    signer: Signer, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    kept = tmp_path / "report.txt"
    kept.write_bytes(b"abc")
    facts = dataclasses.replace(
        FACTS, artifacts=({**FACTS.artifacts[0], "hash": "sha256:" + hashlib.sha256(b"abc").hexdigest()},)
    )
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(envelope(signer, made(signer, facts))))
    key = ["--key", signer.public_key] if how == "with the key" else []
    assert verify_receipt.main([str(path), *key, "--artifact", str(kept)]) == 0
    said = capsys.readouterr().out
    assert "run run_1 of feature@1.0.0: succeeded" in said
    assert f"{kept} is out/report.txt" in said
    kept.write_bytes(b"abd")
    assert verify_receipt.main([str(path), *key, "--artifact", str(kept)]) == 1


@pytest.mark.parametrize("what", ["payload", "type", "signature", "key", "no json"])
def test_the_offline_program_refuses_what_was_changed(
    signer: Signer, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    signed = envelope(signer, made(signer))
    key = signer.public_key
    if what == "payload":
        payload = base64.b64decode(signed["payload"]).replace(b"succeeded", b"succeedes")
        signed["payload"] = base64.b64encode(payload).decode()
    elif what == "type":
        signed["payloadType"] = "application/json"
    elif what == "signature":
        signed["signatures"][0]["sig"] = base64.b64encode(bytes(64)).decode()
    elif what == "key":
        key = Signer(ServerKeys(b"the secret of somebody else entirely")).public_key
    path = tmp_path / "receipt.json"
    path.write_text("nonsense" if what == "no json" else json.dumps(signed))
    assert verify_receipt.main([str(path), "--key", key]) == 1
    assert capsys.readouterr().out.startswith("NOT")


def test_the_page_fits_a_page_and_tells_what_counts(signer: Signer) -> None:
    said = page(made(signer), key_id=signer.key_id)
    assert said.startswith(
        "# Receipt of run\\_1\n\n**feature@1\\.0\\.0** on branch sandbox\\-golden\\-otter of lab succeeded"
    )
    for word in ("1 min 30 s", "| build | succeeded, attempt 2 | 1 min 5 s | py311 |", "lines 101 to 163", SHA,
                 "usr\\_2 said approve", "git\\.push", signer.key_id):  # fmt: skip
        assert word in said
    assert len(said.splitlines()) < 70


def test_the_page_of_a_large_run_is_still_a_page(signer: Signer) -> None:
    facts = dataclasses.replace(
        FACTS,
        steps=[STEP] * 5000,
        artifacts=FACTS.artifacts * 500,
        params={str(n): "x" * 999 for n in range(300)},
    )
    said = page(made(signer, facts), key_id=signer.key_id)
    assert len(said.splitlines()) < 220
    assert "| … | and 4960 more | | |" in said


@pytest.mark.parametrize(
    "word",
    ["<script>alert(1)</script>", "[x](javascript:alert(1))", "a|b|c", "`code`", "\n# Head", "**bold**", "&lt;b&gt;",
     "![i](http://x/y)", "\x1b[31mred", "x\u202ey"],
)  # fmt: skip
def test_no_word_from_outside_passes_for_markup(signer: Signer, word: str) -> None:
    facts = dataclasses.replace(
        FACTS, params={word: word, "n": 1}, branch=word, steps=[dataclasses.replace(STEP, name=word, runtime=word)],
        artifacts=({**FACTS.artifacts[0], "path": word},),
    )  # fmt: skip
    said = page(made(signer, facts), key_id=signer.key_id)
    plain = page(made(signer), key_id=signer.key_id)
    assert "<" not in said
    assert said.count("\n") == plain.count("\n")
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert html.unescape(text("<b> & c")).replace("\\", "") == "<b> & c"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4242, "0.42 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (7265, "2 h 1 min"),
     (274_000, "3 days 4 h")],
)  # fmt: skip
def test_spans_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert span(seconds) == said
