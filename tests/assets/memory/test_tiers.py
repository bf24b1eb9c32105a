"""The two memory tools asked for a tier: search, list, stats, changes, size."""

import pytest
import sqlalchemy as sa

from builderos.assets.memory.model import memory_vectors
from builderos.core.ids import new_id
from builderos.core.unit import as_system
from tests.support.databases import Databases
from tests.support.world import world_in_temp


@pytest.fixture(scope="module")
def world(databases: Databases):
    with databases.fresh() as database, world_in_temp(database) as made:
        yield made


@pytest.fixture
def sandbox(world):
    return world.open_sandbox()


def manage(sandbox, action, **more):
    return sandbox.post("/memory/manage", action=action, **more)


def ask(sandbox, mode="list", tier="all", **more):
    return sandbox.post("/memory/query", mode=mode, tier=tier, **more)


def bodies(reply):
    return [item["body"] for item in reply["memories"]]


def test_without_a_tier_the_tools_are_about_files_as_ever(sandbox):
    sandbox.commit({"a.py": "x\n"})
    manage(sandbox, "add", tier="vector", body="a.py is odd")
    found = sandbox.post("/memory/query", mode="list")
    assert ([i["path"] for i in found["items"]], found["memories"]) == (["a.py"], [])
    assert ask(sandbox)["items"] == []


def test_each_tier_is_listed_searched_and_counted(sandbox):
    run = new_id("run")
    manage(sandbox, "add", tier="semantic", fact="style", body="tabs are liked", tags=["taste"])
    manage(sandbox, "add", tier="episodic", body="the build of tuesday failed", agent="builder")
    manage(sandbox, "add", tier="short_term", run_id=run, body="trying the third way")
    manage(sandbox, "add", tier="vector", body="parsers like quoted strings", path="README.md")
    assert bodies(ask(sandbox)) == ["parsers like quoted strings", "tabs are liked"]
    assert bodies(ask(sandbox, run_id=run, tier="short_term")) == ["trying the third way"]
    assert bodies(ask(sandbox, agent="builder", tier="episodic")) == ["the build of tuesday failed"]
    assert bodies(ask(sandbox, "search", query="who likes tabs", tier="semantic")) == ["tabs are liked"]
    assert bodies(ask(sandbox, "search", query="strings", tier="semantic")) == []
    assert bodies(ask(sandbox, tag="taste")) == ["tabs are liked"]
    stats = ask(sandbox, "stats", agent="builder", run_id=run)
    assert stats["stats"]["by_tier"] == {"episodic": 1, "semantic": 1, "short_term": 1, "vector": 1}
    assert stats["stats"]["by_owner"] == {"(all)": 3, "builder": 1}
    assert stats["total"] == 4


def test_add_is_for_what_is_new_and_update_for_what_is_there(world, sandbox):
    world.problem(
        sandbox.try_post("/memory/manage", action="update", tier="semantic", fact="x", body="1"), "not_found"
    )
    [id_] = manage(sandbox, "add", tier="semantic", fact="x", body="1")["changed"]
    world.problem(
        sandbox.try_post("/memory/manage", action="add", tier="semantic", fact="x", body="2"), "conflict"
    )
    manage(sandbox, "update", tier="semantic", fact="x", body="2")
    manage(sandbox, "update", ids=[id_], body="3", tags=["t"])
    assert [(m["body"], m["version"], m["tags"]) for m in ask(sandbox)["memories"]] == [("3", 3, ["t"])]
    world.problem(
        sandbox.try_post("/memory/manage", action="update", tier="vector", body="?"), "validation_failed"
    )


def test_items_are_pinned_unpinned_and_removed_by_their_ids(world, sandbox):
    ids = [manage(sandbox, "add", tier="vector", body=f"n {n}")["changed"][0] for n in range(2)]
    manage(sandbox, "pin", ids=ids)
    assert all(m["pinned"] for m in ask(sandbox)["memories"])
    manage(sandbox, "unpin", ids=ids[:1])
    assert [m["pinned"] for m in ask(sandbox)["memories"]] == [True, False]
    assert manage(sandbox, "remove", ids=ids)["changed"] == ids
    assert ask(sandbox)["memories"] == []
    world.problem(sandbox.try_post("/memory/manage", action="remove", ids=ids), "not_found")
    world.problem(sandbox.try_post("/memory/manage", action="pin", tier="vector"), "validation_failed")


