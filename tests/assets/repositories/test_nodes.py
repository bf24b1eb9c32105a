"""One repository on several machines: each with a disk of its own, one database, one place that all reach."""

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from builderos.assets.repositories import maintenance, nodes, settling
from builderos.assets.repositories.store import RepositoryStore
from builderos.core.unit import as_system
from tests.support.databases import FreshDatabase
from tests.support.live import clone, served
from tests.support.world import Json, Sandbox, World, git, make_repository


class Machines:
    """Machines of one installation, made when they are first named."""

    def __init__(self, folder: Path, database: FreshDatabase) -> None:
        self.folder = folder
        self.database = database
        self.shared = folder / "shared"
        self._worlds: dict[str, World] = {}

    def __getitem__(self, name: str) -> World:
        if name not in self._worlds:
            url = f"file://{self.shared}"
            self._worlds[name] = World(self.folder / name / "home", self.database, artifact_url=url)
        return self._worlds[name]

    def on(self, name: str, box: Sandbox) -> Sandbox:
        """The same sandbox, asked for at another machine."""
        return Sandbox(self[name], box.repo_name, box.branch, box.token)

    def sql(self, query: str) -> list[tuple[object, ...]]:
        """Rows, as nobody but an administrator of the database sees them."""
        with psycopg.connect(self.database.superuser_conninfo) as connection:
            return connection.execute(query).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]

    def close(self) -> None:
        for world in self._worlds.values():
            world.close()


@pytest.fixture
def machines(database: FreshDatabase) -> Iterator[Machines]:
    folder = Path(tempfile.mkdtemp(prefix="bos-"))
    found = Machines(folder, database)
    try:
        found["a"].import_repo(
            make_repository(folder / "source", {"README.md": "# Lab\n", "big.txt": "line\n" * 900})
        )
        yield found
    finally:
        found.close()
        shutil.rmtree(folder, ignore_errors=True)


def text(box: Sandbox, path: str) -> str:
    return str(box.post("/system/fetch_files", path=path)["files"][0]["content"])


def checkpoint(world: World) -> maintenance.Checkpoint:
    done = maintenance.checkpoint(world.context)
    assert done is not None
    assert done.failed == 0
    return done


def bring_main(machines: Machines, box: Sandbox) -> None:
    found = machines.sql(
        f"select id from ops.sandboxes where branch_id in (select id from ops.branches where name = '{box.branch}')"
    )
    World.ok(box.world.http.post(f"/v1/sandboxes/{found[0][0]}/update", json={}, headers=box.headers))


def promote(box: Sandbox, by: World) -> None:
    reply: Json = box.post("/git/promote", title="Bring it")
    by.ok(by.as_owner("POST", f"/v1/approvals/{reply['approval_id']}", json={"decision": "approve"}))


def test_what_came_in_at_one_machine_is_there_at_the_others(machines: Machines) -> None:
    at_b = machines["b"].open_sandbox()
    assert text(at_b, "README.md") == "# Lab\n"
    at_b.commit({"new.txt": "from b\n"})
    assert text(machines.on("a", at_b), "new.txt") == "from b\n"


def test_machines_take_turns_on_one_branch(machines: Machines) -> None:
    box = machines["a"].open_sandbox()
    for number in range(6):
        machines.on("ab"[number % 2], box).commit({f"f{number}.txt": f"{number}\n"})
        if number % 3 == 2:
            checkpoint(machines["b"])
    assert [text(machines.on("a", box), f"f{number}.txt") for number in range(6)] == [
        f"{n}\n" for n in range(6)
    ]


def test_a_machine_that_knows_nothing_gets_all_from_pieces_and_journal(machines: Machines) -> None:
    box = machines["a"].open_sandbox()
    box.commit({"one.txt": "1\n"})
    assert checkpoint(machines["a"]).rows == 1
    box.commit({"two.txt": "2\n"})
    assert machines.sql("select count(*) from ops.git_journal") == [(1,)]
    fresh = machines.on("c", box)
    assert (text(fresh, "one.txt"), text(fresh, "two.txt")) == ("1\n", "2\n")


