"""A failed call leaves a line in the ledger; passing trouble and anonymous callers leave none."""

from builderos.core.operations import Operations
from builderos.core.schema import In
from builderos.core.unit import Unit
from builderos.interfaces.http import serve as door
from builderos.interfaces.http.serve import Incoming


def lines(world, type_="call.failed"):
    return world.ok(world.as_owner("GET", "/v1/audit", params={"type": type_}))["items"]


def test_a_problem_is_written_after_its_rollback(world):
    sandbox = world.open_sandbox()
    world.problem(sandbox.try_post("/git/rollback_commit", commit_sha="0" * 40, reason="x"), "not_found")
    (line,) = lines(world)
    assert line["object"] == "rollback"
    wanted = {
        "operation": "rollback",
        "code": "not_found",
        "status": 404,
        "branch": sandbox.branch,
        "repo": "lab",
    }
    assert wanted.items() <= line["payload"].items()
    assert line["actor_name"] == sandbox.branch


def test_a_refusal_has_exactly_one_line(world):
    mine, other = world.open_sandbox(), world.open_sandbox()
    mine.try_post("/git/log", branch=other.branch)
    mine.try_post("/commit_and_log_output", files=[{"path": "a", "content": ""}], message="m", branch="main")
    written = [*lines(world), *lines(world, "refused")]
    assert len({line["request_id"] for line in written}) == len(written) == 2


def test_a_call_without_a_credential_leaves_nothing(world):
    world.http.post("/git/log", json={"repo_name": "lab"})
    world.http.post("/sandbox/init", json={"repo_name": "nowhere"})
    assert lines(world) == []


def test_a_limit_leaves_no_line(database):
    from tests.support.world import world_in_temp

    with world_in_temp(database, rate_per_token=3) as world:
        sandbox = world.open_sandbox()
        codes = [sandbox.try_post("/git/log", branch="nope").status_code for _ in range(6)]
        assert 429 in codes
        with_codes = {line["payload"]["code"] for line in lines(world)}
        assert "rate_limited" not in with_codes


def test_a_fault_of_ours_raises_an_alert_and_is_recorded(world):
    group = Operations("test")

    @group.post("/test/boom", "boom", effect="write")
    def boom(unit: Unit, body: In) -> In:
        """Fail."""
        raise ZeroDivisionError

    incoming = Incoming(request_id="req_x", bearer=world.owner_token, caller="c")
    try:
        door.serve(world.app, group.items[0], In(), incoming)
    except ZeroDivisionError:
        pass
    else:
        raise AssertionError("the fault must reach the edge")
    assert lines(world)[0]["payload"]["code"] == "internal"
    alerts = world.ok(world.as_owner("GET", "/v1/alerts", params={"rule": "tool_failed"}))["items"]
    assert alerts[0]["object"] == "boom"
