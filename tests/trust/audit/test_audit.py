"""The record of acts: searched, exported, verified, and what a tampering hand leaves behind."""

import base64
import csv
import io
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from builderos.core.chain import Line, verify
from tests.support.lab import Lab
from tests.support.world import Json, Sandbox, World, git

HEAD_FIELDS = ("org_id", "seq", "hash", "at")


@pytest.fixture
def own(world: World, database: object) -> Lab:
    """A server of this test alone: its ledger is damaged."""
    return Lab(world, database)  # type: ignore[arg-type]


def check(lab: Lab) -> Json:
    return lab.ok(lab.as_owner("GET", "/v1/audit/verify"))


def damage(lab: Lab, statement: str, *values: object) -> None:
    """As a superuser who switches the guard off first."""
    lab.sql("alter table ops.ledger disable trigger user")
    lab.sql(statement, *values)
    lab.sql("alter table ops.ledger enable trigger user")


def signature_holds(head: Json) -> bool:
    text = "".join(f"{head[name]}\n" for name in HEAD_FIELDS).encode()
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(head["public_key"]))
    try:
        key.verify(base64.b64decode(head["signature"]), text)
    except InvalidSignature:
        return False
    return True


def test_every_filter_finds_its_lines_and_no_others(lab: Lab) -> None:
    box = lab.open_sandbox()
    sha = box.commit({"src/a.py": "1\n"})["commit_sha"]
    other = lab.open_sandbox()
    lab.problem(box.try_post("/git/log", branch=other.branch), "forbidden_branch")
    assert [e["type"] for e in lab.events(object=sha)] == ["commit"]
    line = lab.events(object=sha)[0]
    assert {e["actor"] for e in lab.events(actor=line["actor"])} == {line["actor"]}
    assert [e["object"] for e in lab.events(type="commit", branch=box.branch)] == [sha]
    assert sha in [e["object"] for e in lab.events(path="src/a.py")]
    assert lab.events(path="src/b.py") == []
    refused = lab.events(code="forbidden_branch", actor=line["actor"])
    assert [(e["type"], e["rules"][:1]) for e in refused] == [("refused", ["another-sandbox"])]
    assert lab.events(**{"from": "2999-01-01T00:00:00Z"}) == []
    assert lab.events(to="2000-01-01T00:00:00Z") == []
    assert sha in [e["object"] for e in lab.events(**{"from": line["at"]})]
    assert sha not in [e["object"] for e in lab.events(to=line["at"])]
    assert lab.events(type="' or 1=1 --") == []


def test_pages_have_no_gaps_and_belong_to_their_filters(lab: Lab) -> None:
    box = lab.open_sandbox()
    for number in range(5):
        box.commit({"a": f"{number}"})
    query = {"branch": box.branch, "type": "commit", "limit": 2}
    found: list[int] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        page = lab.ok(lab.as_owner("GET", "/v1/audit", params={**query, **cursor}))
        found += [e["seq"] for e in page["items"]]
        cursor = {"cursor": page["next_cursor"]}
        box.commit({"b": f"{found}"})
    assert found == sorted(set(found), reverse=True)
    assert len(found) == 5
    first = lab.ok(lab.as_owner("GET", "/v1/audit", params=query))["next_cursor"]
    bad = [
        {"cursor": first},
        {"cursor": "x"},
        {"limit": 0},
        {"from": "yesterday"},
        {"to": "2026-01-01T00:00:00"},
    ]
    for params in bad:
        lab.problem(lab.as_owner("GET", "/v1/audit", params=params), "validation_failed")


def test_only_owners_and_administrators_see_the_record(lab: Lab) -> None:
    box = lab.open_sandbox()
    for path in ("/v1/audit", "/v1/audit/export", "/v1/audit/verify"):
        lab.problem(lab.world.http.get(path), "unauthenticated")
        lab.problem(lab.world.http.get(path, headers=box.headers), "policy_denied")
        lab.problem(lab.world.http.get(path, headers=lab.key("read", "write")), "policy_denied")
        assert lab.world.http.get(path, headers=lab.key("admin")).status_code == 200


def test_an_export_is_verified_without_the_server(lab: Lab) -> None:
    lab.open_sandbox().commit({"a": "1"})
    response = lab.as_owner("GET", "/v1/audit/export", params={"format": "jsonl"})
    assert response.headers["content-type"].startswith("application/jsonl")
    assert "attachment" in response.headers["content-disposition"]
    *rows, last = [json.loads(line) for line in response.text.splitlines()]
    lines = [Line(r["seq"], r["body"], bytes.fromhex(r["prev_hash"]), bytes.fromhex(r["hash"])) for r in rows]
    head = last["head"]
    assert verify(lab.world.org_id, lines, (head["seq"], bytes.fromhex(head["hash"]))).ok
    assert signature_holds(head)
    for name in HEAD_FIELDS:
        assert not signature_holds({**head, name: f"{head[name]}0"})
    lines[2] = Line(lines[2].seq, lines[2].body.replace("a", "b", 1), lines[2].prev_hash, lines[2].hash)
    assert verify(lab.world.org_id, lines).first_bad == 3


