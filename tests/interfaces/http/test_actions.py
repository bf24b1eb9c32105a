"""`listActions` shows what the caller may use, and only that."""

from tests.support.world import world_in_temp


def names(reply):
    return {tool["name"] for tool in reply["tools"]}


def test_a_sandbox_sees_the_tools_of_its_own_branch(world):
    sandbox = world.open_sandbox()
    reply = world.ok(world.http.post("/actions/list", json={}, headers=sandbox.headers))
    seen = names(reply)
    assert {
        "commit_and_log",
        "fetchFiles",
        "rollback",
        "taskLifecycle",
        "memoryQuery",
        "systemMetrics",
    } <= seen
    assert not {"importRepo", "listAlerts"} & seen
    assert (reply["repo_name"], reply["branch"]) == ("lab", sandbox.branch)
    tool = next(t for t in reply["tools"] if t["name"] == "rollback")
    assert tool["sensitivity"] == "consequential"
    assert tool["schema_ref"] == "/openapi.json#/paths/~1git~1rollback_commit/post"
    old = next(t for t in reply["tools"] if t["name"] == "initProject")
    assert old["deprecated"]


def test_the_minimal_profile_sees_four_tools_and_may_use_no_other(database):
    with world_in_temp(database, token_profile="minimal") as world:
        sandbox = world.open_sandbox()
        reply = world.ok(world.http.post("/actions/list", json={"reuse_token": sandbox.token}))
        assert names(reply) == {"initSandbox", "commit_and_log", "fetchFiles", "listActions"}
        assert sandbox.commit({"a.txt": "x"})["commit_sha"]
        assert sandbox.post("/sandbox/init", mode="project")["created"]
        bodies = {
            "/git/log": {}, "/git/diff": {}, "/tasks/query": {}, "/memory/query": {}, "/system/metrics": {},
            "/system/backup": {}, "/memory/manage": {"action": "index"}, "/tasks/lifecycle": {"action": "next"},
            "/git/rollback_commit": {"commit_sha": "0" * 40, "reason": "x"},
        }  # fmt: skip
        for path, body in bodies.items():
            world.problem(sandbox.try_post(path, **body), "tool_not_allowed")


def test_the_owner_sees_every_operation(world):
    reply = world.ok(world.as_owner("POST", "/actions/list", json={}))
    assert names(reply) == {operation.name for operation in world.app.operations()}
    assert reply["branch"] is None


def test_one_group_can_be_asked_for(world):
    reply = world.ok(world.as_owner("GET", "/actions/list", params={"group": "tasks"}))
    assert {"taskLifecycle", "taskQuery"} <= names(reply)
    assert {tool["group"] for tool in reply["tools"]} == {"tasks"}


def test_the_list_needs_a_credential_and_none_stands_in_an_address(world):
    world.problem(world.http.post("/actions/list", json={}), "unauthenticated")
    world.problem(world.http.get("/actions/list"), "unauthenticated")
    token = world.open_sandbox().token
    assert world.http.get("/actions/list", params={"reuse_token": token}).status_code == 422


def test_a_key_that_only_reads_sees_nothing_that_writes(world):
    key = world.ok(world.as_owner("POST", "/v1/api-keys", json={"label": "r", "scopes": ["read"]}), 201)
    secret = next(value for value in key.values() if isinstance(value, str) and value.startswith("bos_ak_"))
    reply = world.ok(world.http.post("/actions/list", json={}, headers={"Authorization": f"Bearer {secret}"}))
    assert {"gitLog", "memoryQuery"} <= names(reply)
    assert {tool["sensitivity"] for tool in reply["tools"]} == {"read"}
