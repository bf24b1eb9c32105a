"""What waits for one person: the inbox through its door, and the letters of a real mail server."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from builderos.core.actor import Actor, Grant
from builderos.core.unit import Call, Unit, as_system, perform
from builderos.trust.identity import service as identity
from builderos.trust.notices import service as notices
from builderos.trust.policy.service import approvals, waiting
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.mail import Mailbox, mail_server
from tests.support.receivers import NETWORKS, receiver, work
from tests.support.teams import Person, Team
from tests.support.world import Json


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as box:
        yield box


@pytest.fixture(scope="module")
def site(databases: Databases, mailbox: Mailbox) -> Iterator[Lab]:
    smtp = f"smtp://127.0.0.1:{mailbox.port}"
    with lab_in_temp(
        databases, smtp_url=smtp, mail_from="bos@acme.example", public_url="http://127.0.0.1",
        webhook_networks=NETWORKS,
    ) as made:  # fmt: skip
        yield made


class Acme:
    """Ann owns it, and is the only one who gets no mail; a reviewer, an admin, a builder and a viewer work in it."""

    def __init__(self, site: Lab) -> None:
        self.site = site
        self.team = Team(site)
        self.ann = self.team.owner
        self.people: dict[str, Person] = {}
        for role in ("reviewer", "admin", "builder", "viewer"):
            invite = self.team.invite(self.address(role), role)
            self.people[role] = self.team.accept(invite["invite_token"])

    def address(self, role: str) -> str:
        return f"{role}@{self.team.slug}.example"

    def ask(self, reason: str = "Keep secrets out", by: Person | None = None, **more: Any) -> str:
        """A request for an approval by hand, as any room makes one; by default the owner asks."""
        who = by or self.ann
        actor = self.site.sql("select id from ops.members where id = %s", who.id)[0][0]

        def verb(unit: Unit) -> str:
            return approvals.request(
                unit, action="pull.merge", object_=f"pul_{reason}", reason=reason, risk="high", requested_by=actor,
                risk_reasons=["changes main"],
                diff_hash="sha256:x", diff_stat={"files": 2, "added": 3, "deleted": 1},
                diff="--- a/src/a.py\n+++ b/src/a.py\n+x\n--- a/b.txt\n+++ b/b.txt\n", **more,
            )  # fmt: skip

        org_id = self.site.sql("select id from ops.orgs where slug = %s", self.team.slug)[0][0]
        made = as_system(self.site.world.context, org_id, verb)
        self.site.sql("update ops.approvals set requested_member = %s where id = %s", who.id, made)
        return made

    def alert(self, object_: str, rule: str = "backup_failed") -> None:
        org_id = self.site.sql("select id from ops.orgs where slug = %s", self.team.slug)[0][0]
        detail = {"why": "disk"}
        as_system(
            self.site.world.context, org_id,
            lambda unit: notices.raise_alert(unit, rule, object_, detail),  # type: ignore[arg-type]
        )  # fmt: skip

    def inbox(self, role: str, **filters: Any) -> list[Json]:
        return self.site.ok(self.people[role].call("GET", "/v1/inbox", **filters))["items"]


@pytest.fixture
def acme(site: Lab, mailbox: Mailbox) -> Iterator[Acme]:
    made = Acme(site)
    off = {"mail_approvals": False, "mail_alerts": "none"}
    site.ok(site.world.http.put("/v1/inbox/preferences", json=off, headers=made.ann.headers))
    work(site)
    mailbox.mails.clear()
    yield made
    site.sql("update ops.approvals set state = 'cancelled' where state = 'pending'")
    site.sql("update ops.alerts set state = 'resolved', announced = true")
    site.sql("update ops.webhooks set state = 'deleted'")
    site.sql("update ops.outbox set done_at = now() where done_at is null")


def test_a_request_waits_for_those_who_may_decide_about_it_and_for_nobody_else(acme: Acme) -> None:
    id_ = acme.ask()
    waiting = {role: [item["id"] for item in acme.inbox(role, kind="approval")] for role in acme.people}
    assert waiting == {"reviewer": [id_], "admin": [id_], "builder": [], "viewer": []}
    own = acme.site.ok(acme.ann.call("GET", "/v1/inbox", kind="approval"))
    assert own["items"] == [], "nobody decides on the own request"
    item = acme.inbox("reviewer")[0]
    assert (item["title"], item["weight"], item["read"]) == ("Keep secrets out", "high", False)
    assert item["link"] == f"http://127.0.0.1/v1/approvals/{id_}"


def test_a_decision_takes_a_request_out_of_every_inbox(acme: Acme) -> None:
    id_ = acme.ask()
    denied = acme.people["reviewer"].call("POST", f"/v1/approvals/{id_}", decision="deny", comment="no")
    assert (
        denied.json()["code"] == "not_found" or denied.status_code == 200
    )  # the promotion behind it is not there
    acme.site.sql("update ops.approvals set state = 'denied' where id = %s", id_)
    assert acme.inbox("admin", kind="approval") == []


def test_one_look_is_enough_to_decide(acme: Acme) -> None:
    id_ = acme.ask(prompt_version="planner@1.3.0")
    shown = acme.site.ok(acme.people["reviewer"].call("GET", f"/v1/approvals/{id_}"))
    assert shown["quorum"] == {
        "roles": ["Owner", "Admin", "Reviewer"], "needed": 1, "given": 0, "missing": 1,
    }  # fmt: skip
    assert shown["may_decide"] is True
    assert "+x" in shown["diff"]
    facts = (
        "reason",
        "risk",
        "requested_by",
        "prompt_version",
        "expires_at",
        "diff_hash",
        "diff_stat",
        "link",
    )
    assert all(shown[name] for name in facts)
    for other in (acme.ann, acme.people["viewer"], acme.people["builder"]):
        assert acme.site.ok(other.call("GET", f"/v1/approvals/{id_}"))["may_decide"] is False


def test_a_request_whose_time_is_over_waits_for_nobody_and_has_expired(acme: Acme) -> None:
    id_ = acme.ask()
    acme.site.sql("update ops.approvals set expires_at = now() - interval '1 second' where id = %s", id_)
    assert acme.inbox("reviewer", kind="approval") == []
    work(acme.site)
    shown = acme.site.ok(acme.people["reviewer"].call("GET", f"/v1/approvals/{id_}"))
    assert (shown["state"], shown["decisions"], shown["may_decide"]) == ("expired", [], False)
    late = acme.people["reviewer"].call("POST", f"/v1/approvals/{id_}", decision="approve")
    acme.site.problem(late, "illegal_transition")


def test_alerts_are_in_the_inboxes_of_those_who_look_after_the_organisation(acme: Acme) -> None:
    acme.alert("repo_1")
    acme.alert("repo_1")
    assert [item["title"] for item in acme.inbox("admin", kind="alert")] == ["backup failed (2)"]
    assert all(acme.inbox(role) == [] for role in ("reviewer", "builder", "viewer"))


def test_what_one_has_read_another_has_not(acme: Acme) -> None:
    id_ = acme.ask()
    acme.alert("repo_1")
    reader, page = acme.people["admin"], acme.site.ok(acme.people["admin"].call("GET", "/v1/inbox"))
    assert (len(page["items"]), page["unread"]) == (2, 2)
    acme.site.ok(reader.call("POST", "/v1/inbox/read", items=[id_]))
    page = acme.site.ok(reader.call("GET", "/v1/inbox", unread=True))
    assert ([item["kind"] for item in page["items"]], page["unread"]) == (["alert"], 1)
    assert acme.inbox("reviewer")[0]["read"] is False
    acme.site.ok(reader.call("POST", "/v1/inbox/read", items=[id_], read=False))
    assert acme.site.ok(reader.call("GET", "/v1/inbox"))["unread"] == 2
    for items in (["apr_nothing"], [id_, "alt_nothing"]):
        acme.site.problem(reader.call("POST", "/v1/inbox/read", items=items), "not_found")
    acme.site.problem(acme.people["viewer"].call("POST", "/v1/inbox/read", items=[id_]), "not_found")


def test_the_inbox_comes_in_pages_of_both_kinds_in_one_order(acme: Acme) -> None:
    for number in range(3):
        acme.ask(f"reason {number}")
        acme.alert(f"object {number}")
    whole = acme.inbox("admin")
    pages, cursor = list[str](), None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = acme.site.ok(acme.people["admin"].call("GET", "/v1/inbox", limit=4, **more))
        pages += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == [item["id"] for item in whole]
    assert len(pages) == 6
    assert [item["kind"] for item in whole] == ["alert", "approval"] * 3
    acme.site.problem(acme.people["admin"].call("GET", "/v1/inbox", cursor="x"), "validation_failed")


def test_a_letter_goes_to_everybody_who_may_decide_and_says_all_of_it(acme: Acme, mailbox: Mailbox) -> None:
    id_ = acme.ask(prompt_version="planner@1.3.0")
    work(acme.site)
    work(acme.site)
    got = {to for (to,), _ in mailbox.mails}
    assert got == {acme.address("reviewer"), acme.address("admin")}
    [mail] = mailbox.to(acme.address("reviewer"))
    text = mail.get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert mail["Subject"] == "Approval wanted (high risk): Keep secrets out"
    assert mail["From"] == "bos@acme.example"
    words = (
        "Keep secrets out", "high; changes main", "planner@1.3.0", acme.ann.id, "2 files, +3 -1 lines", "src/a.py",
        "Owner or Admin or Reviewer: 0 of 1", f"http://127.0.0.1/v1/approvals/{id_}", f"builderos approve {id_}",
    )  # fmt: skip
    for word in words:
        assert word in text, word
    assert re.search(r"Open until: +20\d\d-", text)


def test_words_of_others_add_no_header_and_no_line_to_a_letter(acme: Acme, mailbox: Mailbox) -> None:
    reason = (
        "Fix\r\nBcc: eve@evil.example\r\n\r\nSee http://evil.example \u202egnp.exe\x00 bos_rt_" + "a" * 43
    )
    id_ = acme.ask("x")
    acme.site.sql("update ops.approvals set reason = %s, prompt_version = %s where id = %s", reason.replace("\x00", ""),
                  "p\nOpen until: never", id_)  # fmt: skip
    work(acme.site)
    mail = mailbox.to(acme.address("reviewer"))[0]
    assert mail["Bcc"] is None
    assert {to for (to,), _ in mailbox.mails} == {acme.address("reviewer"), acme.address("admin")}
    text = mail.get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert not [
        line for line in text.splitlines() if line.startswith(("Bcc", "See http://evil", "Open until: never"))
    ]
    assert "\u202e" not in text + str(mail["Subject"])
    assert "bos_rt_a" not in text
    assert len(str(mail["Subject"])) <= 130


def test_what_is_decided_by_now_or_not_wanted_is_not_mailed(acme: Acme, mailbox: Mailbox) -> None:
    reviewer = acme.people["reviewer"]
    shown = acme.site.ok(reviewer.call("GET", "/v1/inbox/preferences"))
    assert shown == {"mail_approvals": True, "mail_alerts": "critical", "mail_configured": True}
    put = {"mail_approvals": False}
    changed = acme.site.world.http.put("/v1/inbox/preferences", json=put, headers=reviewer.headers)
    assert acme.site.ok(changed)["mail_approvals"] is False
    empty = acme.site.world.http.put("/v1/inbox/preferences", json={}, headers=reviewer.headers)
    acme.site.problem(empty, "validation_failed")
    id_ = acme.ask()
    notices.feed.pass_on(acme.site.world.context)
    acme.site.sql("update ops.approvals set state = 'denied' where id = %s", id_)
    work(acme.site)
    assert mailbox.mails == []


def test_mail_about_alerts_comes_from_the_severity_that_one_chose(acme: Acme, mailbox: Mailbox) -> None:
    admin = acme.people["admin"]
    acme.alert("repo_1", "tool_failed")
    acme.alert("repo_2", "backup_failed")
    work(acme.site)
    assert [str(mail["Subject"]) for mail in mailbox.to(acme.address("admin"))] == [
        "Alert (critical): backup failed repo_2"
    ]
    put = {"mail_alerts": "info"}
    acme.site.ok(acme.site.world.http.put("/v1/inbox/preferences", json=put, headers=admin.headers))
    acme.alert("branch", "large_diff")
    acme.alert("branch", "large_diff")
    work(acme.site)
    assert len(mailbox.to(acme.address("admin"))) == 2, "one letter for an alert, however often it counts up"
    assert mailbox.to(acme.address("viewer")) == []


def test_a_mail_server_that_is_down_gets_the_letter_later(acme: Acme, mailbox: Mailbox) -> None:
    acme.ask()
    mailbox.says = "451 later"
    try:
        with pytest.raises(OSError, match="451"):
            work(acme.site)
    finally:
        mailbox.says = "250 OK"
    work(acme.site)
    assert len(mailbox.mails) == 2


def test_the_events_of_an_approval_bring_what_a_receiver_needs(acme: Acme) -> None:
    with receiver() as there:
        made = acme.ann.call("POST", "/v1/webhooks", url=there.url, events=["approval.*"])
        acme.site.ok(made, 201)
        first, second = acme.ask("first"), acme.ask("second")
        acme.site.sql(
            "update ops.approvals set expires_at = now() - interval '1 second' where id = %s", second
        )
        work(acme.site)
        events = [json.loads(body) for _, body in there.got]
    told = {(event["type"], event["object"]) for event in events}
    assert told >= {
        ("approval.requested", first),
        ("approval.requested", second),
        ("approval.expired", second),
    }
    about = next(event for event in events if event["object"] == first)["approval"]
    assert (about["reason"], about["risk"], about["state"]) == ("first", "high", "pending")
    assert about["link"].endswith(first)
    assert "diff" not in about


def test_whoever_made_a_program_gets_no_letter_about_what_it_asks_for(acme: Acme, mailbox: Mailbox) -> None:
    admin = acme.people["admin"]
    program = acme.site.ok(admin.call("POST", "/v1/service-accounts", label="ci", role="builder"), 201)["id"]
    id_ = acme.ask("by a program")
    acme.site.sql("update ops.approvals set requested_member = %s where id = %s", program, id_)
    work(acme.site)
    assert [to for (to,), _ in mailbox.mails] == [acme.address("reviewer")]
    assert acme.inbox("admin", kind="approval") == []


def test_a_page_is_filled_when_some_of_it_is_for_others(acme: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds another role in some place is asked about each request by itself."""
    asked = [acme.ask(f"request {number}") for number in range(8)]
    mine = {id_ for number, id_ in enumerate(asked) if number % 3 == 0}
    monkeypatch.setattr(waiting, "may_decide", lambda _unit, approval: approval.id in mine)
    org_id = acme.site.sql("select id from ops.orgs where slug = %s", acme.team.slug)[0][0]
    somewhere = Grant("gra_x", "prj_x", "", "reviewer")
    scattered = Actor(
        "viewer",
        "usr_x",
        "member-x",
        org_id,
        "full",
        identity.EVERY_SCOPE,
        member_id="usr_x",
        grants=(somewhere,),
    )  # type: ignore[arg-type]

    def page(unit: Unit) -> list[str]:
        return [approval.id for approval in waiting.for_reader(unit, before=None, limit=2)]

    found = perform(acme.site.world.context, Call(scattered, "valid"), page, read_only=True)
    assert found == sorted(mine, reverse=True)[:2]
