"""A policy file from its proposal to the refusals it causes, through the public doors."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.world import Sandbox, World, git, world_in_temp

NO_ENV = """\
version: 1
rules:
  - {id: no-env, scope: {project: "*"}, deny: {paths: ["**/.env", "secrets/**"]}}
"""


@pytest.fixture
def world(database: object) -> Iterator[World]:
    """A server of this test alone: a policy holds for a whole organisation."""
    with world_in_temp(database) as made:  # type: ignore[arg-type]
        yield made


def propose(world: World, content: str, **more: object) -> dict[str, object]:
    body = {"content": content, "reason": "Because.", **more}
    return world.ok(world.as_owner("PUT", "/v1/policies", json=body), 202)


def decide(world: World, approval_id: object, decision: str = "approve") -> object:
    body = {"decision": decision, "comment": "Read it."}
    return world.as_owner("POST", f"/v1/approvals/{approval_id}", json=body)


def in_force(world: World, content: str) -> None:
    world.ok(decide(world, propose(world, content)["approval_id"]))


def refused(world: World, response: object, rule: str) -> None:
    assert world.problem(response, "policy_denied")["policy_rule"] == rule


def commit(box: Sandbox, path: str, content: str | None = "x\n") -> object:
    files = [{"path": path, "delete": True} if content is None else {"path": path, "content": content}]
    return box.try_post("/commit_and_log_output", files=files, message="Change")


def clone(box: Sandbox, folder: Path) -> Path:
    """A clone of the sandbox; pushes go through `push`."""
    raise NotImplementedError


def test_a_rule_comes_into_force_by_an_approval_and_refuses_a_commit(world: World) -> None:
    box = world.open_sandbox()
    box.commit({"a.txt": "a\n"})
    waiting = propose(world, NO_ENV)
    assert commit(box, "conf/.env").status_code == 200  # type: ignore[attr-defined]
    world.ok(decide(world, waiting["approval_id"]))
    refused(world, commit(box, "conf/.env", "y\n"), "no-env")
    refused(world, commit(box, "conf/.ENV"), "no-env")
    refused(world, commit(box, "conf/.env", None), "no-env")
    refused(world, commit(box, "secrets/deep/key"), "no-env")
    box.commit({"src/env.py": "fine\n"})
    shown = world.ok(world.as_owner("GET", "/v1/policies"))
    assert (shown["version"], shown["content"], shown["digest"]) == (1, NO_ENV, waiting["digest"])
    line = world.ok(world.as_owner("GET", "/v1/audit", params={"type": "refused", "limit": 1}))["items"][0]
    assert line["rules"] == ["no-env"]
