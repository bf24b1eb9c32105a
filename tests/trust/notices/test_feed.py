"""What the ledger says is passed on once, whoever and however many do it at the same time."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from builderos.core.unit import Unit, as_system
from builderos.trust.notices import feed
from builderos.trust.notices import service as notices
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp


def listen(lab: Lab, *events: str) -> str:
    body = {"url": "https://hooks.example.com/", "events": list(events)}
    return lab.ok(lab.as_owner("POST", "/v1/webhooks", json=body), 201)["id"]


def test_every_event_is_queued_once_and_every_act_counted_once(databases: Databases) -> None:
    with lab_in_temp(databases) as lab:
        listen(lab, "commit")
        boxes = [lab.open_sandbox() for _ in range(3)]

        def save(box: int) -> None:
            for number in range(6):
                boxes[box].commit({"a.txt": f"{number}\n"})
                notices.feed.pass_on(lab.world.context)

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(save, range(3)))
            list(pool.map(lambda _: notices.feed.pass_on(lab.world.context), range(6)))
        events = Counter(row[0] for row in lab.sql("select event_id from ops.deliveries"))
        assert (len(events), set(events.values())) == (18, {1})
        assert lab.sql("select count(*) from ops.outbox where kind = 'webhook'") == [(18,)]
        assert lab.sql("select sum(commits)::int from ops.usage") == [(18,)]
        head = lab.sql("select seq from ops.ledger_head where org_id = %s", lab.world.org_id)
        assert lab.sql("select seq from ops.news_cursors where org_id = %s", lab.world.org_id) == head


def test_what_fails_half_way_is_passed_on_whole_the_next_time(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lab_in_temp(databases) as lab:
        listen(lab, "sandbox.created")
        for _ in range(3):
            lab.open_sandbox()
        real, calls = feed.deliveries.queue, iter(range(9))

        def fragile(unit: Unit, hook: str, event: dict[str, object]) -> str:
            if next(calls) == 1:
                raise RuntimeError("the process dies")
            return real(unit, hook, event)

        monkeypatch.setattr(feed.deliveries, "queue", fragile)
        with pytest.raises(RuntimeError):
            notices.feed.pass_on(lab.world.context)
        assert lab.sql("select count(*) from ops.deliveries") == [(0,)]
        notices.feed.pass_on(lab.world.context)
        assert lab.sql("select count(*) from ops.deliveries") == [(3,)]


def test_more_lines_than_fit_into_one_transaction_are_all_passed_on(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "AT_ONCE", 2)
    with lab_in_temp(databases) as lab:
        listen(lab, "credential.created")
        for _ in range(7):
            lab.key("read")
        notices.feed.pass_on(lab.world.context)
        assert lab.sql("select count(*) from ops.deliveries") == [(7,)]


def test_a_new_alert_has_one_line_however_many_look(lab: Lab) -> None:
    def ring(unit: Unit) -> None:
        notices.raise_alert(unit, "backup_failed", "repo_x", {})

    as_system(lab.world.context, lab.world.org_id, ring)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: notices.feed.pass_on(lab.world.context), range(4)))
    assert len(lab.events(type="alert.opened")) == 1
