"""Prompts over HTTP: published once, found again by version, range, label and as latest."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from builderos.assets.prompts import service as prompts
from builderos.assets.prompts.ports import Verdict
from builderos.core.problems import Problem
from builderos.core.unit import Unit, as_system
from tests.support.databases import Databases
from tests.support.world import Json, World, world_in_temp


def text(
    version: str = "1.0.0", name: str = "planner", template: str = "Plan {{ goal }}.", **more: str
) -> str:
    head = f"name: {name}\nversion: {version}\nchangelog: {more.pop('changelog', 'First.')}\n"
    inputs = more.pop("inputs", "{goal: string}")
    return (
        head + f"inputs: {inputs}\ntemplate: '{template}'\n" + "".join(f"{k}: {v}\n" for k, v in more.items())
    )


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database) as made:
        yield made


def publish(world: World, content: str, status: int = 201) -> Json:
    reply = world.as_owner("POST", "/v1/prompts", json={"content": content})
    assert reply.status_code == status, reply.text
    return reply.json()


def show(world: World, ref: str) -> Json:
    name, _, version = ref.partition("@")
    query = f"?version={version}" if version else ""
    return world.ok(world.as_owner("GET", f"/v1/prompts/{name}{query}"))


def in_unit(world: World, work: Any) -> Any:
    return as_system(world.context, world.org_id, work)


def test_a_published_prompt_is_found_and_filled_in(world: World) -> None:
    said = publish(world, text(name="walk", tags="[plan]"))
    found = show(world, "walk")

    assert (said["state"], said["latest"]) == ("published", "1.0.0")
    assert found["id"].startswith("prm_")
    assert found["sha256"] == said["sha256"]
    assert found["spec_yaml"] == text(name="walk", tags="[plan]")
    assert (found["tags"], found["inputs"]) == (["plan"], {"goal": {"type": "string"}})

    def filled(unit: Unit) -> str:
        version = prompts.resolve(unit, "walk")
        assert version.ref == f"walk@1.0.0#{said['sha256']}"
        return prompts.render(version, {"goal": "a {{ parser }}"})

    assert in_unit(world, filled) == "Plan a {{ parser }}."
    over_http = world.as_owner(
        "POST", "/v1/prompts/render", json={"prompt": "walk", "inputs": {"goal": "it"}}
    )
    assert world.ok(over_http)["text"] == "Plan it."


def test_a_version_never_changes(world: World) -> None:
    first = publish(world, text(name="fixed"))
    again = publish(world, "# a comment\n" + text(name="fixed"), 200)
    problem = world.as_owner(
        "POST", "/v1/prompts", json={"content": text(name="fixed", template="{{ goal }}")}
    )

    assert (again["state"], again["id"], again["sha256"]) == ("unchanged", first["id"], first["sha256"])
    assert world.problem(problem, "version_exists")["sha256"] == first["sha256"]
    assert show(world, "fixed@1.0.0")["template"] == "Plan {{ goal }}."


def test_of_two_publishers_of_one_version_exactly_one_wins(world: World) -> None:
    contents = [text(name="race", template=f"Say {n} to {{{{ goal }}}}") for n in range(6)]
    replies: list[Any] = []
    start = threading.Barrier(len(contents))

    def send(content: str) -> None:
        start.wait()
        replies.append(world.as_owner("POST", "/v1/prompts", json={"content": content}))

    threads = [threading.Thread(target=send, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(reply.status_code for reply in replies) == [201, 409, 409, 409, 409, 409]
    won = next(reply.json() for reply in replies if reply.status_code == 201)
    assert show(world, "race@1.0.0")["sha256"] == won["sha256"]
    assert {r.json()["code"] for r in replies if r.status_code == 409} == {"version_exists"}


def test_a_version_that_promises_too_much_is_refused_with_the_right_one(world: World) -> None:
    publish(world, text(name="bump", inputs="{goal: string, tone: {default: dry}}"))
    body = {"content": text("1.0.1", "bump", inputs="{goal: string, tone: string}")}
    problem = world.problem(world.as_owner("POST", "/v1/prompts", json=body), "validation_failed")
    lint = world.ok(world.as_owner("POST", "/v1/prompts/lint", json=body))

    assert problem["suggested_version"] == lint["suggested_version"] == "2.0.0"
    assert problem["reasons"] == ["inputs.tone: the input became required"]
    assert lint["valid"] is False
    assert lint["level"] == "major"
    publish(world, text("2.0.0", "bump", inputs="{goal: string, tone: string}"))
    publish(world, text("1.0.1", "bump", "Plan {{ goal }}!", inputs="{goal: string, tone: {default: dry}}"))


def test_references_mean_the_highest_version_that_fits(world: World) -> None:
    for version in ("1.0.0", "1.2.0", "1.10.0", "2.0.0-rc.1", "0.9.0"):
        publish(world, text(version, "many", f"{version} {{{{ goal }}}}"))

    meant = {
        ref: show(world, f"many@{ref}")["version"]
        for ref in ("^1", "~1.2", "1", "latest", "2.0.0-rc.1", "<1")
    }
    assert meant == {
        "^1": "1.10.0", "~1.2": "1.2.0", "1": "1.10.0", "latest": "1.10.0", "2.0.0-rc.1": "2.0.0-rc.1", "<1": "0.9.0",
    }  # fmt: skip
    world.problem(world.as_owner("GET", "/v1/prompts/many?version=%5E3"), "not_found")
    world.problem(world.as_owner("GET", "/v1/prompts/many?version=%5Ex"), "validation_failed")


def test_latest_waits_for_its_gate(world: World) -> None:
    verdicts = {"1.1.0": Verdict("fail", "two cases fail"), "1.2.0": Verdict("wait", "not tried yet")}
    gates = world.context.get(prompts.Gates)
    gates.enrol("trial", lambda _unit, name, _versions: verdicts if name == "gated" else {})
    publish(world, text("1.0.0", "gated"))
    publish(world, text("1.1.0", "gated", "1 {{ goal }}"))
    said = publish(world, text("1.2.0", "gated", "2 {{ goal }}"))
    history = world.ok(world.as_owner("GET", "/v1/prompts/gated/versions"))["items"]

    assert (said["latest"], show(world, "gated")["version"]) == ("1.0.0", "1.0.0")
    assert [(v["version"], v["gate"], v["why"]) for v in history] == [
        ("1.2.0", "wait", "not tried yet"), ("1.1.0", "fail", "two cases fail"), ("1.0.0", "pass", ""),
    ]  # fmt: skip
    assert show(world, "gated@^1")["version"] == "1.2.0"  # who names a range takes what it says
    verdicts["1.2.0"] = Verdict("pass")
    assert show(world, "gated@latest")["version"] == "1.2.0"


def test_a_file_on_the_branch_wins_over_the_registry(world: World) -> None:
    publish(world, text("1.0.0", "local"))
    box = world.open_sandbox()
    box.commit(
        {
            "prompts/local.yaml": text("1.3.0", "local", "mine {{ goal }}"),
            "prompts/local/1.1.0.yaml": text("1.1.0", "local", "older {{ goal }}"),
        }
    )
    at = {"repo_name": box.repo_name, "branch": box.branch, "inputs": {"goal": "x"}}

    def said(ref: str) -> str:
        reply = world.http.post("/v1/prompts/render", json={**at, "prompt": ref}, headers=box.headers)
        return world.ok(reply)["text"]

    assert [said(ref) for ref in ("local", "local@^1", "local@1.1.0", "local@1.0.0", "local@latest")] == [
        "mine x", "mine x", "older x", "Plan x.", "Plan x.",
    ]  # fmt: skip
    reply = world.as_owner(
        "POST", "/v1/prompts", json={"name": "local", "repo_name": "lab", "branch": box.branch}
    )
    assert world.ok(reply, 201)["version"] == "1.3.0"
    assert show(world, "local@1.3.0")["source"]["path"] == "prompts/local.yaml"


def test_a_project_says_which_versions_it_lives_with(world: World) -> None:
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        publish(world, text(version, "pinned", f"{version} {{{{ goal }}}}"))
    box = world.open_sandbox()
    box.commit({"builderos.yaml": "version: 1\nproject: {name: lab}\nprompts: [other@1.0.0, pinned@^1]\n"})
    at = {"repo_name": box.repo_name, "branch": box.branch, "inputs": {"goal": "x"}}

    def said(ref: str) -> str:
        reply = world.http.post("/v1/prompts/render", json={**at, "prompt": ref}, headers=box.headers)
        return world.ok(reply)["text"]

    assert [said(ref) for ref in ("pinned", "pinned@latest", "pinned@2")] == ["1.1.0 x", "2.0.0 x", "2.0.0 x"]
    box.commit({"prompts/pinned.yaml": text("3.0.0", "pinned", "mine {{ goal }}")})
    assert said("pinned") == "mine x"


def test_a_prompt_holds_other_prompts_by_their_exact_version(world: World) -> None:
    publish(world, text("1.0.0", "style", "Be {{ tone }}.", inputs="{tone: {default: brief}}"))
    publish(world, text("1.0.0", "outer", "{{> style }} {{ goal }}", partials="[style@1.0.0]"))
    publish(world, text("1.0.1", "style", "Stay {{ tone }}.", inputs="{tone: {default: brief}}"))
    unknown = {"content": text("1.1.0", "outer", "{{> style }}", partials="[style@9.0.0]")}

    rendered = world.as_owner(
        "POST", "/v1/prompts/render", json={"prompt": "outer", "inputs": {"goal": "Go."}}
    )
    assert world.ok(rendered)["text"] == "Be brief. Go."
    world.problem(world.as_owner("POST", "/v1/prompts", json=unknown), "not_found")
    needs = {"content": text("1.0.0", "needs", "{{> outer }}", inputs="{}", partials="[outer@1.0.0]")}
    assert (
        "goal"
        in world.problem(world.as_owner("POST", "/v1/prompts", json=needs), "validation_failed")["detail"]
    )


def test_a_prompt_with_a_secret_is_not_published(world: World) -> None:
    key = "ghp_" + "a1B2" * 9
    body = {"content": text(name="leaky", template=f"Use {key} for {{{{ goal }}}}")}
    world.problem(world.as_owner("POST", "/v1/prompts", json=body), "validation_failed")
    world.problem(world.as_owner("GET", "/v1/prompts/leaky"), "not_found")


def test_shipped_prompts_stand_beside_the_published_ones(world: World) -> None:
    found = show(world, "chat_pod")
    assert found["source"] == {"type": "shipped"}
    assert found["id"] is None
    items = world.ok(world.as_owner("GET", "/v1/prompts?name=chat"))["items"]
    assert [(item["name"], item["latest"]) for item in items] == [("chat_pod", found["version"])]


def test_two_clients_see_one_registry(world: World) -> None:
    publish(world, text(name="shared"))
    box = world.open_sandbox()

    assert (
        world.ok(world.http.get("/v1/prompts/shared", headers=box.headers))["sha256"]
        == show(world, "shared")["sha256"]
    )
    refused = world.http.post(
        "/v1/prompts", json={"content": text("1.0.1", "shared", "x {{ goal }}")}, headers=box.headers
    )
    assert refused.status_code == 403


def test_a_diff_shows_text_fields_and_the_version_to_come(world: World) -> None:
    publish(world, text("1.0.0", "two"))
    publish(
        world,
        text("1.1.0", "two", "Plan {{ goal }} for {{ who }}.", inputs="{goal: string, who: {default: us}}"),
    )
    found = world.ok(world.as_owner("GET", "/v1/prompts/two/diff?from=1.0.0&to=1.1.0"))

    assert (found["level"], found["suggested_version"], found["evals"]) == ("minor", "1.1.0", [])
    assert [(c["field"], c["level"]) for c in found["changes"]] == [
        ("inputs.who", "minor"),
        ("template", "patch"),
    ]
    assert "+Plan {{ goal }} for {{ who }}." in found["template"]
    assert world.ok(world.as_owner("GET", "/v1/prompts/two/diff"))["from_version"] == "1.0.0"


def test_a_list_goes_on_where_it_ended(world: World) -> None:
    for n in range(5):
        publish(world, text(name=f"page_{n}", tags="[paged]"))
    names: list[str] = []
    cursor = ""
    while True:
        page = world.ok(world.as_owner("GET", f"/v1/prompts?tag=paged&limit=2{cursor}"))
        names += [item["name"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert names == [f"page_{n}" for n in range(5)]


def test_a_reference_that_names_nothing_is_refused_before_anything_is_read() -> None:
    for ref in ("", "@1", "Up", "a@", "a@^^1", "a@../x", "a" * 100):
        with pytest.raises(Problem, match="names no prompt"):
            prompts.resolve(None, ref)  # type: ignore[arg-type]
