"""Who read what: recorded before the answer, searched, exported, sealed, and forgotten in time."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import sqlalchemy as sa

from builderos.core.exchange import Exchange
from builderos.core.unit import Unit, as_system
from builderos.trust.audit import service as audit
from builderos.trust.ledger import service as ledger
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.world import Json


@pytest.fixture
def own(databases: Databases) -> Iterator[Lab]:
    """A server of this test alone: its rows are damaged, or its clock is."""
    with lab_in_temp(databases) as made:
        yield made


def reads(lab: Lab, **filters: Any) -> list[Json]:
    return lab.ok(lab.as_owner("GET", "/v1/audit/access", params={"limit": 200, **filters}))["items"]


def settle(lab: Lab) -> None:
    """As if a minute had gone by since every row was written."""
    lab.sql("update ops.accesses set noted_at = noted_at - interval '2 minutes'")


def seal(lab: Lab) -> int:
    return audit.access.seal_all(lab.world.context, lab.world.org_id)


def findings(lab: Lab) -> list[str]:
    return lab.ok(lab.as_owner("GET", "/v1/audit/verify"))["findings"]


def test_who_is_shown_a_diff_or_a_line_has_read_its_files(lab: Lab) -> None:
    box = lab.open_sandbox()
    box.commit({"d/one.txt": "1\n", "d/two.txt": "2\n"})
    asked = box.post("/git/promote", title="Bring it")
    pull = lab.ok(lab.as_owner("GET", f"/v1/approvals/{asked['approval_id']}"))["object"]
    lab.ok(lab.as_owner("GET", f"/v1/pulls/{pull}"))
    where = {"repo_name": "lab", "branch": box.branch, "path": "d/one.txt", "line": 1}
    lab.ok(lab.as_owner("GET", "/v1/why", params=where))
    for action, object_ in (("pull.read", pull), ("approval.read", asked["approval_id"])):
        assert {r["path"] for r in reads(lab, action=action, object=object_)} >= {"d/one.txt", "d/two.txt"}
    assert [r["path"] for r in reads(lab, action="why.read", branch=box.branch)] == ["d/one.txt"]


def test_every_file_that_somebody_is_given_has_its_row(lab: Lab) -> None:
    box = lab.open_sandbox()
    box.commit({"a.txt": "1\n", "b.txt": "2\n"})
    box.post("/system/fetch_files", mode="batch", paths=["a.txt", "b.txt", "none.txt"])
    box.post("/git/diff")
    found = reads(lab, branch=box.branch)
    assert [(r["action"], r["path"]) for r in found if r["action"] == "files.read"] == [
        ("files.read", "b.txt"), ("files.read", "a.txt"),
    ]  # fmt: skip
    assert {r["path"] for r in found if r["action"] == "git.diff"} >= {"a.txt", "b.txt"}
    row = next(r for r in found if r["path"] == "a.txt" and r["action"] == "files.read")
    assert (row["actor_name"], row["role"], row["door"], row["repo"]) == (
        box.branch,
        "sandbox",
        "http",
        "lab",
    )
    assert row["tool"] == "fetchFiles@1"
    assert reads(lab, path="none.txt") == []
    assert {r["branch"] for r in reads(lab, path="a.txt", actor=row["actor"])} == {box.branch}
    assert reads(lab, object=row["object"], action="git.fetch") == []
    assert reads(lab, to=row["at"], branch=box.branch) == []


def test_a_refused_read_leaves_no_row(lab: Lab) -> None:
    box, other = lab.open_sandbox(), lab.open_sandbox()
    lab.problem(
        box.try_post("/system/fetch_files", branch=other.branch, path="README.md"), "forbidden_branch"
    )
    assert reads(lab, branch=other.branch) == []


def test_what_cannot_be_recorded_is_not_shown(own: Lab) -> None:
    box = own.open_sandbox()
    own.sql("alter table ops.accesses add constraint full_up check (path <> 'README.md')")
    reply = box.try_post("/system/fetch_files", path="README.md")
    assert reply.status_code == 500
    assert "# Lab" not in reply.text


def test_looking_at_the_record_and_taking_it_along_are_read_acts_too(lab: Lab) -> None:
    lab.ok(lab.as_owner("GET", "/v1/audit"))
    lab.as_owner("GET", "/v1/audit/export")
    lab.as_owner("GET", "/v1/audit/access/export")
    assert {"audit.read", "audit.export", "access.export"} <= {
        r["action"] for r in reads(lab, object=lab.world.org_id)
    }


def test_pages_of_one_instant_have_no_gaps(lab: Lab) -> None:
    box = lab.open_sandbox()
    names = [f"f{n}.txt" for n in range(7)]
    box.commit(dict.fromkeys(names, "x\n"))
    box.post("/system/fetch_files", mode="batch", paths=names)
    query: dict[str, Any] = {"branch": box.branch, "action": "files.read", "limit": 3}
    found: list[str] = []
    while True:
        page = lab.ok(lab.as_owner("GET", "/v1/audit/access", params=query))
        found += [r["path"] for r in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == names[::-1]


def test_only_who_may_read_the_record_sees_who_read(lab: Lab) -> None:
    box = lab.open_sandbox()
    for path in ("/v1/audit/access", "/v1/audit/access/export"):
        lab.problem(lab.world.http.get(path, headers=box.headers), "policy_denied")
        assert lab.world.http.get(path, headers=lab.key("admin")).status_code == 200


def test_both_forms_of_the_export_hold_every_row_and_no_formula(own: Lab) -> None:
    box = own.open_sandbox()
    box.commit({"=1+1.txt": "x\n", "line.txt": "x\n"})
    box.post("/system/fetch_files", mode="batch", paths=["=1+1.txt", "line.txt"])
    rows = [json.loads(line) for line in own.as_owner("GET", "/v1/audit/access/export").text.splitlines()]
    assert [r["path"] for r in rows if r["action"] == "files.read"] == ["=1+1.txt", "line.txt"]
    text = own.as_owner("GET", "/v1/audit/access/export", params={"format": "csv"}).text
    head, *cells = csv.reader(io.StringIO(text))
    paths = [row[head.index("path")] for row in cells]
    assert "'=1+1.txt" in paths
    assert "=1+1.txt" not in paths


@pytest.mark.parametrize(
    "damage",
    [
        "update ops.accesses set path = 'other.txt' where path = 'README.md'",
        "delete from ops.accesses where path = 'README.md'",
        """insert into ops.accesses (org_id, id, at, actor, actor_name, role, door, request_id, tool, action, object)
           overriding system value select org_id, id - 1, at, 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x'
           from ops.accesses where path = 'README.md'""",
    ],
)
def test_a_sealed_row_cannot_be_changed_taken_away_or_slipped_in(own: Lab, damage: str) -> None:
    box = own.open_sandbox()
    own.sql("select setval(pg_get_serial_sequence('ops.accesses', 'id'), 100)")
    box.post("/system/fetch_files", path="src/app.py")
    own.sql("select setval(pg_get_serial_sequence('ops.accesses', 'id'), 200)")
    box.post("/system/fetch_files", path="README.md")
    assert seal(own) == 0  # nothing is sealed while a row with a lower number may still appear
    settle(own)
    assert seal(own) == 1
    assert findings(own) == []
    own.sql(damage)
    assert [f for f in findings(own) if "accesses" in f] != []


def test_the_servers_role_cannot_change_rows(own: Lab) -> None:
    own.open_sandbox().post("/system/fetch_files", path="README.md")
    for statement in (
        "update ops.accesses set path = 'x'",
        "delete from ops.accesses",
        "delete from ops.ledger_words",
    ):
        with pytest.raises(Exception, match="permission denied"):
            as_system(own.world.context, own.world.org_id, lambda unit, s=statement: unit.driver.execute(s))


def test_old_rows_go_in_whole_batches_and_the_rest_still_verifies(own: Lab) -> None:
    box = own.open_sandbox()
    box.post("/system/fetch_files", path="README.md")
    settle(own)
    assert seal(own) == 1
    with own.later(days=300):
        box2 = own.open_sandbox()
        box2.post("/system/fetch_files", path="src/app.py")
    settle(own)
    assert seal(own) == 1
    forget = audit.keeping.forget_old
    assert forget(own.world.context, own.world.org_id) == 0
    with own.later(days=401):
        assert forget(own.world.context, own.world.org_id) >= 1
        assert forget(own.world.context, own.world.org_id) == 0
    assert reads(own, path="README.md") == []
    assert len(reads(own, path="src/app.py")) == 1
    assert findings(own) == []
    assert [e["payload"]["count"] > 0 for e in own.events(type="access.forgotten")] == [True]
    own.sql("delete from ops.accesses where path = 'src/app.py'")
    assert len(findings(own)) == 1


def test_nothing_is_forgotten_while_a_hold_is_on(own: Lab) -> None:
    own.open_sandbox().post("/system/fetch_files", path="README.md")
    settle(own)
    seal(own)
    own.ok(own.as_owner("POST", "/v1/audit/retention", json={"access_days": 1}))
    held = own.ok(own.as_owner("POST", "/v1/audit/holds", json={"reason": "matter 7"}), 201)
    forget = audit.keeping.forget_old
    with own.later(days=3):
        assert forget(own.world.context, own.world.org_id) == 0
    own.ok(own.as_owner("DELETE", f"/v1/audit/holds/{held['id']}"))
    own.problem(own.as_owner("DELETE", f"/v1/audit/holds/{held['id']}"), "illegal_transition")
    with own.later(days=3):
        assert forget(own.world.context, own.world.org_id) >= 1


def test_a_recorded_read_costs_no_message_more_for_its_row_travels_with_the_end_of_the_reading(
    lab: Lab,
) -> None:
    box = lab.open_sandbox()
    messages: list[list[str]] = []
    run = Exchange.run

    def counted(self: Exchange, statements: Any, *more: Any) -> Any:
        messages.append([text for text, _ in statements])
        return run(self, statements, *more)

    def read() -> list[list[str]]:
        messages.clear()
        box.post("/system/fetch_files", path="README.md")
        return list(messages)

    read()
    with mock.patch.object(Exchange, "run", counted):
        recorded = read()
        with mock.patch.object(audit.access, "note"):
            silent = read()
    assert len(recorded) == len(silent)
    last = [text.split(" ")[0] for text in recorded[-1]]
    assert (last[0], last[1], last[-2], last[-1]) == ("rollback", "begin", "commit", "select")


def test_a_failing_read_keeps_what_it_asked_to_keep(lab: Lab) -> None:
    """Also where the reading transaction is gone by then."""

    def verb(unit: Unit) -> None:
        unit.execute(sa.text("select 1"))
        unit.keep(lambda own: ledger.record(own, "test.kept", "reading", {}))
        raise LookupError

    with pytest.raises(LookupError):
        as_system(lab.world.context, lab.world.org_id, verb, read_only=True)
    assert len(lab.events(type="test.kept", object="reading")) == 1
