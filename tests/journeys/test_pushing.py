"""A real `git push` over the wire starts a run, the run commits, and the next pull brings what it made."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from builderos import app as root
from tests.support.databases import Databases
from tests.support.gitclients import clone
from tests.support.live import live as serving
from tests.support.sandboxes import until
from tests.support.world import Json, World, world_in_temp

PIPELINE = """name: onpush
triggers: [{push: {branches: ["sandbox-*"], paths: ["src/**"]}}]
steps:
  - {id: count, run: "wc -l < src/words.txt > count.txt; echo counted"}
  - {id: save, needs: [count], action: git.commit, inputs: {message: Count the words}}
"""


@pytest.fixture
def served(databases: Databases) -> Iterator[tuple[World, str]]:
    with databases.fresh() as database, world_in_temp(database) as world, serving(world.asgi) as url:
        engine = root.build_engine(root.Started(world.app, database.engine_url))
        engine.start()
        assert engine.wait(60)
        yield world, url
        engine.stop(5)


def runs(world: World) -> list[Json]:
    return world.ok(world.as_owner("GET", "/v1/runs?pipeline=onpush"))["items"]


def test_a_push_over_the_wire_starts_a_run_whose_commit_the_next_pull_brings(
    served: tuple[World, str], tmp_path: Path
) -> None:
    world, url = served
    box = world.open_sandbox()
    box.commit({"ship/onpush/pipeline.yaml": PIPELINE})
    where = {"repo_name": box.repo_name, "branch": box.branch}
    world.ok(world.as_owner("POST", "/v1/pipelines/onpush/triggers", json=where))
    desk = clone(url, box.token, box.branch, tmp_path / "desk")

    elsewhere = desk.commit({"notes.md": "Not about words.\n"}, "Take notes")
    assert desk.git("push", "-q", "origin", f"HEAD:{box.branch}").ok
    pushed = desk.commit({"src/words.txt": "one\ntwo\n"}, "Write words")
    assert desk.git("push", "-q", "origin", f"HEAD:{box.branch}").ok

    until(lambda: any(run["ended_at"] for run in runs(world)), 60)
    (run,) = runs(world)
    assert (run["status"], run["branch"]) == ("succeeded", box.branch)
    assert run["trigger"]["commit"] == pushed != elsewhere
    assert run["trigger"]["type"] == "push"
    pulled = desk.git("pull", "-q", "origin", box.branch)
    assert pulled.ok, pulled.err
    assert (desk.folder / "count.txt").read_text().strip() == "2"
    assert "Count the words" in desk.git("log", "-1", "--format=%s").out
    assert len(runs(world)) == 1, "what a run commits starts none"
