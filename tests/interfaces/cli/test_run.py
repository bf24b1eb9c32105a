"""Runs on the command line: started, followed, looked at, steered; leaving one does not end it."""

import json
import os
import pty
import select
import signal
import subprocess
import time

import pytest

from builderos.interfaces.cli.run_lanes import Standing, plain_line

from .conftest import Line

GOOD = """
name: good
params: {word: {type: string, default: hello}, times: {type: integer, default: 1}}
steps:
  - id: plan
    env: {WORD: "${{ params.word }}", TIMES: "${{ params.times }}"}
    run: "echo $WORD $TIMES; printf '\\\\033[31mred\\\\033[0m\\\\n'"
  - {id: api, needs: [plan], lane: a, run: "echo api > api.txt"}
  - {id: docs, needs: [plan], lane: b, run: "echo docs > docs.txt"}
"""
BAD = "name: bad\nsteps:\n  - {id: broken, run: 'echo oh no; exit 3', retries: {max: 0}}\n"
SLOW = "name: slow\nsteps:\n  - {id: slow, run: 'echo begun; sleep 30'}\n"


@pytest.fixture
def shipper(builder: Line) -> Line:
    """The builder with three pipelines on the own branch."""
    for name, text in (("good", GOOD), ("bad", BAD), ("slow", SLOW)):
        builder.write(f"ship/{name}/pipeline.yaml", text)
    builder.ok(
        "commit", *(f"ship/{name}/pipeline.yaml" for name in ("good", "bad", "slow")), "-m", "Pipelines"
    )
    return builder


def test_a_pipeline_is_started_followed_and_looked_at(shipper: Line) -> None:
    done = shipper("run", "good", "--follow", "-p", "word=servus", "-p", "times:=3")
    assert done.code == 0, done
    lines = done.out.splitlines()
    assert "plan: started" in lines
    assert "docs: succeeded" in lines
    assert "run succeeded" in lines
    run = shipper.json("run", "list", "--pipeline", "good")["items"][0]
    assert run["status"] == "succeeded"
    shown = shipper.json("run", "show", run["id"])
    assert {f["path"] for f in shown["diff"]["files"]} <= {"api.txt", "docs.txt"}
    assert "plan" in shipper.ok("run", "show", run["id"], "--diff")
    assert "Nothing was decided yet" in shipper.ok("run", "context", run["id"])
    steps = {step["name"]: step["id"] for step in shown["timeline"]["items"]}
    assert shipper.ok("logs", steps["plan"]) == "servus 3\nred\n"
    assert shipper.ok("logs", steps["plan"], "--tail", "1") == "red\n"
    assert shipper.ok("logs", steps["plan"], "--follow") == "servus 3\nred\n"
    assert "\x1b[31mred" in shipper.ok("logs", steps["plan"], "--raw")
    assert shipper.ok("logs", run["id"]).startswith("== plan (attempt 1)\nservus 3\nred\n")
    assert "servus 3" in shipper.ok("logs", run["id"], "--follow")
    events = [
        json.loads(line) for line in shipper.ok("run", "events", run["id"], "--follow", "--json").splitlines()
    ]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert shipper.ok("run", "status", run["id"]).startswith(run["id"])


def test_exit_codes_say_how_a_run_ended(shipper: Line) -> None:
    failed = shipper("run", "bad", "--follow", "--json")
    assert failed.code == 1
    assert failed.json["status"] == "failed"
    assert "broken: failed (exit)" in failed.err
    assert "  broken: exit exit 3\n    builderos logs stp_" in shipper.ok("run", "show", failed.json["id"])
    assert shipper("run", "status", failed.json["id"]).code == 1
    assert shipper("run", "no-such-pipeline").code in (1, 2)
    assert shipper("run", "good", "-p", "nonsense").code == 2
    assert shipper("run", "good", "-p", "times:=x").code == 2


