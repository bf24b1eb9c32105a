"""A push that was refused leaves its lines in the ledger, like any failed call."""

from typing import Any

from .conftest import Live

MIB_LINE = "x" * 1023 + "\n"


def lines(live: Live, **filters: str) -> list[dict[str, Any]]:
    reply = live.world.as_owner("GET", "/v1/audit", params={"type": "call.failed", **filters})
    return live.world.ok(reply)["items"]


def test_a_push_to_a_branch_of_others_is_recorded(alone: Live) -> None:
    mine = alone.clone()
    mine.commit({"a.txt": "a\n"}, "Add")
    assert not mine.push("HEAD:main").ok
    (line,) = lines(alone)
    assert line["object"] == "git push"
    assert (
        line["payload"].items() >= {"repo": "lab", "branch": alone.sandbox.branch, "wanted": "main"}.items()
    )
    assert line["payload"]["code"] in ("protected_branch", "forbidden_branch")
    assert [found["seq"] for found in lines(alone, code=line["payload"]["code"])] == [line["seq"]]


def test_a_push_that_is_too_large_is_recorded_and_raises_an_alert(alone: Live) -> None:
    mine = alone.clone()
    mine.commit({"large.txt": MIB_LINE * 1025}, "Too large")
    assert not mine.push().ok
    (line,) = lines(alone)
    assert line["payload"]["code"] == "payload_too_large"
    alerts = alone.world.ok(alone.world.as_owner("GET", "/v1/alerts", params={"rule": "quota_exceeded"}))[
        "items"
    ]
    assert [alert["detail"]["operation"] for alert in alerts] == ["git push"]


def test_a_push_that_goes_through_leaves_no_failure(alone: Live) -> None:
    mine = alone.clone()
    mine.commit({"a.txt": "a\n"}, "Add")
    assert mine.push().ok
    assert lines(alone) == []
