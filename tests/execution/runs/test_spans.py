"""A run is one trace: run → step → turn → command or tool, over processes and restarts, without anybody's words."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from builderos import app as root
from builderos.core import tracing
from builderos.core.clock import utcnow
from builderos.execution.runs import spans
from builderos.execution.runs.service import Callers
from tests.integrations.test_otlp import Collector, collecting, traced, values
from tests.support.databases import FreshDatabase
from tests.support.lab import Lab
from tests.support.runs import Ship, ship_in_temp
from tests.support.servers import until

STEPS = """
steps:
  - {id: canary-make, run: 'echo canary-output > canary.txt', env: {WORD: canary-secret}}
  - {id: canary-ask, needs: [canary-make], question: canary-question}
  - {id: canary-save, needs: [canary-ask], action: git.commit, inputs: {message: canary-message}}
  - {id: canary-fail, needs: [canary-save], run: 'exit 3'}
"""


@contextmanager
def sailing(database: FreshDatabase, collector: Collector) -> Iterator[Ship]:
    with traced(collector), ship_in_temp(database) as ship:
        yield ship


def of_run(collector: Collector, run_id: str) -> list[Span]:
    return [span for span in collector.spans if span.trace_id.hex() == spans.trace_of(run_id)]


def test_a_run_is_one_trace_over_processes(database: FreshDatabase) -> None:
    with collecting() as collector:
        with sailing(database, collector) as ship:
            id_ = ship.start(ship.pipeline(STEPS))
            ship.until(id_, "waiting_input")
            ship.engine.stop(5)  # another process goes on with it
            ship.engine = root.build_engine(root.Started(ship.world.app, database.engine_url))
            ship.engine.start()
            assert ship.engine.wait(120)
            answer = {"answer": "canary-answer"}
            ship.world.ok(
                ship.world.http.post(f"/v1/runs/{id_}/answer", json=answer, headers=ship.box.headers)
            )
            run = ship.until(id_)
            assert run["status"] == "failed"
            steps = ship.steps(run)
        mine = of_run(collector, id_)

    (top,) = [span for span in mine if span.name == "run"]
    assert (top.span_id.hex(), top.parent_span_id) == (spans.span_of(id_), b"")
    said = values(top.attributes)
    assert (said["builderos.run.id"], said["builderos.run.status"], said["error.type"]) == (
        id_,
        "failed",
        "failed",
    )
    assert top.status.code == Status.STATUS_CODE_ERROR
    below = {values(s.attributes)["builderos.step.id"]: s for s in mine if s.name == "step"}
    assert set(below) == {step["id"] for step in steps.values()}
    for step_id, span in below.items():
        assert (span.parent_span_id, span.span_id.hex()) == (top.span_id, spans.span_of(step_id))
        assert values(span.attributes)["builderos.policy.decision"] == "allow"
        assert top.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= top.end_time_unix_nano
    check_work(mine, {step["name"]: below[step["id"]] for step in steps.values()})
    text = "".join(map(str, mine))
    assert "canary" not in text
    assert ship.box.token not in text


def check_work(mine: list[Span], below: dict[str, Span]) -> None:
    """Commands and tools stand below a turn of their step, and SQL below what asked for it."""
    turns = {span.span_id: span for span in mine if span.name == "turn"}
    for name, step in (
        ("command", "canary-make"),
        ("tool git.commit", "canary-save"),
        ("command", "canary-fail"),
    ):
        found = [s for s in mine if s.name == name and above(mine, s, below[step])]
        assert len(found) == 1, (name, step)
        assert values(found[0].attributes)["builderos.policy.decision"] == "allow"
    failed = [s for s in mine if s.name == "command" and s.status.code == Status.STATUS_CODE_ERROR]
    assert [values(s.attributes)["error.type"] for s in failed] == ["exit"]
    assert turns
    assert all(turn.parent_span_id in {span.span_id for span in below.values()} for turn in turns.values())
    assert any(s.name == "postgresql" for s in mine)


def above(mine: list[Span], span: Span, wanted: Span) -> bool:
    by_id = {each.span_id: each for each in mine}
    while span.span_id != wanted.span_id:
        if span.parent_span_id not in by_id:
            return False
        span = by_id[span.parent_span_id]
    return True


def test_a_refused_step_says_so_and_a_share_of_runs_is_a_share_of_whole_traces(
    database: FreshDatabase,
) -> None:
    with collecting() as collector, collecting() as few:
        with sailing(database, collector) as ship:
            steps = "steps:\n  - {id: ask, question: Go on?}\n  - {id: after, needs: [ask], action: noop}\n"
            id_ = ship.start(ship.pipeline(steps))
            ship.until(id_, "waiting_input")
            lab = Lab(ship.world, database)
            lab.change_token(ship.box, "revoke")
            ship.context.put(Callers, Callers())  # as after two seconds
            ship.world.ok(ship.world.as_owner("POST", f"/v1/runs/{id_}/answer", json={"answer": "yes"}))
            until(lambda: lab.sql("select 1 from ops.runs where id = %s and ended_at is not null", id_))
        with traced(few, otlp_ratio=0.0):
            now, trace = utcnow(), spans.trace_of(id_)
            tracing.ended(tracing.Ended("run", trace, spans.span_of(id_), None, now, now, {}))
    told = [values(span.attributes) for span in of_run(collector, id_) if span.name == "step"]
    decided = [(step["builderos.policy.decision"], step.get("error.type")) for step in told]
    assert sorted(decided, key=str) == [("allow", None), ("deny", "policy")]
    assert few.spans == []