def test_following_ends_where_the_run_waits_for_somebody_and_says_what_to_do(shipper: Line) -> None:
    for name, asks in (("ask", "approval: Shall it?"), ("which", "question: Which one?")):
        file = f"ship/{name}/pipeline.yaml"
        shipper.write(file, f"name: {name}\nsteps:\n  - {{id: gate, {asks}}}\n")
        shipper.ok("commit", file, "-m", name)
        followed = shipper("run", name, "--follow")
        assert followed.code == 4, followed
        run_id = shipper.json("run", "list", "--pipeline", name)["items"][0]["id"]
        hint = (
            "gate waits for an approval: builderos approve apr_" if name == "ask" else f"answer {run_id} TEXT"
        )
        assert hint in followed.out
        shipper.ok("run", "cancel", run_id)


def test_a_run_is_cancelled_and_run_again(shipper: Line) -> None:
    run_id = shipper.json("run", "slow")["run_id"]
    assert shipper.json("run", "cancel", run_id, "--reason", "enough")["id"] == run_id
    assert shipper("run", "follow", run_id).code == 1
    assert "cancelled" in shipper("run", "status", run_id).out
    again = shipper.json("run", "rerun", run_id)["run_id"]
    assert again != run_id
    shipper.ok("run", "cancel", again)


def _until(handle: int, wanted: bytes, seen: bytes = b"") -> bytes:
    """What a terminal shows, up to a text."""
    until = time.monotonic() + 120
    while wanted not in seen:
        assert time.monotonic() < until, seen
        if select.select([handle], [], [], 0.2)[0]:
            seen += os.read(handle, 65536)
    return seen


def _hears_interrupts() -> None:
    """What began behind a shell's back ignores them, and so would whatever it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_on_a_terminal_lanes_are_drawn_and_leaving_ends_nothing(shipper: Line) -> None:
    ours, theirs = pty.openpty()
    env = {**shipper.env, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    following = subprocess.Popen(
        [*shipper.program, "run", "slow", "--follow"], cwd=shipper.folder, env=env, stdin=theirs, stdout=theirs,
        stderr=theirs, start_new_session=True, preexec_fn=_hears_interrupts,  # noqa: PLW1509 - nothing else runs in it
    )  # fmt: skip
    os.close(theirs)
    try:
        seen = _until(ours, "▸ slow".encode())
        assert b"\x1b[36m" in seen
        following.send_signal(signal.SIGINT)
        seen = _until(ours, b"the run goes on", seen)
        assert following.wait(120) == 130
    finally:
        following.kill()
        os.close(ours)
    run = shipper.json("run", "list", "--pipeline", "slow")["items"][0]
    assert run["status"] in ("queued", "running")
    shipper.ok("run", "cancel", run["id"])


def test_a_picture_is_never_wider_or_higher_than_the_terminal() -> None:
    standing = Standing("run_x")
    standing.take("run.created", {"status": "queued", "pipeline": "many@1", "steps": 400})
    for n in range(400):
        step = {"name": f"step-{n}-{'x' * (n % 90)}", "lane": f"lane{n % 40}", "attempt": 1}
        standing.take("step.started", {**step, "status": "running"})
        if n % 3:
            standing.take("step.ended", {**step, "status": "failed" if n % 2 else "succeeded"})
    for width, height in ((40, 10), (120, 50), (10, 3)):
        lines = standing.drawn(width, height, colour=False)
        assert len(lines) <= height
        assert all(len(line) <= max(width, 34) for line in lines)
    assert "…" in lines[-1]
    assert (
        plain_line("step.waiting", {"name": "ok", "status": "waiting_approval"}) == "ok: waits for approval"
    )
    hostile = Standing("run_x")
    hostile.take("step.started", {"name": "a\x1b]0;x\x07", "lane": "\x1b[2J", "status": "running"})
    assert "\x1b" not in "".join(hostile.drawn(80, 20, colour=False))
