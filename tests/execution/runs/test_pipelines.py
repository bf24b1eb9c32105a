"""Pipelines over HTTP: looked over, published once, found again."""

from collections.abc import Iterator

import pytest

from tests.support.databases import Databases
from tests.support.world import World, world_in_temp

FILE = "name: build\nversion: {version}\nsteps:\n  - {{id: x, run: '{run}'}}\n"


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database) as made:
        yield made


def text(version: str = "1.0.0", run: str = "echo", name: str = "build") -> str:
    return FILE.format(version=version, run=run).replace("build", name)


def publish(world: World, content: str, status: int = 201):
    reply = world.as_owner("POST", "/v1/pipelines", json={"content": content})
    assert reply.status_code == status, reply.text
    return reply.json()


def test_a_file_is_looked_over_with_the_line_of_every_mistake(world: World) -> None:
    content = "name: build\nsteps:\n  - {id: x, run: e, needs: [y]}\n  - {id: z, action: git.comit}\n"
    reply = world.ok(world.as_owner("POST", "/v1/pipelines/validate", json={"content": content}))

    assert reply["valid"] is False
    assert [(e["code"], e["line"], e["where"]) for e in reply["errors"]] == [
        ("unknown_need", 3, "steps[0].needs"),
        ("unknown_action", 4, "steps[1].action"),
    ]
    assert "git.commit" in reply["errors"][1]["hint"]


def test_a_sound_file_is_unfolded_as_a_run_would(world: World) -> None:
    content = "name: m\nparams: {all: list}\nsteps:\n  - {id: x, run: e, matrix: {v: '${{ params.all }}'}}\n"

    def look(**more: object) -> dict[str, object]:
        return world.ok(world.as_owner("POST", "/v1/pipelines/validate", json={"content": content, **more}))

    assert (look()["valid"], look()["nodes"]) == (True, None)
    assert look(params={"all": [1, 2, 3]})["nodes"] == 3
    refused = look(params={"all": 5})
    assert (refused["valid"], refused["errors"][0]["where"]) == (False, "params.all")  # type: ignore[index]


def test_a_version_is_published_once_and_never_changes(world: World) -> None:
    first = publish(world, text())
    again = publish(world, text() + "# the same, with a comment\n", 200)
    other = publish(world, text(run="rm"), 409)

    assert (first["state"], again["state"], other["code"]) == ("published", "unchanged", "version_exists")
    assert again["id"] == first["id"]
    shown = world.ok(world.as_owner("GET", "/v1/pipelines/build?version=1.0.0"))
    assert (shown["content"], shown["digest"]) == (text(), first["digest"])


def test_the_newest_version_is_the_highest_not_the_latest(world: World) -> None:
    for version in ("1.10.0", "1.9.0", "1.10.0-rc.2", "1.10.0-rc.10"):
        publish(world, text(version, name="order"))

    shown = world.ok(world.as_owner("GET", "/v1/pipelines/order"))

    assert shown["versions"] == ["1.10.0", "1.10.0-rc.10", "1.10.0-rc.2", "1.9.0"]
    assert shown["version"] == "1.10.0"


def test_a_list_has_each_pipeline_once_page_by_page(world: World) -> None:
    for name in ("list-a", "list-b", "list-c"):
        publish(world, text(name=name))
    publish(world, text("2.0.0", name="list-b"))

    first = world.ok(world.as_owner("GET", "/v1/pipelines?name=list-&limit=2"))
    rest = world.ok(world.as_owner("GET", f"/v1/pipelines?name=list-&limit=2&cursor={first['next_cursor']}"))

    assert [(p["name"], p["version"], p["versions"]) for p in first["items"] + rest["items"]] == [
        ("list-a", "1.0.0", 1),
        ("list-b", "2.0.0", 2),
        ("list-c", "1.0.0", 1),
    ]
    assert rest["next_cursor"] is None


def test_what_comes_with_the_server_is_listed_and_shown(world: World) -> None:
    listed = world.ok(world.as_owner("GET", "/v1/pipelines?name=hotfix"))["items"]
    shown = world.ok(world.as_owner("GET", "/v1/pipelines/hotfix_pipeline"))

    assert [(p["name"], p["source"]) for p in listed] == [("hotfix_pipeline", {"type": "shipped"})]
    assert [step["id"] for step in shown["steps"]][:2] == ["plan", "patch"]


def test_a_pipeline_of_a_branch_is_shown_and_published_as_it_stands_there(world: World) -> None:
    box = world.open_sandbox()
    box.commit({"ship/mine/pipeline.yaml": text(name="mine")})
    where = {"repo_name": box.repo_name, "branch": box.branch}

    shown = world.ok(world.http.get("/v1/pipelines/mine", params=where, headers=box.headers))
    made = world.ok(world.as_owner("POST", "/v1/pipelines", json={"name": "mine", **where}), 201)

    assert shown["source"]["type"] == "branch"
    kept = world.ok(world.as_owner("GET", "/v1/pipelines/mine"))
    assert (kept["digest"], kept["source"]["commit"]) == (shown["digest"], shown["source"]["commit"])
    assert made["state"] == "published"


def test_a_sandbox_reads_pipelines_and_publishes_none(world: World) -> None:
    box = world.open_sandbox()
    content = {"content": text(name="foreign")}

    assert world.http.get("/v1/pipelines", headers=box.headers).status_code == 200
    assert world.http.post("/v1/pipelines/validate", json=content, headers=box.headers).status_code == 200
    assert (
        world.http.post("/v1/pipelines", json=content, headers=box.headers).json()["code"] == "policy_denied"
    )
    assert world.as_owner("GET", "/v1/pipelines/foreign").status_code == 404


def test_a_file_with_a_secret_in_it_is_not_published(world: World) -> None:
    token = "ghp_" + "a1B2c3D4e5F6" * 3
    reply = publish(world, text(run=f"curl -H {token}", name="leaky")[:-1] + "\n", 422)

    assert "secret" in reply["detail"]
    assert token[:12] not in str(reply)


def test_a_workspace_is_told_of_pipelines_of_its_own_branch_as_a_run_would_find_them(world: World) -> None:
    box = world.open_sandbox()
    content = (
        "name: outer\nsteps:\n  - {id: sub, uses: inner@1.0.0}\n  - {id: own, needs: [sub], run: 'true'}\n"
    )

    def look() -> dict[str, object]:
        reply = world.http.post("/v1/pipelines/validate", json={"content": content}, headers=box.headers)
        return world.ok(reply)

    assert "inner@1.0.0" in str(look()["errors"])
    box.commit(
        {"ship/inner/pipeline.yaml": "name: inner\nsteps: [{id: a, run: 'true'}, {id: b, run: 'true'}]\n"}
    )
    assert (look()["valid"], look()["nodes"]) == (True, 3)
