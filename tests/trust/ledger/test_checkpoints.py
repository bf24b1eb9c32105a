"""Signed checkpoints: what they cost, what they prove, and what a tampering hand leaves behind."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pymerkle import InmemoryTree

from builderos.assets.workspaces import service as workspaces
from builderos.core import notes
from builderos.core.database import Database
from builderos.core.merkle import is_consistent, leaf, root_of_inclusion
from builderos.core.unit import Unit, as_system
from builderos.trust.ledger import checkpoints
from builderos.trust.ledger import service as ledger
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.world import Json


@pytest.fixture(scope="module")
def lab(databases: Databases) -> Iterator[Lab]:
    """A server with some 800 lines, signed in steps of 300."""
    with lab_in_temp(databases) as made, mock.patch.object(checkpoints, "STEP", 300):
        write(made, 800)
        ledger.extend_all(made.world.context, made.world.org_id)
        yield made


@pytest.fixture
def own(databases: Databases) -> Iterator[Lab]:
    """A server of this test alone: its ledger is damaged."""
    with lab_in_temp(databases) as made, mock.patch.object(checkpoints, "STEP", 300):
        write(made, 600)
        ledger.extend_all(made.world.context, made.world.org_id)
        yield made


def write(lab: Lab, count: int, org_id: str | None = None) -> None:
    def lines(unit: Unit) -> None:
        for number in range(count):
            ledger.record(unit, "test.line", f"o{number}", {"n": number})

    as_system(lab.world.context, org_id or lab.world.org_id, lines)


def damage(lab: Lab, table: str, statement: str, *values: object) -> None:
    """As a superuser who switches the guard off first."""
    lab.sql(f"alter table ops.{table} disable trigger user")
    lab.sql(statement, *values)
    lab.sql(f"alter table ops.{table} enable trigger user")


def hashes(lab: Lab) -> list[bytes]:
    rows = lab.sql("select hash from ops.ledger where org_id = %s order by seq", lab.world.org_id)
    return [bytes(row[0]) for row in rows]


def get(lab: Lab, path: str, **params: object) -> Json:
    return lab.ok(lab.as_owner("GET", f"/v1/audit/{path}", params=params))


def check(lab: Lab) -> Json:
    return get(lab, "verify")


def theirs(lines: list[bytes]) -> bytes:
    """The root as another implementation finds it."""
    tree = InmemoryTree(algorithm="sha256")
    for line in lines:
        tree.append_entry(line)
    return tree.get_root()


def decoded(values: list[str]) -> list[bytes]:
    return [base64.b64decode(value) for value in values]


def test_every_checkpoint_has_the_root_that_another_implementation_finds(lab: Lab) -> None:
    rows = lab.sql(
        "select size, root, note from ops.checkpoints where org_id = %s order by size", lab.world.org_id
    )
    sizes = [row[0] for row in rows]
    assert sizes[:2] == [300, 600]
    assert len(sizes) >= 3
    lines = hashes(lab)
    for size, root, note in rows:
        assert bytes(root) == theirs(lines[:size])
        assert notes.parse(note).root == bytes(root)


def test_a_note_is_signed_as_the_standard_says(lab: Lab) -> None:
    shown = get(lab, "checkpoint", size=300)
    text, _, signature = shown["note"].partition("\n\n")
    dash, name, encoded = signature.rstrip("\n").split(" ")
    key = base64.b64decode(shown["public_key"])
    assert (dash, name) == ("\u2014", f"builderos/ledger/{lab.world.org_id}")
    assert text.splitlines() == [name, "300", shown["root"]]
    raw = base64.b64decode(encoded)
    assert raw[:4] == hashlib.sha256(name.encode() + b"\n\x01" + key).digest()[:4]
    Ed25519PublicKey.from_public_bytes(key).verify(raw[4:], f"{text}\n".encode())
    encoded_key = base64.b64encode(b"\x01" + key).decode()
    assert shown["verifier_key"] == f"{name}+{raw[:4].hex()}+{encoded_key}"


def test_a_line_is_proven_to_be_in_with_less_than_two_kilobytes(lab: Lab) -> None:
    lines = hashes(lab)
    for seq, size in ((1, 300), (300, 300), (257, 600), (512, 600), (5, None), (599, 777)):
        response = lab.as_owner(
            "GET", "/v1/audit/proof", params={"seq": seq} | ({"size": size} if size else {})
        )
        proof = lab.ok(response)
        assert len(response.content) < 2048
        assert bytes.fromhex(proof["hash"]) == lines[seq - 1]
        assert base64.b64decode(proof["leaf"]) == leaf(lines[seq - 1])
        root = root_of_inclusion(leaf(lines[seq - 1]), seq - 1, proof["size"], decoded(proof["proof"]))
        assert root == base64.b64decode(proof["root"]) == theirs(lines[: proof["size"]])
        assert (proof["checkpoint"] is None) == (size == 777)


def test_a_proof_brings_its_line_when_asked(lab: Lab) -> None:
    line = get(lab, "proof", seq=9, with_line=True)["line"]
    content = bytes.fromhex(line["prev_hash"]) + (9).to_bytes(8, "big") + line["body"].encode()
    assert hashlib.sha256(content).hexdigest() == line["hash"]
    assert get(lab, "proof", seq=9)["line"] is None


def test_growth_is_proven_between_any_two_sizes(lab: Lab) -> None:
    lines = hashes(lab)
    for old, new in ((1, 300), (255, 257), (300, 600), (512, 777), (600, 600)):
        proof = get(lab, "consistency", **{"from": old, "to": new})
        before, after = base64.b64decode(proof["from_root"]), base64.b64decode(proof["to_root"])
        assert (before, after) == (theirs(lines[:old]), theirs(lines[:new]))
        assert is_consistent(old, new, before, after, decoded(proof["proof"]))


def test_what_is_under_no_checkpoint_has_no_proof_and_is_told_how_to_get_one(lab: Lab) -> None:
    last = get(lab, "checkpoint")["size"]
    for path, params in (
        ("proof", {"seq": last + 1}), ("proof", {"seq": 10**15}), ("proof", {"seq": 400, "size": 300}),
        ("proof", {"seq": 1, "size": last + 500}), ("checkpoint", {"size": 301}),
        ("consistency", {"from": 1, "to": last + 500}),
    ):  # fmt: skip
        problem = lab.problem(lab.as_owner("GET", f"/v1/audit/{path}", params=params), "not_found")
        assert "/v1/audit/checkpoint" in problem["hint"]
    for path, params in (
        ("proof", {"seq": 0}), ("proof", {"seq": -1}), ("proof", {}), ("proof", {"seq": 1, "size": 0}),
        ("consistency", {"from": 20, "to": 10}), ("consistency", {"from": 0}), ("proof", {"seq": 2**64}),
    ):  # fmt: skip
        lab.problem(lab.as_owner("GET", f"/v1/audit/{path}", params=params), "validation_failed")


def test_a_checkpoint_on_demand_takes_in_what_came_since(databases: Databases) -> None:
    with lab_in_temp(databases) as lab:
        lab.problem(lab.as_owner("GET", "/v1/audit/checkpoint"), "not_found")
        first = lab.ok(lab.as_owner("POST", "/v1/audit/checkpoint", json={}))
        lab.open_sandbox().commit({"a": "1"})
        assert get(lab, "checkpoint")["waiting"] > 0
        second = lab.ok(lab.as_owner("POST", "/v1/audit/checkpoint", json={}))
        assert second["size"] > first["size"]
        assert second["waiting"] == 0
        file = lab.world.home / "checkpoints" / f"{lab.world.org_id}.txt"
        assert file.read_text() == second["note"]
        assert lab.events(type="audit.checkpoint")[0]["payload"] == {"size": second["size"]}
        empty = lab.second_org("nothing")
        reply = lab.world.http.post("/v1/audit/checkpoint", json={}, headers=empty.owner)
        assert lab.problem(reply, "not_found")["detail"] == "nothing was recorded yet"


def test_a_checkpoint_of_nothing_new_writes_nothing(own: Lab) -> None:
    before = own.sql("select count(*) from ops.checkpoints")
    ledger.extend_all(own.world.context, own.world.org_id)
    assert own.sql("select count(*) from ops.checkpoints") == before


def test_a_checkpoint_of_few_new_lines_reads_few_lines(own: Lab) -> None:
    write(own, 3)
    with mock.patch.object(checkpoints, "verify_range", wraps=checkpoints.verify_range) as verified, \
            mock.patch.object(checkpoints, "_nodes", wraps=checkpoints._nodes) as nodes:  # fmt: skip
        ledger.extend_all(own.world.context, own.world.org_id)
    _, (start, _), upto = verified.call_args_list[0].args
    assert upto - start == 3
    assert max(call.args[3] - call.args[2] for call in nodes.call_args_list) <= 512


def test_an_altered_line_is_not_signed_and_raises_an_alert(own: Lab) -> None:
    size = get(own, "checkpoint")["size"]
    write(own, 5)
    damage(
        own, "ledger", "update ops.ledger set body = replace(body, 'test', 'tent') where seq = %s", size + 3
    )
    problem = own.problem(own.as_owner("POST", "/v1/audit/checkpoint", json={}), "conflict")
    assert problem["line"] == size + 3
    with pytest.raises(ledger.Altered):
        workspaces.sign_ledger(own.world.context, own.world.org_id)
    assert own.alerts("ledger_altered")[0]["detail"]["line"] == size + 3
    assert get(own, "checkpoint")["size"] == size


def forge(lab: Lab, seq: int) -> None:
    """Change a line and make the chain whole again behind it, head included: the work of somebody with all rights."""
    rows = lab.sql("select seq, body from ops.ledger where org_id = %s order by seq", lab.world.org_id)
    previous = hashlib.sha256(lab.world.org_id.encode()).digest()
    lab.sql("alter table ops.ledger disable trigger user")
    for number, body in rows:
        text = body.replace("test.line", "fest.line") if number == seq else body
        hash_ = hashlib.sha256(previous + number.to_bytes(8, "big") + text.encode()).digest()
        lab.sql("update ops.ledger set body = %s, prev_hash = %s, hash = %s where org_id = %s and seq = %s",
                text, previous, hash_, lab.world.org_id, number)  # fmt: skip
        previous = hash_
    lab.sql("alter table ops.ledger enable trigger user")
    lab.sql("update ops.ledger_head set hash = %s where org_id = %s", previous, lab.world.org_id)


def test_a_chain_that_was_written_anew_does_not_fit_its_checkpoints(own: Lab) -> None:
    forge(own, 400)
    verdict = check(own)
    assert (verdict["ok"], verdict["first_bad"]) == (False, None)  # the chain alone is whole
    text = " ".join(verdict["findings"])
    assert "the checkpoint of 600 lines does not fit the lines" in text
    assert "the tree over the lines from 257 on was changed" in text
    assert "the checkpoint in the state folder does not fit the lines" in text
    assert "300" not in text
    write(own, 1)
    own.problem(own.as_owner("POST", "/v1/audit/checkpoint", json={}), "conflict")


def test_lines_that_were_cut_off_with_their_checkpoints_are_missed_by_the_state_folder(own: Lab) -> None:
    last = get(own, "checkpoint")["size"]
    damage(own, "ledger", "delete from ops.ledger where org_id = %s and seq > 300", own.world.org_id)
    damage(
        own, "checkpoints", "delete from ops.checkpoints where org_id = %s and size > 300", own.world.org_id
    )
    damage(own, "ledger_nodes", "delete from ops.ledger_nodes where index >= 1")
    own.sql("update ops.ledger_head set seq = 300, hash = (select hash from ops.ledger l where l.seq = 300 "
            "and l.org_id = ops.ledger_head.org_id) where org_id = %s", own.world.org_id)  # fmt: skip
    assert check(own)["findings"] == [f"the checkpoint in the state folder counts {last} lines; 300 are left"]


def forget_what_was_signed(lab: Lab) -> None:
    for table in ("checkpoints", "ledger_nodes"):
        damage(lab, table, f"delete from ops.{table}")


def test_a_chain_that_was_written_anew_without_its_checkpoints_is_never_signed(own: Lab) -> None:
    file = own.world.home / "checkpoints" / f"{own.world.org_id}.txt"
    noted = file.read_text()
    forge(own, 40)
    forget_what_was_signed(own)
    problem = own.problem(own.as_owner("POST", "/v1/audit/checkpoint", json={}), "conflict")
    assert "the checkpoint in the state folder" in problem["detail"]
    assert "state folder" in own.alerts("ledger_altered")[0]["detail"]["detail"]
    with pytest.raises(ledger.Altered):
        workspaces.sign_ledger(own.world.context, own.world.org_id)
    assert own.alerts("ledger_altered")[0]["count"] == 2
    assert own.sql("select count(*) from ops.checkpoints") == [(0,)]
    assert file.read_text() == noted
    found = [
        text for text in check(own)["findings"] if "is not found by what it holds" not in text
    ]  # forged, too
    assert found == ["the checkpoint in the state folder does not fit the lines"]


def test_checkpoints_that_somebody_else_made_up_are_not_continued(own: Lab) -> None:
    file = own.world.home / "checkpoints" / f"{own.world.org_id}.txt"
    noted = file.read_text()
    forge(own, 40)
    forget_what_was_signed(own)
    file.unlink()  # so that the server makes the nodes, and rows to copy
    ledger.extend_all(own.world.context, own.world.org_id)
    file.write_text(noted)
    problem = own.problem(own.as_owner("POST", "/v1/audit/checkpoint", json={}), "conflict")
    assert "do not fit the checkpoint in the state folder" in problem["detail"]
    file.unlink()
    damage(own, "checkpoints", "update ops.checkpoints set note = replace(note, E'\\n\\n', E'\\n \\n')")
    problem = own.problem(own.as_owner("POST", "/v1/audit/checkpoint", json={}), "conflict")
    assert "not signed by this server" in problem["detail"]


def test_checkpoints_that_are_gone_are_missed_though_every_line_fits(own: Lab) -> None:
    size = get(own, "checkpoint")["size"]
    damage(own, "checkpoints", "delete from ops.checkpoints where size > 300")
    assert check(own)["findings"] == ["the checkpoint in the state folder is not among the database's"]
    problem = own.problem(own.as_owner("POST", "/v1/audit/checkpoint", json={}), "conflict")
    assert f"counts {size} lines, the database's 300" in problem["detail"]


def test_a_whole_installation_that_was_set_back_goes_on(own: Lab) -> None:
    """Database and state folder of the same moment; also a folder copied shortly before its database."""
    file = own.world.home / "checkpoints" / f"{own.world.org_id}.txt"
    first = own.sql("select note from ops.checkpoints where size = 300")[0][0]
    file.write_text(first)
    write(own, 5)
    made = own.ok(own.as_owner("POST", "/v1/audit/checkpoint", json={}))
    assert file.read_text() == made["note"]
    assert check(own)["findings"] == []


@pytest.mark.parametrize(
    ("table", "statement", "words"),
    [
        ("checkpoints", "update ops.checkpoints set note = replace(note, E'\\n300\\n', E'\\n301\\n')", "signed"),
        ("checkpoints", "update ops.checkpoints set note = 'x'", "cannot be read"),
        ("ledger_nodes", "update ops.ledger_nodes set hash = sha256('x') where index = 0", "from 1 on was changed"),
        ("ledger_nodes", "delete from ops.ledger_nodes where index = 1", "from 257 on was changed"),
    ],
)  # fmt: skip
def test_a_changed_note_or_node_is_found(own: Lab, table: str, statement: str, words: str) -> None:
    assert check(own)["findings"] == []
    damage(own, table, statement)
    findings = check(own)["findings"]
    assert any(words in finding for finding in findings), findings


def test_a_note_of_another_key_or_organisation_is_none_of_ours(own: Lab) -> None:
    file: Path = own.world.home / "checkpoints" / f"{own.world.org_id}.txt"
    other = own.second_org()
    write(own, 5, other.id)
    ledger.extend_all(own.world.context, other.id)
    file.write_text((own.world.home / "checkpoints" / f"{other.id}.txt").read_text())
    assert check(own)["findings"] == ["the checkpoint in the state folder was not signed by this server"]


def test_doctor_finds_lines_that_nobody_signed_and_signs_them(databases: Databases) -> None:
    with lab_in_temp(databases) as lab, mock.patch.object(checkpoints, "STEP", 40):
        write(lab, 100)

        def doctor(fix: bool) -> Json:
            checks = lab.ok(lab.as_owner("POST", "/v1/admin/doctor", json={"fix": fix}))["checks"]
            return next(c for c in checks if c["name"] == "checkpoints")

        assert doctor(False)["ok"] is True
        with lab.later(hours=2):
            before = doctor(False)
            assert before["ok"] is False
            assert "wait for a signed checkpoint" in before["detail"]
            after = doctor(True)
        assert (after["ok"], after["fixed"]) == (True, True)
        assert get(lab, "checkpoint")["size"] >= 100


@pytest.mark.parametrize("table", ["checkpoints", "ledger_nodes"])
def test_the_servers_role_cannot_change_what_was_signed(lab: Lab, table: str) -> None:
    database = lab.world.context.get(Database)
    for statement in (
        f"delete from ops.{table}",
        f"truncate ops.{table}",
        f"update ops.{table} set org_id = org_id",
    ):
        with (
            database.transaction(lab.world.org_id) as transaction,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            transaction.driver.execute(statement)


def test_signing_waits_for_nobody_who_records(lab: Lab) -> None:
    """The checkpoint takes no lock on the head: a line is recorded while it runs."""
    context, org_id = lab.world.context, lab.world.org_id

    def meanwhile(unit: Unit) -> None:
        ledger.extend(unit)
        write(lab, 1)

    before = len(hashes(lab))
    as_system(context, org_id, meanwhile)
    assert len(hashes(lab)) == before + 1
    assert json.loads(
        lab.sql("select body from ops.ledger where org_id = %s order by seq desc limit 1", org_id)[0][0]
    )
