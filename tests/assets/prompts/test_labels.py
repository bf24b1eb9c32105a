"""Labels move; protected ones with a permission, or with the approval that the policy file asks for."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.databases import Databases
from tests.support.world import Json, World, world_in_temp

from .test_registry import publish, text

POLICY = "version: 1\napprovals:\n  - {id: labels, when: {action: [prompt.promote]}, from: [Owner, Admin]}\n"


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database) as made:
        for name in ("planner", "judged"):
            publish(made, text("1.0.0", name))
            publish(made, text("1.1.0", name, "Think, then plan {{ goal }}."))
        yield made


def key(world: World, *scopes: str) -> dict[str, str]:
    body = {"label": "-".join(scopes), "scopes": list(scopes)}
    reply = world.ok(world.as_owner("POST", "/v1/api-keys", json=body), 201)
    secret = next(value for value in reply.values() if str(value).startswith("bos_ak_"))
    return {"Authorization": f"Bearer {secret}"}


def move(world: World, label: str, version: str, headers: Any = None, name: str = "planner") -> Any:
    body = {"label": label, "version": version}
    return world.http.post(f"/v1/prompts/{name}/labels", json=body, headers=headers or world.owner)


def at(world: World, label: str, name: str = "planner") -> str | None:
    reply = world.as_owner("GET", f"/v1/prompts/{name}?version={label}")
    return None if reply.status_code == 404 else world.ok(reply)["version"]


def test_a_label_moves_from_version_to_version_and_goes(world: World) -> None:
    assert at(world, "trial") is None
    assert world.ok(move(world, "trial", "1.0.0"))["before"] is None
    assert world.ok(move(world, "trial", "^1"))["before"] == "1.0.0"
    assert at(world, "trial") == "1.1.0"
    shown = world.ok(world.as_owner("GET", "/v1/prompts/planner/versions"))["items"]
    assert [(v["version"], v["labels"]) for v in shown] == [("1.1.0", ["trial"]), ("1.0.0", [])]
    world.ok(world.as_owner("DELETE", "/v1/prompts/planner/labels/trial"))
    assert at(world, "trial") is None


@pytest.mark.parametrize("label", ["latest", "1.0.0", "1", "^1", "Up", "a b", "-"])
def test_what_could_be_a_version_is_no_label(world: World, label: str) -> None:
    world.problem(move(world, label, "1.0.0"), "validation_failed")


def test_a_label_names_only_what_is_published(world: World) -> None:
    world.problem(move(world, "trial", "9.0.0"), "not_found")
    world.problem(move(world, "trial", "1.0.0", name="chat_pod"), "not_found")


def test_a_protected_label_takes_a_permission_of_its_own(world: World) -> None:
    writer, admin = key(world, "read", "write"), key(world, "read", "write", "admin")
    world.ok(move(world, "trial", "1.0.0", writer))
    world.problem(move(world, "production", "1.0.0", writer), "policy_denied")
    assert at(world, "production") is None
    world.ok(move(world, "production", "1.0.0", admin))
    gone = world.http.request("DELETE", "/v1/prompts/planner/labels/production", headers=writer)
    world.problem(gone, "policy_denied")
    assert at(world, "production") == "1.0.0"


def test_where_the_policy_asks_for_an_approval_a_protected_label_waits(world: World) -> None:
    proposed = world.as_owner("PUT", "/v1/policies", json={"content": POLICY, "reason": "labels"})
    decide(world, world.ok(proposed, 202)["approval_id"])
    writer = key(world, "read", "write")
    waits = world.ok(move(world, "stable", "1.1.0", writer, "judged"), 202)
    shown = world.ok(world.as_owner("GET", f"/v1/approvals/{waits['approval_id']}"))

    assert at(world, "stable", "judged") is None
    assert shown["action"] == "prompt.promote"
    assert "+template: 'Think, then plan {{ goal }}.'" in shown["diff"]
    decide(world, waits["approval_id"])
    assert at(world, "stable", "judged") == "1.1.0"

    first = world.ok(move(world, "prod", "1.0.0", writer, "judged"), 202)
    second = world.ok(move(world, "prod", "1.1.0", writer, "judged"), 202)
    void = world.as_owner("POST", f"/v1/approvals/{first['approval_id']}", json={"decision": "approve"})
    world.problem(void, "illegal_transition")
    decide(world, second["approval_id"], "deny")
    assert at(world, "prod", "judged") is None


def decide(world: World, approval_id: str, decision: str = "approve") -> Json:
    return world.ok(world.as_owner("POST", f"/v1/approvals/{approval_id}", json={"decision": decision}))
