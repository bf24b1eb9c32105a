"""An experiment as one file: given out, taken in elsewhere, and refused where somebody changed it."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.databases import Databases
from tests.support.uploads import upload
from tests.support.world import Json, World, world_in_temp

MLFLOW = "/mlflow/api/2.0"
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def site(databases: Databases) -> Iterator[World]:
    with databases.fresh() as database, world_in_temp(database, rate_logged=10**6) as made:
        yield made


@pytest.fixture(scope="module")
def source(site: World) -> str:
    """An experiment with a parent, a child, a model, files, odd numbers."""
    experiment = site.ok(
        site.as_owner("POST", "/v1/experiments", json={"name": "old", "tags": {"team": "green"}})
    )["id"]
    parent = opened(site, experiment, name="parent", params={"lr": "0.1"})
    child = opened(site, experiment, name="child", parent_id=parent, started_at_ms=5)
    points = [
        {"key": "loss", "value": value, "step": step, "at_ms": step}
        for step, value in enumerate([1, "NaN", "-Infinity"])
    ]
    site.ok(
        site.as_owner(
            "POST", f"/v1/experiment-runs/{child}/log", json={"metrics": points, "tags": {"a": "é"}}
        )
    )
    body = {"experiment_id": experiment, "name": "net", "source_run_id": child}
    model = site.ok(site.as_owner("POST", f"{MLFLOW}/mlflow/logged-models", json=body))["model"]["info"][
        "model_id"
    ]
    data = {"name": "iris", "digest": "d1", "source_type": "local", "source": "x"}
    for path, sent in (
        (
            "log-inputs",
            {"run_id": child, "datasets": [{"dataset": data, "tags": [{"key": "use", "value": "train"}]}]},
        ),
        ("outputs", {"run_id": child, "models": [{"model_id": model, "step": 2}]}),
    ):
        site.ok(site.as_owner("POST", f"{MLFLOW}/mlflow/runs/{path}", json=sent))
    for owner, path in ((f"_/{child}", "plots/a b.txt"), (f"_/models/{model}", "MLmodel")):
        address = f"{MLFLOW}-artifacts/artifacts/{owner}/artifacts/{path}"
        site.ok(
            site.http.put(address.replace("2.0-", "2.0/mlflow-"), content=path.encode(), headers=site.owner)
        )
    site.ok(
        site.as_owner("POST", f"/v1/experiment-runs/{child}/end", json={"status": "failed", "ended_at_ms": 9})
    )
    return experiment


def opened(site: World, experiment: str, **body: Any) -> str:
    return site.ok(site.as_owner("POST", f"/v1/experiments/{experiment}/runs/open", json=body))["id"]


def exported(site: World, experiment: str, **query: str) -> bytes:
    reply = site.as_owner("GET", f"/v1/experiments/{experiment}/export", params=query)
    assert reply.status_code == 200, reply.text
    return reply.content


def imported(site: World, data: bytes, **body: str) -> Any:
    artifact = upload(site, data, "old.zip")["id"]
    return site.as_owner("POST", "/v1/experiments/import", json={"artifact_id": artifact, **body})


def run(site: World, id_: str) -> Json:
    return site.ok(site.as_owner("GET", f"/v1/experiment-runs/{id_}"))


def test_what_was_exported_makes_equal_runs(site: World, source: str) -> None:
    made = site.ok(imported(site, exported(site, source), name="new"), 201)
    assert (made["experiment"]["name"], made["experiment"]["tags"]) == ("new", {"team": "green"})
    assert (len(made["runs"]), made["models"], made["files"]) == (2, 1, 2)
    same = ("name", "metrics", "params", "started_at_ms", "inputs")
    for old, new in made["runs"].items():
        before, after = run(site, old), run(site, new)
        assert {key: after[key] for key in same} == {key: before[key] for key in same}
        assert after["tags"]["builderos.imported_from"] == old
    parent, child = (
        next(n for o, n in made["runs"].items() if run(site, o)["name"] == w) for w in ("parent", "child")
    )
    shown = run(site, child)
    assert (shown["status"], shown["ended_at_ms"], run(site, parent)["status"]) == ("failed", 9, "killed")
    assert shown["tags"]["mlflow.parentRunId"] == parent
    assert len(shown["models"]) == 1
    for owner, path in ((child, "plots/a b.txt"), (shown["models"][0], "MLmodel")):
        folder = path.rpartition("/")[0]
        found = site.ok(site.as_owner("GET", f"/v1/experiment-runs/{owner}/files", params={"path": folder}))[
            "items"
        ]
        assert [file["path"] for file in found] == [path]
        content = site.as_owner("GET", f"/v1/artifacts/{found[0]['artifact_id']}/content").content
        assert content == path.encode()
    again = exported(site, made["experiment"]["id"])
    assert [len(lines) for lines in points_of(again)] == [
        len(lines) for lines in points_of(exported(site, source))
    ]


def points_of(data: bytes) -> list[list[bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return sorted(
            archive.read(name).splitlines() for name in archive.namelist() if name.startswith("metrics/")
        )


def test_some_runs_alone_may_be_exported_and_a_name_is_taken_once(site: World, source: str) -> None:
    runs = site.ok(site.as_owner("GET", f"/v1/experiments/{source}/runs"))["items"]
    data = exported(site, source, runs=runs[0]["id"])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert json.loads(archive.read("manifest.json"))["runs"] == [runs[0]["id"]]
    site.problem(imported(site, data), "conflict")
    reply = site.as_owner("GET", f"/v1/experiments/{source}/export", params={"runs": "xrn_no"})
    site.problem(reply, "validation_failed")


def packed(files: Files, *, twice: str = "") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
            if name == twice:
                archive.writestr(name, data)
    return out.getvalue()


def sealed(files: Files) -> bytes:
    """An archive whose manifest fits whatever lies in it."""
    manifest = json.loads(files["manifest.json"])
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in files.items()
        if name != "manifest.json"
    }
    return packed({**files, "manifest.json": json.dumps(manifest).encode()})


def moved(files: Files, path: str) -> bytes:
    """With a file under another name."""
    found = next(name for name in files if name.startswith("files/xrn"))
    owner = found.split("/")[1]
    return sealed({**files, path.format(owner=owner): b"x"})


def changed(files: Files, start: str, old: bytes, new: bytes) -> Files:
    name = next(name for name in files if name.startswith(start) and old in files[name])
    return {**files, name: files[name].replace(old, new)}


HOSTILE: list[tuple[str, str, Callable[[Files], bytes]]] = [
    ("a way out", "invalid_path", lambda files: moved(files, "files/{owner}/../../etc/passwd")),
    ("an encoded way out", "invalid_path", lambda files: moved(files, "files/{owner}/%2e%2e/x")),
    ("an absolute path", "invalid_path", lambda files: moved(files, "/etc/passwd")),
    ("a stranger's file", "invalid_path", lambda files: moved(files, "files/xrn_other/x")),
    ("another byte", "validation_failed", lambda files: packed(changed(files, "files/", b"plots", b"plotz"))),
    ("a point of words", "validation_failed", lambda files: sealed(changed(files, "metrics/", b'"loss"', b"[]"))),
    ("other words", "validation_failed", lambda files: sealed(changed(files, "runs/", b'"id":"xrn', b'"id":"yrn'))),
    ("an unknown member", "validation_failed", lambda files: sealed(changed(files, "runs/", b'{"id"', b'{"x":1,"id"'))),
    ("a file that is not named", "validation_failed", lambda files: packed({**files, "more": b""})),
    ("a name twice", "validation_failed", lambda files: packed(files, twice="manifest.json")),
    ("no manifest", "validation_failed", lambda files: packed({"a": b""})),
    ("no zip", "validation_failed", lambda _: b"PK\x03\x04 nothing"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("code", "made"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_what_was_changed_makes_nothing(
    site: World, source: str, code: str, made: Callable[[Files], bytes]
) -> None:
    with zipfile.ZipFile(io.BytesIO(exported(site, source))) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    site.problem(imported(site, made(files), name="hostile"), code)
    assert not site.ok(site.as_owner("GET", "/v1/experiments", params={"q": "hostile"}))["items"]