def test_commits_on_both_sides_of_a_push_arrive_in_their_order(machines: Machines) -> None:
    box = machines["a"].open_sandbox()
    box.commit({"before.txt": "1\n"})
    with served(machines["a"]) as url:
        own = clone(url, box, machines.folder / "clone")
        own.commit({"pushed.txt": "2\n", "pushed.bin": bytes(range(256)) * 40})
        own.must("push", "-q", "origin", "HEAD")
    box.commit({"after.txt": "3\n"})
    with served(machines["b"]) as url:
        other = clone(url, machines.on("b", box), machines.folder / "other")
        assert {p: (other.folder / p).read_text() for p in ("before.txt", "pushed.txt", "after.txt")} == {
            "before.txt": "1\n", "pushed.txt": "2\n", "after.txt": "3\n",
        }  # fmt: skip
        assert "error" not in git("fsck", "--full", cwd=other.folder)
        other.commit({"back.txt": "4\n"})
        other.must("push", "-q", "origin", "HEAD")
    assert text(box, "back.txt") == "4\n"


def test_a_promotion_at_one_machine_is_refreshed_from_at_another(machines: Machines) -> None:
    mine, theirs = machines["a"].open_sandbox(), machines["b"].open_sandbox()
    theirs.commit({"theirs.txt": "t\n"})
    mine.commit({"mine.txt": "m\n"})
    promote(mine, machines["a"])
    checkpoint(machines["a"])
    bring_main(machines, theirs)
    assert text(theirs, "mine.txt") == "m\n"
    promote(machines.on("c", theirs), machines["c"])
    assert text(machines["a"].open_sandbox(), "theirs.txt") == "t\n"


def test_a_sandbox_that_brought_main_in_elsewhere_is_whole_here(machines: Machines) -> None:
    old = machines.on("b", machines["b"].open_sandbox())
    text(old, "README.md")  # machine b has main as it was
    mine = machines["a"].open_sandbox()
    mine.commit({"mine.txt": "m\n"})
    promote(mine, machines["a"])
    bring_main(machines, machines.on("a", old))
    assert text(old, "mine.txt") == "m\n"


def test_two_machines_that_commit_at_once_lose_nothing(machines: Machines) -> None:
    box = machines["a"].open_sandbox()

    def write(name: str) -> None:
        for number in range(5):
            machines.on(name, box).commit({f"{name}{number}.txt": f"{name}\n"})

    text(machines.on("b", box), "README.md")  # both are up
    with ThreadPoolExecutor() as pool:
        list(pool.map(write, "ab"))
    checkpoint(machines["b"])
    for name in "abc":
        found = {
            f"{who}{n}.txt": text(machines.on(name, box), f"{who}{n}.txt") for who in "ab" for n in range(5)
        }
        assert found == {path: f"{path[0]}\n" for path in found}


def test_many_pieces_become_one(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_MOST", 3)
    box = machines["a"].open_sandbox()
    assert text(machines.on("b", box), "README.md") == "# Lab\n"
    for number in range(5):
        box.commit({f"f{number}.txt": f"{number}\n"})
        if number == 1:
            text(machines.on("b", box), "f1.txt")  # machine b has seen a part of what becomes one
        checkpoint(machines["a"])
    store = machines.sql(f"select store from ops.branches where name = '{box.branch}'")[0][0]
    kinds = machines.sql(f"select kind from ops.git_pieces where store = '{store}' order by id")
    assert kinds[0] == ("pack",)
    assert len(kinds) <= 3
    for name in "bc":
        assert [text(machines.on(name, box), f"f{n}.txt") for n in range(5)] == [f"{n}\n" for n in range(5)]


def test_a_piece_that_was_altered_is_refused(machines: Machines) -> None:
    box = machines["a"].open_sandbox()
    box.commit({"one.txt": "1\n"})
    checkpoint(machines["a"])
    for file in machines.shared.rglob("*"):
        if file.is_file():
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 1
            file.chmod(0o644)
            file.write_bytes(data)
    World.problem(machines.on("b", box).try_post("/system/fetch_files", path="one.txt"), "unavailable")


def test_what_no_piece_names_is_taken_away_after_a_day(machines: Machines) -> None:
    world = machines["a"]
    box = world.open_sandbox()
    box.commit({"one.txt": "1\n"})
    checkpoint(world)
    machines.sql("delete from ops.git_pieces where kind = 'objects' returning id")
    assert as_system(world.context, world.org_id, nodes.tidy) == 0  # somebody may be about to name it
    place = world.context.get(nodes.Nodes).place
    assert place is not None
    assert len(list(place.listed(world.org_id))) == 2


def test_one_machine_keeps_no_pieces(world: World) -> None:
    settling.settle_all(world.context)  # as a start does
    box = world.open_sandbox()
    box.commit({"one.txt": "1\n"})
    checkpoint(world)
    assert world.context.get(nodes.Nodes).place is None
    assert not list((world.home / "repos").rglob("pieces"))
    assert world.context.get(RepositoryStore).root.exists()
