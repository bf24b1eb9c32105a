"""What happened cannot be forged, replayed or mixed up with what happened to somebody else."""

import base64
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from builderos.trust.ledger import service as ledger
from builderos.trust.signing.service import Signer
from tests.support.world import Json

from .conftest import Target

ROOT = Path(__file__).resolve().parents[2]
VERIFIER = ROOT / "src" / "builderos" / "interfaces" / "cli" / "verify_audit.py"


def verify(export: Path, key: str) -> tuple[int, str]:
    """What the standalone script says to an export."""
    done = subprocess.run(
        [sys.executable, "-I", str(VERIFIER), str(export), "--key", key], capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def forged(text: str, word: str, other: str) -> list[Json]:
    """The rows of an export with a word changed, and every hash behind it computed anew."""
    rows: list[Json] = [json.loads(line) for line in text.splitlines()]
    previous = ""
    for row in rows:
        if "body" not in row:
            continue
        row["body"] = row["body"].replace(word, other)
        row["prev_hash"] = previous or row["prev_hash"]
        chained = bytes.fromhex(row["prev_hash"]) + row["seq"].to_bytes(8, "big") + row["body"].encode()
        previous = row["hash"] = sha256(chained).hexdigest()
    return rows


def test_a_chain_that_fits_is_nothing_without_the_signature(target: Target, tmp_path: Path) -> None:
    """Case 17: the chain of a signature was checked, and the signature was not."""
    lab, owner = target.lab, target.lab.world.owner_token
    ledger.extend_all(lab.world.context, lab.world.org_id)
    text = target.send("GET", "/v1/audit/export", owner, params={"format": "jsonl"}).text
    key = lab.world.context.get(Signer).public_key
    honest, changed = tmp_path / "honest.jsonl", tmp_path / "changed.jsonl"
    honest.write_text(text)
    assert verify(honest, key)[0] == 0, verify(honest, key)[1]
    rows = forged(text, target.box.branch, "sandbox-somebody-else")
    assert json.dumps(rows) != text
    changed.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    code, said = verify(changed, key)
    assert code == 1, said
    other = base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    assert verify(honest, other)[0] == 1


def test_a_yes_is_used_once_for_one_change_by_one_organisation(target: Target) -> None:
    """Case 25: an approval that is played again."""
    lab = target.lab
    box = lab.open_sandbox()
    box.commit({"once.txt": "once\n"})
    first = lab.ok(box.try_post("/git/promote", title="Once"), 202)
    say = {"decision": "approve"}
    lab.ok(lab.as_owner("POST", f"/v1/approvals/{first['approval_id']}", json=say))
    for _ in range(2):
        again = lab.as_owner("POST", f"/v1/approvals/{first['approval_id']}", json=say)
        target.refused(again, "illegal_transition")
    box.commit({"once.txt": "twice\n"})
    second = lab.ok(box.try_post("/git/promote", title="Once"), 202)
    assert second["approval_id"] != first["approval_id"]
    pull = lab.ok(lab.as_owner("GET", f"/v1/pulls/{second['promotion_id']}"))
    assert pull["state"] == "open"
    refused = target.team.owner.call("POST", f"/v1/approvals/{second['approval_id']}", decision="approve")
    target.refused(refused, "not_found")


def test_answers_of_many_organisations_at_once_are_never_mixed_up(target: Target) -> None:
    """Case 25: what servers share in memory hands the data of one tenant to another."""
    lab, owner = target.lab, target.team.owner
    local = [lab.open_sandbox() for _ in range(3)]
    lab.ok(owner.call("POST", "/v1/service-accounts", label="only-acme", role="viewer"), 201)
    for number, box in enumerate(local):
        box.commit({f"only-{number}.txt": f"only {number}\n"}, f"only {number}")

    def ask(round_: int) -> None:
        with httpx.Client(timeout=120) as wire:
            for number, box in enumerate(local):
                head = {"Authorization": f"Bearer {box.token}"}
                here = {"repo_name": "lab", "branch": box.branch}
                said = wire.post(target.url + "/git/log", json=here, headers=head).text
                assert f"only {number}" in said
                assert not any(f"only {other}" in said for other in range(3) if other != number)
            theirs = wire.get(target.url + "/v1/members", headers=owner.headers).text
            assert "only-acme" in theirs
            assert not any(box.branch in theirs for box in local)
            ours = wire.get(target.url + "/v1/sandboxes", headers=lab.world.owner).text
            assert "only-acme" not in ours
            assert round_ >= 0

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(24)))


@pytest.fixture(scope="module")
def secrets(target: Target) -> list[str]:
    """Secrets that have all been used."""
    lab = target.lab
    key = lab.ok(lab.as_owner("POST", "/v1/api-keys", json={"label": "k", "scopes": ["read"]}), 201)[
        "api_key"
    ]
    made: dict[str, Any] = lab.ok(
        target.team.owner.call("POST", "/v1/tokens", label="t", scopes=["read"]), 201
    )
    found = [target.box.token, lab.world.owner_token, key, made["token"], target.team.owner.tokens["access_token"],
             target.team.owner.tokens["refresh_token"]]  # fmt: skip
    for secret in found:
        target.send("GET", "/v1/repos", secret)
        target.post("/git/log", None, reuse_token=secret, repo_name=f"lab {secret}")
        target.send("GET", f"/v1/repos/{secret}")
        target.send("GET", "/v1/repos", params={"access_token": secret})
    return found


def test_no_secret_stands_in_a_log_a_row_or_an_export(
    target: Target, secrets: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Case 25: tokens in logs."""
    tables = [row[0] for row in target.lab.sql(
        "select table_name from information_schema.tables where table_schema = 'ops' and table_type = 'BASE TABLE'"
    )]  # fmt: skip
    held = {table: str(target.lab.sql(f"select t::text from ops.{table} t")) for table in tables}
    owner = target.lab.world.owner_token
    held["the export"] = target.send("GET", "/v1/audit/export", owner, params={"format": "csv"}).text
    held["the log"] = caplog.text
    assert [where for where, text in held.items() if any(secret[7:40] in text for secret in secrets)] == []
