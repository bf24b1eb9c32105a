"""Webhooks through the doors, with a real receiver: signed, repeated until taken, logged, never into our network."""

import base64
import hashlib
import hmac
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from builderos.engine import outbox
from builderos.trust.notices import service as notices
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.pages import ROOT, blocks
from tests.support.receivers import NETWORKS, Receiver, receiver, work
from tests.support.world import Json

PAGE = ROOT / "docs" / "technical" / "webhooks.md"


@pytest.fixture(scope="module")
def site(databases: Databases) -> Iterator[Lab]:
    """A server whose owner lets webhooks reach loopback."""
    with lab_in_temp(databases, webhook_networks=NETWORKS) as made:
        yield made


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture(autouse=True)
def _alone(site: Lab) -> Iterator[None]:
    """Nothing of one test reaches the webhooks of another."""
    yield
    site.sql("update ops.webhooks set state = 'deleted'")
    site.sql("update ops.outbox set done_at = now() where done_at is null")


def hook(site: Lab, url: str, *events: str, **more: Any) -> Json:
    body = {"url": url, "events": list(events) or ["*"], **more}
    return site.ok(site.as_owner("POST", "/v1/webhooks", json=body), 201)


def ping(site: Lab, made: Json) -> Json:
    return site.ok(site.as_owner("POST", f"/v1/webhooks/{made['id']}/ping", json={}))


def log(site: Lab, made: Json, **filters: Any) -> list[Json]:
    return site.ok(site.as_owner("GET", f"/v1/webhooks/{made['id']}/deliveries", params=filters))["items"]


def due_now(site: Lab) -> None:
    site.sql("update ops.outbox set next_at = now() where done_at is null")


