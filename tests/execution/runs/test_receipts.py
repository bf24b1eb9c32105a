"""The receipt of a run: there once it has ended, signed, verified by others, for those alone who may see the run."""

import base64
import copy
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from builderos.core.home import project_state
from builderos.execution.compute.service import SandboxProviders
from builderos.interfaces.cli import verify_receipt
from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp
from tests.support.sandboxes import until
from tests.support.world import Json

BUILD = """\
params: {goal: {type: string, default: "ship it"}}
steps:
  - {id: make, run: 'mkdir out; echo report > out/report.txt', outputs: ["out/*"]}
  - {id: save, needs: [make], action: git.commit, inputs: {message: Build it}}
"""


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        probe = made.context.get(SandboxProviders).provider("local").probe()
        if probe.tier != "strong":
            pytest.skip(f"no strong sandbox on this machine: {' '.join(probe.missing)}")
        yield made


@pytest.fixture(scope="module")
def run(ship: Ship) -> Json:
    found = ship.done(BUILD)
    assert found["status"] == "succeeded", found
    return found


def receipt(ship: Ship, id_: str) -> Json:
    return ship.world.ok(ship.world.http.get(f"/v1/runs/{id_}/receipt", headers=ship.box.headers))


def test_a_receipt_tells_how_a_run_went_and_others_verify_it(ship: Ship, run: Json, tmp_path: Path) -> None:
    signed = receipt(ship, run["id"])
    checkpoint = ship.world.ok(ship.world.as_owner("POST", "/v1/audit/checkpoint", json={}))
    public = base64.b64decode(checkpoint["public_key"])
    key = SSlibKey(hashlib.sha256(public).hexdigest(), "ed25519", "ed25519", {"public": public.hex()})
    envelope = Envelope.from_dict(copy.deepcopy(signed))
    assert list(envelope.verify([key], 1)) == [key.keyid]
    said = json.loads(envelope.payload)
    steps = ship.steps(run)
    assert {(s["name"], *s["digest"].values()) for s in said["subject"][:2]} == {
        (f"lab@{ship.box.branch}", steps["save"]["commit_sha"]),
        ("out/report.txt", hashlib.sha256(b"report\n").hexdigest()),
    }
    known = said["predicate"]["buildDefinition"]["internalParameters"]
    assert said["predicate"]["buildDefinition"]["externalParameters"]["params"] == {"goal": "ship it"}
    assert known["steps"][0]["key"] == steps["make"]["cache_key"]
    assert known["steps"][0]["outputTree"] == steps["make"]["output_tree"]
    assert known["status"] == "succeeded"
    assert list(known["runtimes"]) == ["local"]
    assert len(said["predicate"]["runDetails"]["byproducts"]) == 1
    lines = ship.world.ok(ship.world.as_owner("GET", "/v1/audit", params={"object": run["id"]}))["items"]
    assert {line["type"]: line["seq"] for line in lines}.items() >= {
        ("run.started", known["ledger"]["fromSeq"]), ("run.ended", known["ledger"]["toSeq"]),
    }  # fmt: skip
    path, kept = tmp_path / "receipt.json", tmp_path / "report.txt"
    path.write_text(json.dumps(signed))
    kept.write_text("report\n")
    arguments = [str(path), "--key", checkpoint["public_key"], "--artifact", str(kept)]
    assert verify_receipt.main(arguments) == 0


def test_a_receipt_is_written_beside_the_files_of_the_project_and_never_changes(
    ship: Ship, run: Json
) -> None:
    state = project_state(ship.world.home, ship.world.org_id, run["project_id"])
    path = state / "receipts" / f"{run['id']}.json"
    until(path.exists)
    assert json.loads(path.read_text()) == receipt(ship, run["id"]) == receipt(ship, run["id"])


def test_a_receipt_that_a_killed_process_did_not_make_is_made_when_it_is_asked_for(
    ship: Ship, run: Json
) -> None:
    before = receipt(ship, run["id"])
    with superuser(ship) as connection:
        connection.execute("delete from ops.receipts where run_id = %s", (run["id"],))
    assert receipt(ship, run["id"]) == before
    with superuser(ship) as connection:
        kept = connection.execute("select 1 from ops.receipts where run_id = %s", (run["id"],)).fetchall()
    assert len(kept) == 1


def test_a_person_reads_the_receipt_on_one_page(ship: Ship, run: Json) -> None:
    reply = ship.world.http.get(f"/v1/runs/{run['id']}/receipt/page", headers=ship.box.headers)
    assert reply.headers["content-type"].startswith("text/markdown")
    assert reply.text.startswith("# Receipt of run")
    assert "succeeded" in reply.text
    assert hashlib.sha256(b"report\n").hexdigest() in reply.text
    assert len(reply.text.splitlines()) < 60


def test_a_receipt_is_for_those_who_may_see_the_run(ship: Ship, run: Json) -> None:
    other = ship.world.open_sandbox()
    for path in ("receipt", "receipt/page"):
        reply = ship.world.http.get(f"/v1/runs/{run['id']}/{path}", headers=other.headers)
        ship.world.problem(reply, "not_found")


def superuser(ship: Ship) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(ship.database.superuser_conninfo, autocommit=True)


def test_provenance_leads_from_an_artifact_to_the_commit_that_the_run_began_from(
    ship: Ship, run: Json
) -> None:
    make = ship.steps(run)["make"]
    (artifact,) = make["artifacts_ref"]
    for id_, kind in ((artifact, "artifact"), (make["id"], "step"), (run["id"], "run")):
        found = ship.world.ok(ship.world.as_owner("GET", f"/v1/provenance/{id_}"))
        assert found["kind"] == kind
        edges = {(e["subject"], e["relation"], e["object"]) for e in found["edges"]}
        assert edges >= {
            (f"artifact:{artifact}", "made_by", f"step:{make['id']}"),
            (f"step:{make['id']}", "part_of", f"run:{run['id']}"),
            (f"step:{make['id']}", "made_of", f"key:{make['cache_key']}"),
            (f"run:{run['id']}", "began_from", f"commit:{run['provenance']['base_sha']}"),
        }
    other = ship.world.open_sandbox()
    for id_ in (artifact, make["id"], run["id"]):
        reply = ship.world.http.get(f"/v1/provenance/{id_}", headers=other.headers)
        assert reply.json()["code"] in ("not_found", "forbidden_branch", "policy_denied"), reply.text