def test_one_unknown_id_changes_none(world, sandbox):
    [id_] = manage(sandbox, "add", tier="vector", body="stays")["changed"]
    world.problem(sandbox.try_post("/memory/manage", action="remove", ids=[id_, new_id("mem")]), "not_found")
    assert bodies(ask(sandbox)) == ["stays"]


def test_diff_says_what_lacks_a_vector_and_index_makes_it(world, sandbox):
    one, two = (
        manage(sandbox, "add", tier="vector", body=f"number {n}")["changed"][0] for n in ("one", "two")
    )

    def spoil(unit):
        v = memory_vectors
        unit.execute(sa.delete(v).where(v.c.item_id == one))
        unit.execute(sa.update(v).where(v.c.item_id == two).values(model="of@old"))

    as_system(world.context, world.org_id, spoil)
    found = manage(sandbox, "diff", tier="vector")
    assert (found["missing"], found["stale"]) == ([one], [two])
    assert [m["similarity"] for m in ask(sandbox, "search", query="number")["memories"]] == [None, None], (
        "vectors of another model are never compared; the words are"
    )
    done = manage(sandbox, "index", tier="vector")
    assert (sorted(done["changed"]), done["remaining"]) == ([one, two], 0)
    assert all(m["similarity"] for m in ask(sandbox, "search", query="number")["memories"])


def test_validate_names_what_speaks_of_a_file_that_is_gone(sandbox):
    sandbox.commit({"there.py": "x\n"})
    manage(sandbox, "add", tier="vector", body="x", path="there.py")
    [id_] = manage(sandbox, "add", tier="vector", body="y", path="gone.py")["changed"]
    faults = manage(sandbox, "validate", tier="vector")["faults"]
    assert [(f["path"], f["level"], f["message"]) for f in faults] == [
        (id_, "warning", "there is no file gone.py")
    ]


@pytest.mark.parametrize("mode", ["list", "search"])
def test_a_reply_is_at_most_16_kb_and_its_cursor_goes_on(sandbox, mode):
    for number in range(14):
        manage(sandbox, "add", tier="vector", body=f"note {number} " + "\u20ac" * 1400)
    more = {"query": "note", "k": 14} if mode == "search" else {}
    seen, cursor, truncated = [], None, False
    while True:
        reply = sandbox.try_post(
            "/memory/query", mode=mode, tier="all", **more, **({"cursor": cursor} if cursor else {})
        )
        assert len(reply.content) <= 16_000
        seen += [m["id"] for m in reply.json()["memories"]]
        truncated = truncated or reply.json()["truncated"]
        cursor = reply.json()["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 14
    assert truncated


def test_a_long_note_is_cut_in_a_reply_and_whole_by_its_id(world, sandbox):
    [id_] = manage(sandbox, "add", tier="vector", body="long " * 1500)["changed"]
    [item] = ask(sandbox)["memories"]
    assert (item["cut"], len(item["body"])) == (True, 1500)
    whole = world.ok(world.http.request("GET", f"/v1/memory/items/{id_}", headers=sandbox.headers))
    assert whole["body"] == "long " * 1500


def test_what_is_shared_is_told_to_all_who_may_read_main_and_put_there_by_builders_alone(world, sandbox):
    refused = sandbox.try_post(
        "/memory/manage", action="add", tier="semantic", fact="s", body="mine", shared=True
    )
    world.problem(refused, "policy_denied")
    where = {"repo_name": "lab", "branch": "main"}
    made = world.as_owner(
        "PUT", "/v1/memory/items", json=where | {"fact": "s", "body": "ours", "shared": True}
    )
    item = world.ok(made)
    assert item["shared"] is True
    assert bodies(ask(sandbox)) == ["ours"]
    world.problem(
        world.http.request("DELETE", f"/v1/memory/items/{item['id']}", headers=sandbox.headers),
        "policy_denied",
    )
    manage(sandbox, "add", tier="semantic", fact="s", body="mine")
    assert bodies(ask(sandbox)) == ["mine", "ours"], "a branch's own fact stands beside the shared one"
    world.ok(world.http.request("DELETE", f"/v1/memory/items/{item['id']}", headers=world.owner))