def signed_by(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """The rule of the specification, written down a second time."""
    said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    wanted = "v1," + base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
    return wanted in headers["webhook-signature"].split(" ")


def types(there: Receiver) -> list[str]:
    return [json.loads(body)["type"] for _, body in there.got]


def test_what_happens_arrives_signed(site: Lab, there: Receiver) -> None:
    made = hook(site, there.url, "commit", "sandbox.created")
    box = site.open_sandbox()
    sha = box.commit({"a.txt": "a\n"})["commit_sha"]
    work(site)
    assert types(there) == ["sandbox.created", "commit"]
    headers, body = there.got[1]
    event = json.loads(body)
    assert (event["object"], event["data"]["branch"], event["org_id"]) == (sha, box.branch, site.world.org_id)
    assert headers["webhook-id"] == event["id"]
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 60
    assert signed_by(made["secret"], headers, body)
    assert not signed_by(made["secret"], headers, body + b" ")
    assert not signed_by(made["secret"], {**headers, "webhook-timestamp": "1"}, body)
    assert [d["state"] for d in log(site, made)] == ["delivered"] * 2


def test_only_what_was_subscribed_to_arrives(site: Lab, there: Receiver) -> None:
    one, other = site.open_sandbox(), site.open_sandbox()
    hook(site, there.url, "commit", repo="lab", branch=f"{one.branch[:-2]}*")
    hook(site, there.url, "credential.*", repo="another")
    one.commit({"a.txt": "1\n"})
    other.commit({"a.txt": "2\n"})
    site.key("read")
    work(site)
    assert [json.loads(body)["data"]["branch"] for _, body in there.got] == [one.branch]


def test_nothing_from_before_the_webhook_is_sent(site: Lab, there: Receiver) -> None:
    site.open_sandbox()
    made = hook(site, there.url)
    work(site)
    assert there.got == []
    assert log(site, made) == []


def test_an_event_is_tried_again_until_it_is_taken_with_growing_pauses(site: Lab, there: Receiver) -> None:
    made = hook(site, there.url, "none")
    there.status = 500
    id_ = ping(site, made)["id"]
    pauses: list[float] = []
    for attempt in range(1, 5):
        due_now(site)
        work(site)
        pauses += [float(p) for (p,) in site.sql(
            "select extract(epoch from next_at - now()) from ops.outbox where key = %s", f"{id_}:0")]  # fmt: skip
        assert len(there.got) == attempt, "one try a round: a receiver in trouble is not hammered"
    assert all(later > earlier * 1.3 for earlier, later in itertools.pairwise(pauses)), pauses
    assert 3 < pauses[0] < 6.1
    there.status = 204
    due_now(site)
    work(site)
    ids = {headers["webhook-id"] for headers, _ in there.got}
    assert len(ids) == 1, "a receiver can tell that it is the same event"
    shown = site.ok(site.as_owner("GET", f"/v1/deliveries/{id_}"))
    assert (shown["state"], shown["attempts"]) == ("delivered", 5)
    assert [t["status"] for t in shown["tries"]] == [204, 500, 500, 500, 500]
    assert all(t["latency_ms"] >= 0 for t in shown["tries"])


def test_pauses_are_not_the_same_for_all(site: Lab, there: Receiver) -> None:
    made = hook(site, there.url, "none")
    there.status = 500
    for _ in range(6):
        ping(site, made)
    work(site)
    query = (
        "select extract(epoch from o.next_at - a.at)::float8 from ops.outbox o "
        "join ops.deliveries d on o.key = d.id || ':0' join ops.delivery_attempts a on a.delivery_id = d.id "
        "where d.webhook_id = %s"
    )
    pauses = [p for (p,) in site.sql(query, made["id"])]
    assert len(pauses) == 6
    assert all(3.9 < pause < 6.2 for pause in pauses)
    assert max(pauses) - min(pauses) > 0.05


def test_what_nobody_takes_for_a_day_is_given_up_told_and_can_be_sent_anew(
    site: Lab, there: Receiver
) -> None:
    made = hook(site, there.url, "none")
    there.status = 503
    id_ = ping(site, made)["id"]
    work(site)
    assert [d["state"] for d in log(site, made)] == ["pending"]
    path = f"/v1/webhooks/{made['id']}/redeliver"
    site.problem(site.as_owner("POST", path, json={"delivery_id": id_}), "illegal_transition")
    site.sql("update ops.deliveries set begun_at = now() - interval '25 hours' where id = %s", id_)
    due_now(site)
    work(site)
    [dead] = log(site, made, state="failed")
    assert (dead["id"], dead["attempts"], dead["last"]["status"]) == (id_, 2, 503)
    assert [a["object"] for a in site.alerts("webhook_failing")] == [made["id"]]
    due_now(site)
    work(site)
    assert len(there.got) == 2, "it is over"
    there.status = 200
    assert site.ok(site.as_owner("POST", path, json={"failed": True}))["count"] == 1
    work(site)
    assert [d["state"] for d in log(site, made)] == ["delivered"]
    assert site.ok(site.as_owner("POST", path, json={"delivery_id": id_}))["count"] == 1
    work(site)
    assert len(there.got) == 4, "what was delivered can be sent once more, too"
    assert len({headers["webhook-id"] for headers, _ in there.got}) == 1


def test_a_webhook_that_takes_nothing_for_days_is_disabled_with_an_alert(site: Lab, there: Receiver) -> None:
    made = hook(site, there.url, "none")
    there.status = 500
    ping(site, made)
    work(site)
    shown = site.ok(site.as_owner("GET", f"/v1/webhooks/{made['id']}"))
    assert shown["failing_since"]
    past = "update ops.webhooks set failing_since = now() - interval '73 hours' where id = %s"
    site.sql(past, made["id"])
    due_now(site)
    work(site)
    assert site.ok(site.as_owner("GET", f"/v1/webhooks/{made['id']}"))["state"] == "disabled"
    assert made["id"] in [a["object"] for a in site.alerts("webhook_disabled")]
    assert site.events(type="webhook.disabled", object=made["id"])
    site.problem(site.as_owner("POST", f"/v1/webhooks/{made['id']}/ping", json={}), "illegal_transition")
    woken = site.ok(site.as_owner("POST", f"/v1/webhooks/{made['id']}", json={"state": "active"}))
    assert (woken["state"], woken["failing_since"]) == ("active", None)


def test_a_success_forgets_the_failures_before_it(site: Lab, there: Receiver) -> None:
    made = hook(site, there.url, "none")
    there.status = 500
    ping(site, made)
    work(site)
    there.status = 200
    due_now(site)
    work(site)
    assert site.ok(site.as_owner("GET", f"/v1/webhooks/{made['id']}"))["failing_since"] is None


def test_a_receiver_that_is_gone_for_good_is_left_alone(site: Lab, there: Receiver) -> None:
    made = hook(site, there.url, "none")
    there.status = 410
    ping(site, made)
    work(site)
    assert site.ok(site.as_owner("GET", f"/v1/webhooks/{made['id']}"))["state"] == "disabled"


def test_two_secrets_sign_while_one_is_rotated(site: Lab, there: Receiver) -> None:
    made = hook(site, there.url, "none")
    new = site.ok(site.as_owner("POST", f"/v1/webhooks/{made['id']}/secret", json={"overlap_hours": 2}))
    assert new["old_secret_until"]
    ping(site, made)
    work(site)
    headers, body = there.got[-1]
    assert signed_by(made["secret"], headers, body)
    assert signed_by(new["secret"], headers, body)
    site.sql("update ops.webhooks set old_until = now() - interval '1 second' where id = %s", made["id"])
    ping(site, made)
    work(site)
    headers, body = there.got[-1]
    assert not signed_by(made["secret"], headers, body)
    assert signed_by(new["secret"], headers, body)


def test_the_secret_is_shown_once_and_stored_sealed(site: Lab, there: Receiver) -> None:
    made = hook(site, there.url)
    key = base64.b64decode(made["secret"].removeprefix("whsec_"))
    assert len(key) == 32
    for path in ("/v1/webhooks", f"/v1/webhooks/{made['id']}"):
        assert made["secret"] not in site.as_owner("GET", path).text
    stored = site.sql("select secret from ops.webhooks where id = %s", made["id"])[0][0]
    assert key not in bytes(stored)
    assert made["secret"].encode() not in bytes(stored)
    assert made["secret"] not in json.dumps(site.events(object=made["id"]))


def test_the_log_shows_the_answer_without_credentials(site: Lab, there: Receiver) -> None:
    made = hook(site, there.url, "none")
    there.reply = f"\x1b[31m{made['secret']} bos_rt_{'a' * 43} {'z' * 5000}".encode()
    id_ = ping(site, made)["id"]
    work(site)
    shown = site.ok(site.as_owner("GET", f"/v1/deliveries/{id_}"))["tries"][0]["response"]
    assert made["secret"].removeprefix("whsec_") not in shown
    assert "bos_rt_a" not in shown
    assert "\x1b" not in shown
    assert shown.endswith("zzz")
    assert len(shown) == 1000


def test_a_webhook_that_is_paused_or_gone_gets_nothing(site: Lab, there: Receiver) -> None:
    made = hook(site, there.url)
    ping(site, made)
    site.ok(site.as_owner("POST", f"/v1/webhooks/{made['id']}", json={"state": "paused"}))
    site.open_sandbox()
    work(site)
    assert there.got == []
    assert [d["state"] for d in log(site, made)] == ["dropped"]
    site.ok(site.as_owner("DELETE", f"/v1/webhooks/{made['id']}"))
    for method, path in (("GET", ""), ("POST", "/ping"), ("GET", "/deliveries"), ("DELETE", "")):
        site.problem(site.as_owner(method, f"/v1/webhooks/{made['id']}{path}"), "not_found")
    assert site.sql("select length(secret) from ops.webhooks where id = %s", made["id"]) == [(0,)]


def test_changing_a_webhook_changes_what_was_named_and_nothing_else(site: Lab, there: Receiver) -> None:
    made = hook(site, there.url, "commit", repo="lab", description="ci")
    path = f"/v1/webhooks/{made['id']}"
    changed = site.ok(site.as_owner("POST", path, json={"events": ["push", "push"], "repo": ""}))
    assert (changed["events"], changed["repo"], changed["description"], changed["url"]) == (
        ["push"], None, "ci", there.url,
    )  # fmt: skip
    site.problem(site.as_owner("POST", path, json={}), "validation_failed")
    site.problem(site.as_owner("POST", path, json={"url": "https://10.0.0.1/"}), "validation_failed")


@pytest.mark.parametrize(
    "events", [[], [""], ["Commit"], ["approval.*.x"], ["**"], ["a" * 600], ["commit"] * 51]
)
def test_a_subscription_that_could_never_match_is_refused(
    site: Lab, there: Receiver, events: list[str]
) -> None:
    body = {"url": there.url, "events": events}
    site.problem(site.as_owner("POST", "/v1/webhooks", json=body), "validation_failed")


def test_webhooks_have_a_number_that_is_enough(site: Lab, there: Receiver) -> None:
    for _ in range(20):
        hook(site, there.url, "none")
    refused = site.as_owner("POST", "/v1/webhooks", json={"url": there.url})
    assert site.problem(refused, "quota_exceeded")["limit"] == 20


def test_a_redirect_is_a_failure_that_nobody_follows(site: Lab, there: Receiver) -> None:
    made = hook(site, there.url, "none")
    there.status = 302
    ping(site, made)
    work(site)
    assert [d["last"]["status"] for d in log(site, made)] == [302]
    assert [d["state"] for d in log(site, made)] == ["pending"]


def test_webhooks_of_one_organisation_hear_nothing_of_another(site: Lab, there: Receiver) -> None:
    made = hook(site, there.url)
    other = site.second_org("elsewhere")
    key = {"label": "x", "scopes": ["read"]}
    site.ok(site.world.http.post("/v1/api-keys", json=key, headers=other.owner), 201)
    work(site)
    assert there.got == []
    for path in (f"/v1/webhooks/{made['id']}", f"/v1/webhooks/{made['id']}/deliveries"):
        site.problem(site.world.http.get(path, headers=other.owner), "not_found")


def test_credentials_in_what_happened_are_not_passed_on(site: Lab, there: Receiver) -> None:
    hook(site, there.url, "commit")
    box = site.open_sandbox()
    box.commit({"a.txt": "a\n"}, f"Use bos_rt_{'b' * 43}")
    work(site)
    assert types(there) == ["commit"]
    assert "bos_rt_b" not in there.got[0][1].decode()


def test_a_slow_receiver_does_not_hold_all_threads(site: Lab) -> None:
    lanes = notices.sending.Lanes()
    assert [lanes.enter("a"), lanes.enter("a"), lanes.enter("a"), lanes.enter("b")] == [
        True,
        True,
        False,
        True,
    ]
    lanes.leave("a")
    assert lanes.enter("a")


def test_the_pause_between_tries_ends_at_an_hour() -> None:
    assert outbox.backoff(0) == timedelta(seconds=5)
    assert outbox.backoff(50) == timedelta(hours=1)


def test_the_snippet_of_the_documentation_tells_our_events_from_forged_ones(
    site: Lab, there: Receiver
) -> None:
    [snippet] = [
        b.text.split("\n", 1)[1].rsplit("\nPY", 1)[0] for b in blocks(PAGE) if "def verified" in b.text
    ]
    made = hook(site, there.url, "none")
    ping(site, made)
    work(site)
    headers, body = there.got[-1]

    def accepted(secret: str, id_: str, stamp: str, signature: str, sent: bytes) -> bool:
        done = subprocess.run(
            [sys.executable, "-c", snippet, secret, id_, stamp, signature],
            input=sent,
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    whole = (
        made["secret"],
        headers["webhook-id"],
        headers["webhook-timestamp"],
        headers["webhook-signature"],
    )
    assert accepted(*whole, body)
    assert not accepted(*whole, body.replace(b"webhook.ping", b"webhook.pong"))
    assert not accepted("whsec_" + base64.b64encode(b"x" * 32).decode(), *whole[1:], body)
    old = str(int(whole[2]) - 301)
    said = f"{whole[1]}.{old}.".encode() + body
    key = base64.b64decode(made["secret"].removeprefix("whsec_"))
    replayed = "v1," + base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
    assert not accepted(made["secret"], whole[1], old, replayed, body)


def test_what_becomes_of_a_request_is_told_to_those_who_listen_to_its_repository(
    site: Lab, there: Receiver
) -> None:
    box = site.open_sandbox()
    hook(site, there.url, "approval.*", repo="lab", branch=box.branch)
    hook(site, there.url, "approval.*", repo="another")
    box.commit({"listened.txt": "1\n"})
    asked = box.post("/git/promote", title="Listen")["approval_id"]
    site.ok(site.as_owner("POST", f"/v1/approvals/{asked}", json={"decision": "deny"}))
    work(site)
    assert sorted(types(there)) == ["approval.decided", "approval.requested"]
    assert {json.loads(body)["object"] for _, body in there.got} == {asked}
