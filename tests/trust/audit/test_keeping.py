"""Words apart from the chain: erased, held, out of term; and every proof of before still holds."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from builderos.core import notes
from builderos.core.database import Database
from builderos.interfaces.cli import verify_audit as script
from builderos.trust.audit import service as audit
from builderos.trust.notices import service as notices
from builderos.trust.orgs import service as orgs
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.receivers import NETWORKS, receiver
from tests.support.teams import Team
from tests.support.world import Json

ASKED = "Bring what Bob Example wrote"
SAID = "Ann Example thinks that this is fine"


@pytest.fixture
def own(databases: Databases) -> Iterator[Lab]:
    """A server of this test alone."""
    with lab_in_temp(databases) as made:
        yield made


def said(lab: Lab, content: str = "1\n") -> tuple[str, str]:
    """Approve something with a comment; the ids of the approval and of who said it."""
    box = lab.open_sandbox()
    box.commit({"a.txt": content})
    opened = box.post("/git/promote", title="Bring it")
    body = {"decision": "approve", "comment": SAID}
    lab.ok(lab.as_owner("POST", f"/v1/approvals/{opened['approval_id']}", json=body))
    line = lab.events(type="approval.decided", object=opened["approval_id"])[0]
    return opened["approval_id"], line["actor"]


def bodies(lab: Lab) -> str:
    return "".join(row[0] for row in lab.sql("select body from ops.ledger"))


def export(lab: Lab, path: Path) -> Path:
    path.write_bytes(lab.as_owner("GET", "/v1/audit/export").content)
    return path


def verified(lab: Lab, *args: str) -> str:
    key = lab.ok(lab.as_owner("GET", "/v1/audit/checkpoint"))["public_key"]
    done = subprocess.run(
        [sys.executable, "-I", script.__file__, *args, "--key", key],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_chain_holds_no_word_of_a_person_and_the_search_shows_them_all(own: Lab) -> None:
    approval, _ = said(own)
    assert SAID not in bodies(own)
    assert "Bring it" not in bodies(own)
    event = own.events(type="approval.decided", object=approval)[0]
    assert event["payload"]["comment"] == SAID
    told = event["words"][0]
    proof = hashlib.sha256(bytes.fromhex(told["salt"]) + told["text"].encode()).hexdigest()
    line = json.loads(own.sql("select body from ops.ledger where seq = %s and org_id = %s", event["seq"],
                              own.world.org_id)[0][0])  # fmt: skip
    assert line["payload"]["comment"] == {"commitment": proof}


def test_the_same_words_twice_are_two_commitments(own: Lab) -> None:
    said(own)
    said(own, "2\n")
    lines = own.events(type="approval.decided")
    assert len({line["words"][0]["commitment"] for line in lines}) == 2


def test_after_an_erasure_the_record_its_old_proofs_and_its_export_still_verify(
    own: Lab, tmp_path: Path
) -> None:
    approval, who = said(own)
    before = own.ok(own.as_owner("POST", "/v1/audit/checkpoint", json={}))
    noted = tmp_path / "noted.txt"
    noted.write_text(before["note"])
    seq = own.events(type="approval.decided", object=approval)[0]["seq"]
    proof = tmp_path / "proof.json"
    proof.write_text(own.as_owner("GET", "/v1/audit/proof", params={"seq": seq, "with_line": True}).text)
    old = export(own, tmp_path / "old.jsonl").read_text().splitlines()

    erased = own.ok(own.as_owner("POST", "/v1/audit/erase", json={"subject": who}))
    assert erased["words"] >= 1
    assert erased["elsewhere"]["approvals"] == 1

    gone = own.events(type="approval.decided", object=approval)[0]
    assert (gone["payload"]["comment"], gone["words"]) == (None, [])
    shown = own.as_owner("GET", f"/v1/approvals/{approval}").text
    dump = "".join(
        str(own.sql(f"select t::text from ops.{t} t")) for t in ("ledger", "ledger_words", "approvals")
    )
    assert SAID not in dump + shown
    assert own.ok(own.as_owner("GET", "/v1/audit/verify"))["ok"] is True
    new = export(own, tmp_path / "new.jsonl")
    assert new.read_text().splitlines()[: len(old) - 1] == old[:-1]
    assert "all as they were written" in verified(own, str(new), "--checkpoint", str(noted))
    assert f"line {seq} is among" in verified(own, "--proof", str(proof), "--checkpoint", str(noted))
    assert notes.parse(before["note"]).size == before["size"]
    assert [e["payload"]["words"] for e in own.events(type="person.erased")] == [erased["words"]]
    again = own.ok(own.as_owner("POST", "/v1/audit/erase", json={"subject": who}))
    assert (again["words"], again["elsewhere"]["approvals"]) == (0, 0)


def test_an_erasure_reaches_what_somebody_asked_for_and_what_webhooks_were_told(databases: Databases) -> None:
    with lab_in_temp(databases, webhook_networks=NETWORKS) as own, receiver() as there:
        own.ok(own.as_owner("POST", "/v1/webhooks", json={"url": there.url, "events": ["*"]}), 201)
        box = own.open_sandbox()
        box.commit({"a.txt": "1\n"})
        opened = box.post("/git/promote", title=ASKED)
        who = own.events(type="approval.requested", object=opened["approval_id"])[0]["actor"]
        notices.feed.pass_on(own.world.context)
        own.ok(own.as_owner("POST", "/v1/audit/erase", json={"subject": who}))
        assert own.sql("select title from ops.pulls") == [(ASKED,)], "others decide about just that"
        assert own.sql("select count(*) from ops.deliveries where body like %s", f"%{ASKED}%") == [(0,)]
        verdict = {"decision": "deny", "comment": "no"}
        own.ok(own.as_owner("POST", f"/v1/approvals/{opened['approval_id']}", json=verdict))
        notices.feed.pass_on(own.world.context)
        assert own.sql("select count(*) from ops.deliveries where body like %s", f"%{ASKED}%") != [(0,)]
        own.sql("update ops.pulls set state = 'closed'")
        erased = own.ok(own.as_owner("POST", "/v1/audit/erase", json={"subject": who}))
        assert (erased["elsewhere"]["approvals"], erased["elsewhere"]["promotions"]) == (1, 1)
        assert erased["elsewhere"]["deliveries"] >= 1
        left = [
            own.sql(f"select t::text from ops.{t} t")
            for t in ("approvals", "pulls", "deliveries", "ledger_words")
        ]
        assert ASKED not in str(left)
        shown = own.ok(own.as_owner("GET", f"/v1/approvals/{opened['approval_id']}"))
        assert [p["title"] for p in own.ok(own.as_owner("GET", "/v1/pulls"))["items"]] == [""]
        assert (shown["reason"], shown["state"]) == ("", "denied")


def test_erasing_one_person_leaves_the_words_of_others(own: Lab) -> None:
    approval, _ = said(own)
    own.ok(own.as_owner("POST", "/v1/audit/erase", json={"subject": "usr_somebody_else"}))
    assert own.events(type="approval.decided", object=approval)[0]["payload"]["comment"] == SAID


@pytest.mark.parametrize("whom", ["everybody", "the person"])
def test_a_hold_keeps_what_it_names_until_it_is_released(own: Lab, whom: str) -> None:
    approval, who = said(own)
    body = {"reason": "matter 7"} | ({"subject": who} if whom == "the person" else {})
    held = own.ok(own.as_owner("POST", "/v1/audit/holds", json=body), 201)
    refused = own.problem(own.as_owner("POST", "/v1/audit/erase", json={"subject": who}), "conflict")
    assert held["id"] in refused["detail"]
    own.ok(own.as_owner("POST", "/v1/audit/retention", json={"words_days": 1}))
    with own.later(days=2):
        audit.keeping.forget_old(own.world.context, own.world.org_id)
    assert own.events(type="approval.decided", object=approval)[0]["payload"]["comment"] == SAID
    own.ok(own.as_owner("DELETE", f"/v1/audit/holds/{held['id']}"))
    assert [h["released_at"] is None for h in own.ok(own.as_owner("GET", "/v1/audit/holds"))["items"]] == [
        False
    ]
    assert own.ok(own.as_owner("POST", "/v1/audit/erase", json={"subject": who}))["words"] >= 1


def test_the_database_itself_forgets_nothing_that_is_held(own: Lab) -> None:
    said(own)
    own.ok(own.as_owner("POST", "/v1/audit/holds", json={"reason": "r"}), 201)
    own.ok(own.as_owner("POST", "/v1/audit/retention", json={"words_days": 1, "access_days": 1}))
    before = own.sql("select count(*) from ops.ledger_words")
    with own.later(days=10):
        assert audit.keeping.forget_old(own.world.context, own.world.org_id) == 0
    assert own.sql("select count(*) from ops.ledger_words") == before != [(0,)]


def test_words_end_with_their_term(own: Lab) -> None:
    approval, _ = said(own)
    terms = own.ok(own.as_owner("POST", "/v1/audit/retention", json={"words_days": 30}))
    assert terms == {"access_days": 400, "words_days": 30}
    assert own.ok(own.as_owner("GET", "/v1/audit/retention")) == terms
    with own.later(days=29):
        assert audit.keeping.forget_old(own.world.context, own.world.org_id) == 0
    with own.later(days=31):
        assert audit.keeping.forget_old(own.world.context, own.world.org_id) >= 1
    assert own.events(type="approval.decided", object=approval)[0]["payload"]["comment"] is None
    assert own.ok(own.as_owner("GET", "/v1/audit/verify"))["ok"] is True


def test_only_administrators_keep_and_erase(lab: Lab) -> None:
    box = lab.open_sandbox()
    calls: list[tuple[str, str, Json]] = [
        ("POST", "/v1/audit/erase", {"subject": "x"}), ("POST", "/v1/audit/holds", {"reason": "x"}),
        ("POST", "/v1/audit/retention", {}), ("GET", "/v1/audit/holds", {}), ("GET", "/v1/audit/sinks", {}),
        ("POST", "/v1/audit/sinks", {"name": "a", "file": {}}),
    ]  # fmt: skip
    for method, path, body in calls:
        more = {"json": body} if method == "POST" else {}
        for headers in (box.headers, lab.key("read", "write", "approve")):
            lab.problem(lab.world.http.request(method, path, headers=headers, **more), "policy_denied")


def test_a_spreadsheet_takes_nothing_for_a_formula() -> None:
    from builderos.trust.audit.sheets import csv_row

    for cell in ("=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "\ufeff=1", "＝1"):
        assert csv_row([cell]).decode().lstrip('"').startswith("'"), repr(cell)
    assert csv_row(["plain", "a=b", ""]) == b"plain,a=b,\r\n"


def test_an_organisation_that_is_held_is_not_erased(own: Lab) -> None:
    other = own.second_org("held")
    body = {"reason": "matter 7"}
    own.ok(own.world.http.post("/v1/audit/holds", json=body, headers=other.owner), 201)
    own.sql("update ops.orgs set closing_by = 'act_x', closing_at = now() - interval '31 days', "
            "erase_at = now() - interval '1 day' where id = %s", other.id)  # fmt: skip
    orgs.closing.erase_due(own.world.context)
    assert own.sql("select erased_at from ops.orgs where id = %s", other.id) == [(None,)]
    own.sql("update ops.holds set released_at = now() where org_id = %s", other.id)
    orgs.closing.erase_due(own.world.context)
    assert own.sql("select erased_at is null from ops.orgs where id = %s", other.id) == [(False,)]
    with own.world.context.get(Database).transaction(other.id) as transaction:
        assert transaction.driver.execute("select count(*) from ops.ledger").fetchone() != (0,)


def test_titles_that_somebody_gave_from_a_workspace_are_erased_too(lab: Lab) -> None:
    team = Team(lab)
    lab.ok(team.owner.call("POST", "/v1/repos", name="shop"), 201)
    builder = team.join("builder")
    box = lab.ok(builder.call("POST", "/sandbox/init", repo_name="shop"))
    bearer = {"Authorization": f"Bearer {box['reuse_token']}"}
    change = {"message": "m", "files": [{"path": "n.txt", "content": "x"}]}
    lab.ok(lab.world.http.post("/commit_and_log_output", json=change, headers=bearer))
    asked = lab.ok(lab.world.http.post("/git/promote", json={"title": "Call Bob Miller"}, headers=bearer))
    path = f"/v1/approvals/{asked['approval_id']}"
    pull = lab.ok(team.owner.call("POST", path, decision="deny"))["object"]
    assert lab.ok(team.owner.call("GET", f"/v1/pulls/{pull}"))["title"] == "Call Bob Miller"
    erased = lab.ok(team.owner.call("POST", "/v1/audit/erase", subject=builder.id))
    assert erased["elsewhere"]["promotions"] == 1
    assert lab.ok(team.owner.call("GET", f"/v1/pulls/{pull}"))["title"] == ""
