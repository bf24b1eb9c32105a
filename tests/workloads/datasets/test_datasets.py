"""Datasets by name and version: from artifacts, runs, branches and addresses; every read is written down."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock

import pytest

from builderos.core import dialing
from builderos.core.unit import as_system
from builderos.workloads.datasets import service as datasets
from builderos.workloads.datasets.tables import profile
from builderos.workloads.lineage import service as lineage
from tests.support.databases import Databases
from tests.support.uploads import upload
from tests.support.world import Json, World, world_in_temp

CSV = b'name,petals\r\nsetosa,1.4\r\n"virginica, red",5.5\r\n'
EVERY_HOST = "version: 1\nrules: [{id: all, allow: {network: ['*.example']}}]\n"


@pytest.fixture(scope="module")
def site(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database, dataset_networks="127.0.0.1/32") as world:
        yield world


def register(site: World, name: str, **body: object) -> Json:
    return site.ok(site.as_owner("POST", "/v1/datasets", json={"name": name, **body}))


def reads(site: World, id_: str) -> list[tuple[str, str | None]]:
    rows = site.ok(site.as_owner("GET", "/v1/audit/access", params={"object": id_}))["items"]
    return [(row["action"], row["path"]) for row in reversed(rows)]


def test_a_table_of_an_upload_tells_its_columns_and_gives_its_bytes_back(site: World) -> None:
    kept = upload(site, CSV, "data/iris.csv")
    made = register(site, "iris", artifacts=[kept["id"]], description="Flowers")
    assert (made["ref"], made["kind"], made["rows"]) == ("iris@1", "table", 2)
    assert made["columns"] == [{"name": "name", "type": "text"}, {"name": "petals", "type": "number"}]
    line = f"{hashlib.sha256(CSV).hexdigest()}  data/iris.csv\n"
    assert made["digest"] == "sha256:" + hashlib.sha256(line.encode()).hexdigest()
    assert site.as_owner("GET", "/v1/datasets/iris@1/content").content == CSV


def test_the_same_content_is_the_same_version_and_other_content_the_next_one(site: World) -> None:
    one, two = (upload(site, data, "a.txt")["id"] for data in (b"one", b"two"))
    first = register(site, "words", artifacts=[one])
    again = site.as_owner("POST", "/v1/datasets", json={"name": "words", "artifacts": [one]})
    assert (again.status_code, again.json()) == (200, first)
    assert register(site, "words", artifacts=[two])["ref"] == "words@2"
    assert site.ok(site.as_owner("GET", "/v1/datasets/words"))["version"] == 2
    versions = site.ok(site.as_owner("GET", "/v1/datasets", params={"name": "words"}))["items"]
    assert [item["version"] for item in versions] == [2, 1]
    newest = site.ok(site.as_owner("GET", "/v1/datasets"))["items"]
    assert [item["version"] for item in newest if item["name"] == "words"] == [2]


def test_every_read_is_an_access_event_with_the_file_that_was_read(site: World) -> None:
    made = register(site, "read", artifacts=[upload(site, b"x", "x.txt")["id"]])
    site.ok(site.as_owner("GET", f"/v1/datasets/{made['id']}"))
    site.as_owner("GET", f"/v1/datasets/{made['id']}/content")
    assert reads(site, made["id"]) == [
        ("dataset.register", None),
        ("dataset.show", None),
        ("dataset.read", "x.txt"),
    ]


def test_files_of_a_branch_are_taken_at_its_commit_and_lineage_knows_the_code(site: World) -> None:
    sandbox = site.open_sandbox()
    sha = sandbox.commit({"data/a.csv": "n\n1\n", "data/deep/b.csv": "n\n2\n", "other.txt": "no"})[
        "commit_sha"
    ]
    made = sandbox.post("/v1/datasets", name="branch-data", paths=["data"])
    assert [file["path"] for file in made["files"]] == ["data/a.csv", "data/deep/b.csv"]
    assert (made["kind"], made["source"]["commit"]) == ("folder", sha)
    graph = site.ok(site.as_owner("GET", f"/v1/lineage/{made['id']}"))
    assert {(edge["source"], edge["target"]) for edge in graph["edges"]} == {(sha, made["id"])}
    one = site.http.get(
        f"/v1/datasets/{made['id']}/content", params={"path": "data/a.csv"}, headers=sandbox.headers
    )
    assert one.content == b"n\n1\n"
    which = site.http.get(f"/v1/datasets/{made['id']}/content", headers=sandbox.headers)
    assert "2 files" in World.problem(which, "validation_failed")["detail"]
    sandbox.commit({"data/a.csv": "n\n9\n"})
    before = sandbox.post("/v1/datasets", name="branch-data", paths=["data"], commit=sha)
    assert (before["id"], before["digest"]) == (made["id"], made["digest"]), (
        "the same content is the same version"
    )
    after = sandbox.post("/v1/datasets", name="branch-data", paths=["data"])
    assert (after["version"], after["source"]["commit"] != sha) == (2, True)
    absent = sandbox.try_post("/v1/datasets", name="branch-data", paths=["data"], commit="0" * 40)
    World.problem(absent, "not_found")
    other = site.open_sandbox()
    theirs = other.commit({"data/a.csv": "theirs"})["commit_sha"]
    hidden = sandbox.try_post("/v1/datasets", name="branch-data", paths=["data"], commit=theirs)
    World.problem(hidden, "not_found")


def test_what_one_workspace_registered_is_unknown_to_another_and_its_name_is_taken(site: World) -> None:
    mine, other = site.open_sandbox(force_new=True), site.open_sandbox(force_new=True)
    mine.commit({"d.txt": "mine"})
    other.commit({"d.txt": "other"})
    made = mine.post("/v1/datasets", name="private", paths=["d.txt"])
    for ref in (made["id"], "private@1", "private"):
        World.problem(site.http.get(f"/v1/datasets/{ref}", headers=other.headers), "not_found")
    World.problem(other.try_post("/v1/datasets", name="private", paths=["d.txt"]), "conflict")
    assert site.ok(site.http.get("/v1/datasets", headers=other.headers))["items"] == []
    assert site.ok(site.as_owner("GET", "/v1/datasets/private@1"))["id"] == made["id"]


def test_what_works_with_a_dataset_is_written_down_and_stands_in_its_lineage(site: World) -> None:
    made = register(site, "used", artifacts=[upload(site, b"u", "u.txt")["id"]])
    run = lineage.Node("experiment_run", "xrn_x", "first")
    as_system(site.context, site.org_id, lambda unit: datasets.use(unit, "used@1", run))
    assert ("dataset.read", None) in reads(site, made["id"])
    graph = site.ok(site.as_owner("GET", f"/v1/lineage/{made['id']}", params={"direction": "down"}))
    assert [node["id"] for node in graph["nodes"]] == [made["id"], "xrn_x"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"artifacts": ["art_1"], "url": "https://data.example/a.csv"},
        {"url": "https://user@data.example/a.csv", "repo_name": "lab"},
        {"url": "https://169.254.169.254/latest", "repo_name": "lab"},
        {"url": "https://data.example/a.csv"},
        {"name": "../up", "paths": ["README.md"]},
    ],
    ids=["nothing", "two sources", "a user", "metadata service", "no repository", "hostile name"],
)
def test_what_names_no_proper_source_is_refused_and_makes_nothing(site: World, body: Json) -> None:
    World.problem(site.as_owner("POST", "/v1/datasets", json={"name": "wrong", **body}), "validation_failed")
    World.problem(site.as_owner("GET", "/v1/datasets/wrong"), "not_found")


class Page(BaseHTTPRequestHandler):
    """Answers with a table, or where that lies."""

    def do_GET(self) -> None:
        self.send_response(302 if "moved" in self.path else 200)
        self.send_header("Location", "/data.csv")
        self.end_headers()
        self.wfile.write(CSV)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """An address on a host of the policy's, which is this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    with mock.patch.object(dialing, "public_addresses", return_value=["127.0.0.1"]):
        yield f"http://data.example:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_an_address_is_fetched_where_the_policy_lets_the_repository_reach_it(
    site: World, elsewhere: str
) -> None:
    body = {"name": "fetched", "repo_name": "lab", "url": f"{elsewhere}/iris.csv?v=1"}
    refused = World.problem(site.as_owner("POST", "/v1/datasets", json=body), "policy_denied")
    assert "network.reach" in refused["detail"]
    asked = site.as_owner("PUT", "/v1/policies", json={"content": EVERY_HOST, "reason": "Test."})
    verdict = {"decision": "approve"}
    site.ok(site.as_owner("POST", f"/v1/approvals/{site.ok(asked)['approval_id']}", json=verdict))
    made = register(site, **body)
    assert (made["kind"], made["files"][0]["path"], made["rows"]) == ("table", "iris.csv", 2)
    assert made["source"] == {"from": "url", "url": body["url"]}
    moved = site.as_owner("POST", "/v1/datasets", json=body | {"url": f"{elsewhere}/moved"})
    assert "302" in World.problem(moved, "validation_failed")["detail"]


def test_a_table_that_is_none_has_no_columns() -> None:
    assert profile("a.jsonl", 9, [b'{"a": 1}\n', b"[1]\n"]) is None
    assert profile("a.csv", 9, [b"a,a\n1,2\n"]) is None
    assert profile("a.csv", 2, [b"\xff\xfe"]) is None
    told = profile("a.jsonl", 9, [b'{"a": 1, "b": "x"}\n{"a": "nan"}\n'])
    assert told is not None
    assert (told.rows, [column["type"] for column in told.columns]) == (2, ["number", "text"])
