"""Suites are tried in runs: what comes of them is kept, compared, and decides what may become `latest`."""

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from builderos.core.problems import Problem
from builderos.core.unit import as_system
from builderos.workloads.evals.asking import Outside
from builderos.workloads.evals.local_files import path_of
from builderos.workloads.evals.model import eval_trials
from builderos.workloads.evals.running import Cell
from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp
from tests.support.servers import until
from tests.support.upstreams import ModelServer, Reply, model_server, provider_file
from tests.support.world import Json

FILE = (
    "version: 1\ndefault: up/small\nproviders:\n  up: {{kind: openai, base_url: {url}, keys: [env:UP_KEY]}}\n"
)
PROMPT = """\
name: {name}
version: {version}
changelog: {version}.
inputs: {{goal: string}}
template: {say} {{{{ goal }}}}
"""
SUITE = """\
prompt: {name}
models: [echo]
cases:
  - {{id: kind, input: {{goal: it}}, expect: [{{type: contains, value: Please}}]}}
  - {{id: named, input: {{goal: it}}, expect: [{{type: contains, value: it}}]}}
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[ModelServer]:
    with model_server() as made:
        yield made


@pytest.fixture(scope="module")
def ship(databases: Databases, upstream: ModelServer) -> Iterator[Ship]:
    with pytest.MonkeyPatch.context() as patch, databases.fresh() as database, ship_in_temp(database) as made:
        patch.setenv("UP_KEY", "sk-key-of-the-test")
        provider_file(made.world.home, FILE.format(url=upstream.url))
        yield made


def publish(ship: Ship, name: str, version: str, say: str) -> Json:
    content = PROMPT.format(name=name, version=version, say=say)
    return ship.world.ok(ship.world.as_owner("POST", "/v1/prompts", json={"content": content}), 201)


def start(ship: Ship, suite: str, *, owner: bool = True, **more: Any) -> str:
    headers = ship.world.owner if owner else ship.box.headers
    body = {"repo_name": ship.box.repo_name, "branch": ship.box.branch, **more}
    reply = ship.world.http.post(f"/v1/evals/{suite}/run", json=body, headers=headers)
    return str(ship.world.ok(reply, 202)["run_id"])


def tried(ship: Ship, suite: str, **more: Any) -> tuple[Json, Json]:
    """The run once it is over, and the document of what came of the suite."""
    run = ship.until(start(ship, suite, **more))
    shown = ship.world.as_owner("GET", f"/v1/evals/{suite}/results?run_id={run['id']}")
    return run, ship.world.ok(shown)["document"] if shown.status_code == 200 else {}


def latest(ship: Ship, name: str) -> str:
    return ship.world.ok(ship.world.as_owner("GET", f"/v1/prompts/{name}"))["version"]


def test_a_version_becomes_latest_once_its_suite_passes_and_not_before(ship: Ship) -> None:
    publish(ship, "greeter", "1.0.0", "Please do")
    ship.box.commit({"evals/greeting.yaml": SUITE.format(name="greeter")})
    run, said = tried(ship, "greeting")
    assert (run["status"], said["verdict"], said["version"], said["pass_rate"]) == (
        "succeeded",
        "pass",
        "1.0.0",
        1.0,
    )

    receipt = ship.world.ok(ship.world.as_owner("GET", f"/v1/runs/{run['id']}/receipt"))
    told = json.loads(base64.b64decode(receipt["payload"]))["predicate"]["buildDefinition"][
        "internalParameters"
    ]
    assert told["prompts"] == {"greeter@1.0.0": said["sha256"]}

    publish(ship, "greeter", "1.1.0", "Just do")
    assert latest(ship, "greeter") == "1.0.0"
    run, said = tried(ship, "greeting", prompt="greeter@1.1.0")
    step = run["steps"][0]
    assert (run["status"], step["reason"], said["baseline"]) == ("failed", "gate", "1.0.0")
    assert [r["id"] for r in said["regressions"]] == ["kind"]
    assert "worse than 1.0.0: kind" in step["error"]
    versions = ship.world.ok(ship.world.as_owner("GET", "/v1/prompts/greeter/versions"))["items"]
    assert [(v["version"], v["gate"]) for v in versions] == [("1.1.0", "fail"), ("1.0.0", "pass")]
    assert latest(ship, "greeter") == "1.0.0"

    publish(ship, "greeter", "1.2.0", "Please just do")
    tried(ship, "greeting", prompt="greeter@1.2.0")
    assert latest(ship, "greeter") == "1.2.0"
    diff = ship.world.ok(ship.world.as_owner("GET", "/v1/prompts/greeter/diff?from=1.1.0&to=1.2.0"))
    assert diff["evals"] == [{"suite": "greeting", "before": 0.5, "after": 1.0, "delta": 0.5, "cases": 2}]
    path = path_of(ship.world.home, ship.world.org_id, run["project_id"], "greeting")
    assert json.loads(path.read_text())["version"] == "1.2.0"


def test_a_provider_that_is_away_or_another_model_takes_latest_from_nobody(ship: Ship) -> None:
    publish(ship, "steady", "1.0.0", "Please do")
    ship.box.commit({"evals/steady.yaml": SUITE.format(name="steady")})
    tried(ship, "steady")
    other = tried(ship, "steady", models=["up/other"])[1]
    ship.box.commit({"evals/steady.yaml": SUITE.format(name="steady").replace("[echo]", "[away/it]")})
    away = tried(ship, "steady")[1]

    assert (other["verdict"], away["verdict"]) == ("fail", "fail")
    assert {case["status"] for case in away["cases"]} == {"error"}
    assert latest(ship, "steady") == "1.0.0"


def test_who_may_not_publish_neither_lets_a_version_pass_nor_holds_it_back(ship: Ship) -> None:
    publish(ship, "guarded", "1.0.0", "Please do")
    publish(ship, "guarded", "1.1.0", "Just do")
    ship.box.commit({"evals/mine.yaml": SUITE.format(name="guarded")})
    ship.until(start(ship, "mine", owner=False, prompt="guarded@1.1.0"))
    mine = ship.world.ok(ship.world.http.get("/v1/evals/mine/results", headers=ship.box.headers))

    assert (mine["result"]["verdict"], mine["result"]["counts"]) == ("fail", False)
    assert latest(ship, "guarded") == "1.1.0"
    other = ship.world.open_sandbox()
    ship.world.problem(ship.world.http.get("/v1/evals/mine/results", headers=other.headers), "not_found")
    listed = ship.world.ok(ship.world.http.get("/v1/evals", headers=other.headers))["items"]
    assert listed == []


def test_models_answer_through_the_gateway_and_the_judge_is_one(ship: Ship, upstream: ModelServer) -> None:
    ship.box.commit(
        {
            "evals/asked.yaml": "prompts: ['Say {{word}}']\nproviders: [up/small]\n"
            "defaultTest: {options: {provider: up/judge}}\n"
            "tests:\n  - vars: {word: hi}\n    assert:\n      - {type: contains, value: hello}\n"
            "      - {type: llm-rubric, value: is polite}\n"
        }
    )
    upstream.requests.clear()
    upstream.replies.append(Reply(words=["hello"]))
    upstream.replies.append(Reply(words=['{"pass": true, "score": 1, "reason": "polite"}']))
    run, said = tried(ship, "asked")

    assert (run["status"], said["verdict"]) == ("succeeded", "pass")
    assert [request["model"] for request in upstream.requests] == ["small", "judge"]
    assert upstream.requests[0]["messages"] == [{"role": "user", "content": "Say hi"}]
    assert '{"text": "hello"}' in upstream.requests[1]["messages"][0]["content"]
    assert said["usage"]["labels"] == ["live"]


def test_commands_and_files_of_the_tree_are_judged(ship: Ship) -> None:
    ship.box.commit(
        {
            "answer.txt": "42\n",
            "evals/tree.yaml": "replies: {tree: the answer is 42, wrong: x}\ncases:\n"
            "  - id: tree\n    expect:\n      - {type: file_exists, path: answer.txt}\n"
            "      - {type: file_contains, path: answer.txt, text: '42'}\n"
            '      - {type: command, run: \'echo "$EVAL_OUTPUT" | grep -q "$(cat answer.txt)"\'}\n'
            "  - {id: wrong, expect: [{type: command, run: 'echo not so; exit 3'}]}\n",
        }
    )
    run, said = tried(ship, "tree")
    assert run["status"] == "failed"
    assert [(c["id"], c["status"], c["reason"]) for c in said["cases"]] == [
        ("tree", "pass", ""), ("wrong", "fail", "command (line 8): exit code 3: not so"),
    ]  # fmt: skip


def test_a_gate_lets_a_step_pass_only_behind_a_suite_that_did(ship: Ship) -> None:
    files = {"evals/gate.yaml": "replies: {a: x}\ncases: [{id: a, golden: x}]\n"}
    text = "steps:\n  - {id: try, action: eval, inputs: {suite: gate}}\n"
    text += "  - {id: go, needs: [try], action: noop, gates: [{eval: gate}]}\n"
    text += "  - {id: blind, needs: [try], action: noop, gates: [{eval: other}], on_fail: continue}\n"
    run = ship.done(text, files)
    assert ship.statuses(run) == {"try": "succeeded", "go": "succeeded", "blind": "failed"}
    assert "was not tried in this run" in ship.steps(run)["blind"]["error"]


def test_a_suite_with_mistakes_is_refused_before_a_run_begins(ship: Ship) -> None:
    ship.box.commit(
        {
            "evals/bad.yaml": "prompts: [x]\nproviders: [echo]\ntests:\n  - assert: [{type: python, value: x}]\n"
        }
    )
    reply = ship.world.as_owner(
        "POST", "/v1/evals/bad/run", json={"repo_name": "lab", "branch": ship.box.branch}
    )
    problem = ship.world.problem(reply, "validation_failed")
    assert [(e["line"], e["code"]) for e in problem["errors"]] == [(4, "unsupported")]
    lint = ship.world.as_owner("POST", "/v1/evals/lint", json={"content": "cases: []\n"})
    assert ship.world.ok(lint)["errors"][0]["line"] == 1
    gone = ship.world.as_owner(
        "POST", "/v1/evals/none/run", json={"repo_name": "lab", "branch": ship.box.branch}
    )
    ship.world.problem(gone, "not_found")


def test_reports_come_in_the_forms_that_others_read(ship: Ship) -> None:
    ship.box.commit({"evals/report.yaml": "replies: {a: y}\ncases: [{id: a, golden: x}]\n"})
    run, _ = tried(ship, "report")
    shown = {
        form: ship.world.ok(
            ship.world.as_owner("GET", f"/v1/evals/report/results?run_id={run['id']}&format={form}")
        )
        for form in ("junit", "markdown")
    }
    assert '<testsuite name="report" tests="1" failures="1"' in shown["junit"]["text"]
    assert shown["markdown"]["text"].startswith("## report: fail")


def test_what_was_answered_before_an_attempt_broke_off_is_not_asked_again(
    ship: Ship, upstream: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship.box.commit(
        {
            "evals/long.yaml": "prompts: ['Say {{word}}']\nproviders: [up/small]\n"
            "tests:\n  - {vars: {word: [one, two]}, assert: [{type: contains, value: hello}]}\n"
        }
    )
    upstream.requests.clear()
    upstream.replies += [Reply(words=["hello"]), Reply(words=["hello"])]
    ask, runs = Outside.ask, list[str]()

    async def breaks_off(self: Outside, messages: list[Json], cell: Cell, repeat: int) -> Any:
        if messages[0]["content"] == "Say two" and not runs:
            await asyncio.to_thread(until, lambda: kept(ship, self._work.run_id) == 1)
            runs.append(self._work.run_id)
            raise Problem("unavailable", "the machine goes down")
        return await ask(self, messages, cell, repeat)

    monkeypatch.setattr(Outside, "ask", breaks_off)
    run, said = tried(ship, "long")

    assert (run["status"], run["steps"][0]["attempt"], said["pass_rate"]) == ("succeeded", 2, 1.0)
    assert [request["messages"][0]["content"] for request in upstream.requests] == ["Say one", "Say two"]
    assert kept(ship, runs[0]) == 2


def kept(ship: Ship, run_id: str) -> int:
    """How many tries of a run are written down."""
    count = sa.select(sa.func.count()).where(eval_trials.c.run_id == run_id)
    return as_system(
        ship.context, ship.world.org_id, lambda unit: unit.execute(count).scalar_one(), read_only=True
    )


def test_more_tries_than_anybody_waits_for_are_refused(ship: Ship) -> None:
    cases = "".join(f"  - {{id: c{n}, golden: x}}\n" for n in range(300))
    ship.box.commit({"evals/huge.yaml": f"prompt: chat_pod\nmodels: [echo]\nrepeats: 100\ncases:\n{cases}"})
    run = ship.until(start(ship, "huge"))
    assert (run["status"], "the limit is 20000" in run["steps"][0]["error"]) == ("failed", True)
