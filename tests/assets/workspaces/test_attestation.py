"""The signed statement about a commit, verified by an implementation that is not ours."""

import base64
import copy
import hashlib
import json
from collections.abc import Iterator

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.world import Json, Sandbox


@pytest.fixture(scope="module")
def lab(databases: Databases) -> Iterator[Lab]:
    with lab_in_temp(databases) as made:
        yield made


@pytest.fixture(scope="module")
def key(lab: Lab) -> SSlibKey:
    """The server's key as the auditor notes it, from another door."""
    public = base64.b64decode(lab.ok(lab.as_owner("POST", "/v1/audit/checkpoint", json={}))["public_key"])
    return SSlibKey(hashlib.sha256(public).hexdigest(), "ed25519", "ed25519", {"public": public.hex()})


@pytest.fixture(scope="module")
def made(lab: Lab) -> tuple[Sandbox, str, Json]:
    box = lab.open_sandbox()
    sha = box.commit({"src/a.py": "a = 1\n"}, "Secret plans of the message", agent_version="gpt-x")[
        "commit_sha"
    ]
    opened = box.post("/git/promote", title="Bring it")
    body = {"decision": "approve", "comment": "my private words"}
    lab.ok(lab.as_owner("POST", f"/v1/approvals/{opened['approval_id']}", json=body))
    return box, sha, opened


def envelope(lab: Lab, sha: str) -> Json:
    return lab.ok(lab.as_owner("GET", f"/v1/provenance/{sha}/attestation"))


def test_another_implementation_verifies_the_statement(
    lab: Lab, key: SSlibKey, made: tuple[Sandbox, str, Json]
) -> None:
    box, sha, opened = made
    found = Envelope.from_dict(copy.deepcopy(envelope(lab, sha)))
    assert list(found.verify([key], 1)) == [key.keyid]
    assert found.payload_type == "application/vnd.in-toto+json"
    said = json.loads(found.payload)
    line = lab.events(object=sha)[0]
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["subject"] == [{"name": "lab", "digest": {"gitCommit": sha}}]
    predicate = said["predicate"]
    assert (predicate["branch"], predicate["paths"], predicate["agent_version"]) == (
        box.branch,
        ["src/a.py"],
        "gpt-x",
    )
    assert predicate["act"]["ledger"] == {"seq": line["seq"], "hash": {"sha256": line["hash"]}}
    assert (predicate["act"]["actor"], predicate["act"]["rules"]) == (line["actor"], line["rules"])
    (step,) = predicate["promotions"]
    assert (step["id"], step["approval"]["state"]) == (opened["promotion_id"], "approved")
    assert [d["verdict"] for d in step["approval"]["decisions"]] == ["approve"]
    assert b"private words" not in found.payload
    assert b"Secret plans" not in found.payload


def test_a_changed_statement_type_or_key_does_not_verify(
    lab: Lab, key: SSlibKey, made: tuple[Sandbox, str, Json]
) -> None:
    whole = envelope(lab, made[1])
    payload = base64.b64decode(whole["payload"])
    forged = base64.b64encode(payload.replace(b"gpt-x", b"gpt-y")).decode()
    for changed in ({"payload": forged}, {"payloadType": "application/json"}):
        with pytest.raises(VerificationError):
            Envelope.from_dict(copy.deepcopy(whole | changed)).verify([key], 1)
    other = SSlibKey(key.keyid, "ed25519", "ed25519", {"public": "11" * 32})
    with pytest.raises(VerificationError):
        Envelope.from_dict(copy.deepcopy(whole)).verify([other], 1)


def test_only_who_may_read_a_commit_gets_its_statement(lab: Lab, made: tuple[Sandbox, str, Json]) -> None:
    box, sha, _ = made
    http, stranger = lab.world.http, lab.open_sandbox()
    hidden = stranger.commit({"theirs.py": "x\n"})["commit_sha"]
    assert lab.ok(http.get(f"/v1/provenance/{sha}/attestation", headers=box.headers))["payload"]
    lab.problem(http.get(f"/v1/provenance/{hidden}/attestation", headers=box.headers), "not_found")
    lab.problem(lab.as_owner("GET", f"/v1/provenance/{'0' * 40}/attestation"), "not_found")
    lab.problem(lab.as_owner("GET", "/v1/provenance/pul_1/attestation"), "validation_failed")
