"""Inbox, webhooks and decisions from the command line."""

import json

from .conftest import Line


def test_a_request_waits_in_the_inbox_is_read_and_approved(builder: Line) -> None:
    builder.write("inbox.txt", "new\n")
    builder.ok("commit", "inbox.txt", "-m", "Add it")
    asked = builder("promote", "-t", "For the inbox", "--json").json["approval_id"]
    assert asked in builder.ok("inbox", "list", "--kind", "approval", "--limit", "200")
    builder.ok("inbox", "read", asked)
    unread = builder.json("inbox", "list", "--unread", "--limit", "200")["items"]
    assert asked not in [item["id"] for item in unread]
    assert "quorum" in builder.ok("approvals", asked)
    assert builder.json("approve", asked, "-m", "Read it")["state"] == "approved"
    waiting = builder.json("inbox", "list", "--kind", "approval", "--limit", "200")["items"]
    assert asked not in [item["id"] for item in waiting]


def test_a_person_chooses_what_comes_by_mail(person: Line) -> None:
    assert "warning" in person.ok("inbox", "mail", "--as", "owner", "--alerts", "warning", "--no-approvals")
    assert person.json("inbox", "mail", "--as", "owner")["mail_approvals"] is False


def test_a_webhook_is_made_tried_rotated_and_ended(person: Line) -> None:
    url = "https://hooks.example.invalid/builderos"
    made = person.json("webhook", "create", url, "-e", "approval.*", "-e", "commit", "--as", "owner")
    assert made["secret"].startswith("whsec_")
    assert url in person.ok("webhook", "list", "--as", "owner")
    assert "paused" in person.ok("webhook", "change", made["id"], "--state", "paused", "--as", "owner")
    assert person("webhook", "ping", made["id"], "--as", "owner").code == 1
    person.ok("webhook", "change", made["id"], "--state", "active", "-e", "push", "--as", "owner")
    sent = person.json("webhook", "ping", made["id"], "--as", "owner")
    assert sent["id"] in person.ok("webhook", "log", made["id"], "--as", "owner")
    assert (
        json.loads(person.json("webhook", "show", sent["id"], "--as", "owner")["body"])["type"]
        == "webhook.ping"
    )
    assert "webhook.ping" in person.ok("webhook", "show", sent["id"], "--as", "owner")
    assert "0 deliveries" in person.ok("webhook", "redeliver", made["id"], "--as", "owner")
    new = person.json("webhook", "rotate", made["id"], "--as", "owner")["secret"]
    assert new != made["secret"]
    assert "gone" in person.ok("webhook", "delete", made["id"], "--as", "owner")
    assert person("webhook", "log", made["id"], "--as", "owner").code == 1


def test_use_budgets_and_the_whole_server_are_shown(builder: Line) -> None:
    assert "REQUESTS" in builder.ok("usage", "--as", "owner")
    assert builder.json("usage", "--by", "actor", "--as", "owner")["totals"]["requests"] > 0
    assert "commits" in builder.ok("budget", "set", "commits", "month", "1000000", "--as", "owner")
    assert "1000000" in builder.ok("budget", "list", "--as", "owner")
    builder.ok("budget", "remove", "commits", "month", "--as", "owner")
    assert builder("budget", "remove", "commits", "month", "--as", "owner").code == 1
    shown = builder.ok("admin", "overview", "--as", "owner")
    assert "ORGANISATION" in shown
    assert "local" in shown
    assert builder("admin", "lift", "crd_nothing", "--as", "owner").code == 1