def test_no_cell_of_the_csv_is_a_formula(lab: Lab) -> None:
    lab.ok(lab.as_owner("POST", "/v1/api-keys", json={"label": "x", "scopes": ["read"]}), 201)
    body = json.dumps({"type": "=cmd|' /C calc'!A0", "object": "+1", "actor": "@x", "at": "-2",
                       "actor_name": "\t=1", "role": "\r=1", "door": "|",
                       "request_id": "%", "rules": [], "payload": {"a": '"\n,'}})  # fmt: skip
    lab.sql("insert into ops.ledger (org_id, seq, body, prev_hash, hash, type, object, actor, at) "
            "values (%s, 0, %s, '', '', '', '', '', now())", lab.world.org_id, body)  # fmt: skip
    head = lab.sql("select seq from ops.ledger_head where org_id = %s", lab.world.org_id)[0][0]
    damage(lab, "update ops.ledger set seq = %s where seq = 0", head + 1)
    lab.sql("update ops.ledger_head set seq = seq + 1 where org_id = %s", lab.world.org_id)
    text = lab.as_owner("GET", "/v1/audit/export", params={"format": "csv"}).text
    damage(lab, "delete from ops.ledger where seq = %s", head + 1)
    lab.sql("update ops.ledger_head set seq = seq - 1 where org_id = %s", lab.world.org_id)
    rows = list(csv.reader(io.StringIO(text)))
    assert len({len(row) for row in rows}) == 1
    assert not [c for row in rows for c in row if c[:1] in ("=", "+", "-", "@", "\t", "\r")]
    assert rows[-1][2] == "'=cmd|' /C calc'!A0"


def test_an_untouched_chain_verifies_with_its_signed_head(lab: Lab) -> None:
    lab.open_sandbox().commit({"a": "1"})
    verdict = check(lab)
    assert (verdict["ok"], verdict["first_bad"], verdict["findings"]) == (True, None, [])
    assert verdict["head"]["seq"] == verdict["lines"]
    assert signature_holds(verdict["head"])


def test_one_changed_byte_is_found_and_its_line_named(own: Lab) -> None:
    own.open_sandbox().commit({"a": "1"})
    damage(own, """update ops.ledger set body = replace(body, '"door":"h', '"door":"H') where seq = 4""")
    verdict = check(own)
    assert (verdict["ok"], verdict["first_bad"]) == (False, 4)
    assert "4" in verdict["reason"]


@pytest.mark.parametrize(
    ("statement", "bad"),
    [
        ("update ops.ledger set hash = sha256('x') where seq = 3", 3),
        ("update ops.ledger set prev_hash = sha256('x') where seq = 3", 3),
        ("delete from ops.ledger where seq = 2", 2),
        ("delete from ops.ledger where seq = 1", 1),
        ("delete from ops.ledger where seq = (select max(seq) from ops.ledger)", None),
        ("delete from ops.ledger", 1),
    ],
)
def test_a_changed_hash_or_missing_line_is_found(own: Lab, statement: str, bad: int | None) -> None:
    own.open_sandbox().commit({"a": "1"})
    damage(own, statement)
    verdict = check(own)
    assert verdict["ok"] is False
    assert verdict["first_bad"] == (bad or verdict["lines"] + 1)


def test_bytes_that_moved_from_one_line_to_the_next_are_found(own: Lab) -> None:
    """All of them are there and in order, but not where they belong."""
    own.open_sandbox().commit({"a": "1"})
    damage(own, "update ops.ledger l set hash = l.hash || substr(n.hash, 1, 1) from ops.ledger n "
                "where l.seq = 3 and n.seq = 4 and n.org_id = l.org_id")  # fmt: skip
    damage(own, "update ops.ledger set hash = substr(hash, 2) where seq = 4")
    verdict = check(own)
    assert (verdict["ok"], verdict["first_bad"]) == (False, 3)


def test_a_commit_that_came_around_the_ledger_is_found(own: Lab) -> None:
    box = own.open_sandbox()
    box.commit({"a": "1"})
    store, tip = own.sql("select store, tip from ops.branches where name = %s", box.branch)[0]
    folder = own.world.home / "repos" / store
    tree = git("rev-parse", f"{tip}^{{tree}}", cwd=folder)
    sha = git("commit-tree", tree, "-p", tip, "-m", "sneaked in", cwd=folder)
    own.sql("update ops.branches set tip = %s where name = %s", sha, box.branch)
    verdict = check(own)
    assert verdict["ok"] is False
    assert len(verdict["findings"]) == 1
    assert sha in verdict["findings"][0]
    assert box.branch in verdict["findings"][0]


def test_a_branch_whose_files_are_gone_is_found_and_the_others_are_looked_at(own: Lab) -> None:
    first, second = own.open_sandbox(), own.open_sandbox()
    for box in (first, second):
        box.commit({"a": "1"})
    own.sql("update ops.branches set tip = %s where name = %s", "0" * 40, first.branch)
    verdict = check(own)
    assert verdict["ok"] is False
    assert [first.branch in f for f in verdict["findings"]] == [True]


def test_restored_promoted_and_undone_commits_all_have_their_line(own: Lab) -> None:
    box, other = own.open_sandbox(), own.open_sandbox()
    sha = box.commit({"a": "1"})["commit_sha"]
    kept = box.post("/system/backup")["backup_id"]
    box.post("/git/rollback_commit", commit_sha=sha, reason="r")
    box.post(f"/system/backup/{kept}/restore")
    other.commit({"b": "1"})
    own.merged(other)
    path = f"/v1/sandboxes/{own.sandbox_id(box)}/update"
    own.ok(own.world.http.post(path, json={}, headers=box.headers))
    own.merged(box)
    assert check(own)["ok"] is True
    assert isinstance(box, Sandbox)
