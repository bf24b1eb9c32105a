"""The published agents of Anthropic and OpenAI, as npm has them, in the jail beside a model that is none.

npm install --prefix DIR @agentclientprotocol/claude-agent-acp @agentclientprotocol/codex-acp
BUILDEROS_ACP_AGENTS=DIR pytest tests/workloads/agents/test_published_agents.py
"""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builderos.execution.compute.schema import Mount
from builderos.execution.compute.service import SandboxProviders
from tests.support import model_double
from tests.support.databases import Databases
from tests.support.models import Json
from tests.support.runs import Ship, ship_in_temp

from .test_people import entries, in_force

AGENTS = os.environ.get("BUILDEROS_ACP_AGENTS", "")
pytestmark = pytest.mark.skipif(
    not AGENTS, reason="BUILDEROS_ACP_AGENTS does not name the folder they are in"
)
STEPS = """
steps:
  - {id: build, agent: theirs, title: Write hello.txt}
  - {id: save, needs: [build], action: git.commit, inputs: {message: Theirs}}
"""
PORT = 18_999
KEY = "sk-published-5e0b7c1d94a2f386"
CODEX = {
    "model_provider": "lab", "model": "lab-1",
    "model_providers": {
        "lab": {"name": "lab", "base_url": f"http://127.0.0.1:{PORT}/v1", "env_key": "OPENAI_API_KEY",
                "wire_api": "responses"},
    },
}  # fmt: skip
ENVIRONMENT = {
    "claude-agent-acp": {
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{PORT}", "DISABLE_TELEMETRY": "1", "IS_SANDBOX": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    },
    "codex-acp": {"CODEX_CONFIG": json.dumps(CODEX)},
}  # fmt: skip


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        mounts = (
            Mount(str(Path(AGENTS).resolve()), "/opt/agents"),
            Mount(str(Path(model_double.__file__).resolve()), "/opt/model/double.py"),
        )
        provider: Any = made.context.get(SandboxProviders).provider("local")
        start = provider.start
        provider.start = lambda spec: start(dataclasses.replace(spec, mounts=mounts))
        yield made


def worked(ship: Ship, command: str, secret: str) -> Json:
    start = (
        f"python3 -I /opt/model/double.py {PORT} /workspace/hello.txt & "
        f"export HOME=/tmp/home; mkdir -p $HOME; exec node /opt/agents/node_modules/.bin/{command}"
    )
    harness = {
        "acp": ["sh", "-c", start],
        "secrets": [secret],
        "env": ENVIRONMENT[command],
        "authenticate": "api-key",
    }
    agent = {"name": "theirs", "role": "Theirs", "prompt_ref": "builder", "toolset": [], "harness": harness}
    world = ship.world
    world.ok(world.as_owner("POST", "/v1/secrets", json={"key_name": secret, "value": KEY}))
    with in_force(ship, f"version: 1\nrules:\n  - {{id: key, allow: {{secrets: [{secret}]}}}}\n"):
        run = ship.until(
            ship.start(ship.pipeline(STEPS, {"agents/theirs.yaml": json.dumps(agent)})), within_s=240
        )
    build = ship.steps(run)["build"]
    assert run["status"] == "succeeded", (
        build,
        world.as_owner("GET", f"/v1/steps/{build['id']}/logs").text[-3000:],
    )
    assert build["result"]["text"].endswith(model_double.DONE)
    assert KEY not in repr(run)
    return {**run, "calls": entries(ship, build["id"])}


def test_claude_code_asks_leave_to_write_a_file_and_writes_it(ship: Ship) -> None:
    run = worked(ship, "claude-agent-acp", "ANTHROPIC_API_KEY")
    asked = [call for call in run["calls"] if call.name == "foreign_edit"]
    assert [(call.status, call.request["paths"]) for call in asked] == [("done", ["hello.txt"])]
    found = ship.box.post("/system/fetch_files", mode="single", path="hello.txt")
    assert found["files"][0]["content"] == "hello\n"


def test_codex_logs_in_with_its_key_and_answers(ship: Ship) -> None:
    run = worked(ship, "codex-acp", "OPENAI_API_KEY")
    talk = next(call for call in run["calls"] if call.kind == "model")
    assert talk.response["stop_reason"] == "end_turn"
