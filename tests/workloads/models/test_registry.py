"""The registry: versions that never change, stages by rule, production by approval, and the way back."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from builderos.assets.artifacts import service as artifacts
from builderos.core.database import Database
from builderos.core.ids import new_id
from builderos.core.unit import Call, Unit, perform
from builderos.trust.identity.service import Hasher, authenticate
from builderos.workloads.experiments import service as experiments
from tests.support.databases import Databases
from tests.support.uploads import upload
from tests.support.world import Json, World, world_in_temp

T = TypeVar("T")


@pytest.fixture(scope="module")
def site(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database) as world:
        yield world


def call(site: World, method: str, path: str, **body: object) -> Json:
    wire = {"json": body} if method not in ("GET", "DELETE") else {"params": body}
    return site.ok(site.as_owner(method, path, **wire))


def model(site: World, name: str, *contents: bytes) -> list[Json]:
    """A model with a version for each content."""
    call(site, "POST", "/v1/models", name=name)
    return [
        call(
            site, "POST", f"/v1/models/{name}/versions", artifacts=[upload(site, one, "model.bin")["id"]]
        )
        for one in contents
    ]  # fmt: skip


def stage(site: World, name: str, version: int, to: str) -> Json:
    return call(site, "POST", f"/v1/models/{name}/versions/{version}/stage", stage=to)


def promote(site: World, name: str, version: int) -> Json:
    return call(
        site, "POST", "/v1/promotions", kind="stage_to_prod", **{"from": {"name": name, "version": version}}
    )


def decide(site: World, promotion: Json, decision: str = "approve") -> Json:
    call(site, "POST", f"/v1/approvals/{promotion['approval_id']}", decision=decision)
    return call(site, "GET", f"/v1/promotions/{promotion['id']}")


def stages(site: World, name: str) -> dict[int, str]:
    items = call(site, "GET", "/v1/model-versions", name=name)["items"]
    return {item["version"]: item["stage"] for item in items}


def test_a_version_is_the_hash_of_its_files_and_is_numbered_from_one(site: World) -> None:
    first, second, again = model(site, "hashed", b"one", b"two", b"one")
    assert [item["version"] for item in (first, second, again)] == [1, 2, 3]
    assert first["digest"] == again["digest"] != second["digest"]
    assert (first["stage"], first["status"], first["files"][0]["path"]) == (
        "registered",
        "READY",
        "model.bin",
    )
    shown = call(site, "GET", "/v1/models/hashed")
    assert (shown["latest"], shown["production"]) == (3, None)
    taken = site.as_owner("POST", "/v1/models", json={"name": "hashed"})
    World.problem(taken, "conflict")


def test_aliases_move_tags_are_found_and_what_is_missing_is_not_found(site: World) -> None:
    model(site, "named", b"one", b"two")
    for version in (1, 2):
        call(site, "POST", "/v1/models/named/aliases", alias="champion", version=version)
    assert call(site, "GET", "/v1/models/named/aliases/champion")["version"] == 2
    assert call(site, "GET", "/v1/models/named")["aliases"] == {"champion": 2}
    call(site, "POST", "/v1/models/named/tags", key="team", value="vision")
    call(site, "POST", "/v1/models/named/tags", key="ok", value="yes", version=1)
    found = call(site, "GET", "/v1/models", tag="team=vision")["items"]
    assert [item["name"] for item in found] == ["named"]
    assert call(site, "GET", "/v1/models/named/versions/1")["tags"] == {"ok": "yes"}
    call(site, "DELETE", "/v1/models/named/tags", key="team")
    assert call(site, "GET", "/v1/models/named")["tags"] == {}
    call(site, "DELETE", "/v1/models/named/aliases/champion")
    missing = site.as_owner("GET", "/v1/models/named/aliases/champion")
    assert World.problem(missing, "not_found")["alias"] == "champion"
    World.problem(site.as_owner("GET", "/v1/models/named/versions/9"), "not_found")
    call(site, "PATCH", "/v1/models/named", new_name="renamed")
    assert call(site, "GET", "/v1/models/renamed/versions/2")["name"] == "renamed"
    call(site, "DELETE", "/v1/models/renamed")
    World.problem(site.as_owner("GET", "/v1/models/renamed"), "not_found")


def test_stages_go_their_way_and_into_production_with_an_approval_alone(site: World) -> None:
    model(site, "staged", b"one")
    path = "/v1/models/staged/versions/1/stage"
    World.problem(site.as_owner("POST", path, json={"stage": "production"}), "illegal_transition")
    stage(site, "staged", 1, "staged")
    waits = World.problem(site.as_owner("POST", path, json={"stage": "production"}), "approval_required")
    again = World.problem(site.as_owner("POST", path, json={"stage": "production"}), "approval_required")
    assert waits["promotion_id"] == again["promotion_id"]
    asked = call(site, "GET", f"/v1/promotions/{waits['promotion_id']}")
    assert (asked["state"], stages(site, "staged")) == ("requested", {1: "staged"})
    assert decide(site, asked)["state"] == "applied"
    assert stages(site, "staged") == {1: "production"}
    World.problem(site.as_owner("DELETE", "/v1/models/staged/versions/1"), "conflict")
    World.problem(site.as_owner("DELETE", "/v1/models/staged"), "conflict")
    stage(site, "staged", 1, "retired")
    World.problem(site.as_owner("POST", path, json={"stage": "staged"}), "illegal_transition")


def test_a_promotion_retires_what_was_there_and_its_rollback_brings_that_back(site: World) -> None:
    model(site, "swapped", b"one", b"two")
    for version in (1, 2):
        stage(site, "swapped", version, "staged")
    decide(site, promote(site, "swapped", 1))
    second = promote(site, "swapped", 2)
    assert second["shown"]["before"] == 1
    decide(site, second)
    assert stages(site, "swapped") == {1: "retired", 2: "production"}
    back = call(site, "POST", f"/v1/promotions/{second['id']}/rollback", reason="slow")
    assert (back["state"], stages(site, "swapped")) == ("rolled_back", {1: "production", 2: "staged"})
    twice = site.as_owner("POST", f"/v1/promotions/{second['id']}/rollback", json={})
    World.problem(twice, "illegal_transition")


def test_a_no_changes_nothing_and_a_yes_to_what_has_changed_since_is_void(site: World) -> None:
    model(site, "void", b"one", b"two", b"three")
    for version in (1, 2, 3):
        stage(site, "void", version, "staged")
    assert decide(site, promote(site, "void", 3), "deny")["state"] == "denied"
    one, two = promote(site, "void", 1), promote(site, "void", 2)
    decide(site, one)
    late = site.as_owner("POST", f"/v1/approvals/{two['approval_id']}", json={"decision": "approve"})
    World.problem(late, "conflict")
    assert stages(site, "void") == {1: "production", 2: "staged", 3: "staged"}


def run_with(site: World, name: str, accuracy: float) -> str:
    """A run of an experiment that measured something and kept a model."""
    content = artifacts.prepare(site.context, site.org_id, name.encode(), path="model/model.bin")

    def make(unit: Unit) -> str:
        experiment = experiments.keeping.for_runs(unit, "0")
        made = experiments.runs.start(unit, experiment.id, name=name).row.id
        experiments.log(unit, made, metrics=[experiments.Point("accuracy", accuracy, 0, 0)])
        experiments.files.put(unit, made, "model/model.bin", content)
        return made

    return acting(site, make)


def acting(site: World, verb: Callable[[Unit], T]) -> T:
    """Do something as the owner, without a door."""
    found = authenticate(site.context.get(Database), site.context.get(Hasher), site.owner_token)
    assert found.actor is not None
    return perform(site.context, Call(found.actor, "valid", new_id("req")), verb)


def test_whoever_decides_sees_the_metrics_of_both_sides_and_what_it_was_made_from(site: World) -> None:
    call(site, "POST", "/v1/models", name="compared")
    for number, accuracy in enumerate((0.5, 0.75), 1):
        run_id = run_with(site, f"run {number}", accuracy)
        body = {"from": {"run_id": run_id, "path": "model"}, "to": {"name": "compared"}}
        made = decide(site, call(site, "POST", "/v1/promotions", kind="run_to_model", **body))
        assert made["result"]["version"] == number
        shown = call(site, "GET", f"/v1/models/compared/versions/{number}")
        assert (shown["run_id"], [file["path"] for file in shown["files"]]) == (run_id, ["model.bin"])
        stage(site, "compared", number, "staged")
        asked = promote(site, "compared", number)
        if number == 1:
            decide(site, asked)
    assert asked["shown"]["metrics"] == [{"name": "accuracy", "before": 0.5, "after": 0.75, "change": 0.25}]
    assert {"experiment_run", "model"} == {node["kind"] for node in asked["shown"]["lineage"]}
    page = call(site, "GET", f"/v1/approvals/{asked['approval_id']}")["diff"]
    assert "- metric accuracy: 0.5\n+ metric accuracy: 0.75 (+0.25)" in page
    assert "into production (now: 1)" in page
    assert "  evals: none were tried in its run" in page
    assert "  from experiment_run run 2" in page
    first = call(site, "GET", f"/v1/approvals/{made['approval_id']}")["diff"]
    assert "+ file model.bin (5 bytes)" in first, "a run that becomes a version shows what it brings"


def test_a_branch_goes_to_a_pull_with_an_approval_of_its_own(site: World) -> None:
    sandbox = site.open_sandbox()
    sandbox.commit({"src/new.py": "x = 1\n"})
    where = {"repo_name": sandbox.repo_name, "branch": sandbox.branch}
    made = call(site, "POST", "/v1/promotions", kind="sandbox_to_pr", **{"from": where})
    assert (made["state"], made["result"]["pull_id"][:4]) == ("applied", "pul_")


def test_hostile_sources_are_refused_and_make_no_version(site: World) -> None:
    model(site, "hostile")
    for source in (
        "file:///etc/passwd",
        "runs:/x/../../up",
        "s3://bucket/x",
        "https://evil.example/m",
        "runs:/",
    ):
        reply = site.as_owner("POST", "/v1/models/hostile/versions", json={"source": source})
        World.problem(reply, "validation_failed")
    World.problem(
        site.as_owner("POST", "/v1/models/hostile/versions", json={"source": "runs:/xrn_unknown/m"}),
        "not_found",
    )
    assert stages(site, "hostile") == {}


def test_lineage_leads_from_a_version_to_what_it_was_registered_from(site: World) -> None:
    made = model(site, "traced", b"traced")[0]
    graph = call(site, "GET", f"/v1/lineage/{made['id']}", direction="up")
    assert {node["kind"] for node in graph["nodes"]} == {"artifact", "model"}
