"""Batch scoring: a dataset goes through a model in its jail in chunks; what does not fit is named by its place."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builderos.execution.compute.service import SandboxProviders
from builderos.workloads.endpoints import batching, scoring
from tests.support.databases import Databases
from tests.support.environments import environment
from tests.support.sandboxes import needs_strong
from tests.support.scoring import Rack, rack_in_temp
from tests.support.servers import until
from tests.support.uploads import upload
from tests.support.world import Json

SLOW = b"""
import pathlib, time
class Model:
    def predict(self, rows):
        if rows[0][0] >= 4 and not pathlib.Path("go").exists():
            time.sleep(600)
        return [row[0] * 10 for row in rows]
def load(folder):
    return Model()
"""
LYING = b"""
import os, pathlib
room = pathlib.Path.cwd() / ".builderos-scoring"
(room / "fault.json").write_text('{"row": true, "column": ["\\\\ud800"], "message": 7}')
(room / "out" / "000001").symlink_to("/etc/passwd")
class Model:
    def predict(self, rows):
        os._exit(4)
def load(folder):
    return Model()
"""


@pytest.fixture(scope="module")
def rack(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    with databases.fresh() as database, rack_in_temp(database, tmp_path_factory.mktemp("models")) as made:
        needs_strong(made.ship.context.get(SandboxProviders).probe("local"))
        made.register("signs", made.trained("up"))
        made.register("slow", {"model.py": SLOW}, {"model.py": LYING})
        yield made


def dataset(rack: Rack, name: str, **files: str) -> str:
    kept = [upload(rack.world, text.encode(), path.replace("_", "."))["id"] for path, text in files.items()]
    return str(rack.call("POST", "/v1/datasets", name=name, artifacts=kept)["ref"])


def try_score(rack: Rack, model: str, ref: str, version: int = 1, **body: Any) -> Any:
    box = rack.ship.box
    place = {"repo_name": box.repo_name, "branch": box.branch, "runtime": "ml"}
    asked = {**place, "version": version, "dataset_ref": ref, **body}
    return rack.world.as_owner("POST", f"/v1/models/{model}/score", json=asked)


def scored(rack: Rack, *args: Any, **body: Any) -> Json:
    """A job once it is over."""
    return over(rack, rack.world.ok(try_score(rack, *args, **body), 202)["id"])


def over(rack: Rack, id_: str) -> Json:
    seen: list[Json] = []

    def there() -> bool:
        seen.append(rack.call("GET", f"/v1/scoring-jobs/{id_}"))
        return seen[-1]["ended_at"] is not None

    until(there)
    return seen[-1]


def result(rack: Rack, job: Json) -> list[str]:
    assert job["status"] == "finished", job
    got = rack.world.as_owner("GET", f"/v1/artifacts/{job['artifact_id']}/content")
    return [str(line) for line in got.text.splitlines()]


def test_a_table_is_scored_in_chunks_and_the_result_is_a_dataset_with_its_lineage(rack: Rack) -> None:
    ref = dataset(rack, "points", points_csv="id,y,x\na,2,2\nb,-2,-2\nc,1,3\nd,-1,-3\ne,0.5,0.5\n")
    job = scored(rack, "signs", ref, chunk_rows=2, carry=["id"], register_as="points-scored")
    assert result(rack, job) == ["row,id,prediction", "1,a,1", "2,b,0", "3,c,1", "4,d,0", "5,e,1"]
    assert (job["rows_done"], job["rows_total"], job["chunks_done"]) == (5, 5, 3)
    assert (job["model"], job["dataset"], job["result"]) == ("signs@1", ref, "points-scored@1")
    graph = rack.call("GET", f"/v1/lineage/{job['run_id']}")
    assert {(edge["relation"], edge["source"][:3], edge["target"][:3]) for edge in graph["edges"]} >= {
        ("input_of", "dst", "run"), ("input_of", "mdv", "run"), ("made", "run", "art"), ("made", "run", "dst"),
    }  # fmt: skip
    read = rack.call("GET", "/v1/audit/access", object=rack.call("GET", f"/v1/datasets/{ref}")["id"])["items"]
    assert "dataset.read" in {line["action"] for line in read}
    (line,) = rack.call("GET", "/v1/audit", object=job["id"], type="scoring.ended")["items"]
    assert (line["payload"]["status"], line["payload"]["rows"]) == ("finished", 5)
    assert rack.ship.run(job["run_id"])["status"] == "succeeded"


def test_json_lines_and_a_file_that_is_named_are_scored_and_several_have_to_be_told_apart(rack: Rack) -> None:
    rows = "".join(
        json.dumps(row) + "\n" for row in ({"x": 1, "y": 1, "k": [1]}, {"x": -1.5, "y": 0, "k": None})
    )
    ref = dataset(rack, "lines", a_jsonl=rows, b_csv="x,y\n1,1\n", c_txt="no table")
    rack.world.problem(try_score(rack, "signs", ref), "validation_failed")
    rack.world.problem(try_score(rack, "signs", ref, file="c.txt"), "validation_failed")
    rack.world.problem(try_score(rack, "signs", ref, file="d.csv"), "not_found")
    rack.world.problem(try_score(rack, "signs", "none@1"), "not_found")
    rack.world.problem(try_score(rack, "signs", ref, version=9), "not_found")
    job = scored(rack, "signs", ref, file="a.jsonl", carry=["k"])
    assert [json.loads(line) for line in result(rack, job)] == [
        {"row": 1, "k": [1], "prediction": 1}, {"row": 2, "k": None, "prediction": 0},
    ]  # fmt: skip


MISFITS: list[tuple[str, str, int | None, str | None, str]] = [
    ("t.csv", "x,y\n1,2\n2,3\n3,many\n", 3, "y", 'y has to be a number (double); it is "many"'),
    ("t.csv", "x,z\n1,2\n", None, "y", "the table has no column y"),
    ("t.csv", "x,y\n1,2\n2\n", 2, None, "it has 1 values; the header names 2"),
    ("t.csv", "x,y\n", None, None, "the table has no rows"),
    ("t.jsonl", '{"x":1,"y":2}\n{"x":1,"y":3}\n{"x":1,"y":"7"}\n', 3, "y", "in row 3 it is str"),
    ("t.jsonl", '{"x":1,"y":2}\n{"x":1}\n', 2, "y", "the row has no y"),
    ("t.jsonl", '{"x":1,"y":2}\n{"x":1,\n', 2, None, "the line is no JSON"),
    ("t.parquet", "nothing of the kind", None, None, "Parquet"),
]
EACH = "import sys\nfrom scoring import batch\nfor sys.argv[1] in sys.argv[1:]: assert batch.main() == 4\n"


def test_what_does_not_fit_is_told_by_row_and_column(rack: Rack, tmp_path: Path) -> None:
    """The program itself, outside of a jail: a job for each would only take longer."""
    places = [tmp_path / str(number) for number in range(len(MISFITS))]
    for place, (name, text, *_) in zip(places, MISFITS, strict=True):
        for path, data in rack.trained("up").items():
            (place / "model").mkdir(parents=True, exist_ok=True)
            (place / "model" / path).write_bytes(data)
        (place / "data").mkdir()
        (place / "data" / name).write_text(text)
        spec = {"file": name, "skip": 0, "format": "csv", "chunk_rows": 2, "columns": [], "carry": []}
        (place / "spec.json").write_text(json.dumps({**spec, "name": "signs", "version": "1"}))
    command = [str(environment("mlflow") / "bin" / "python"), "-c", EACH, *map(str, places)]
    program = {"PYTHONPATH": str(Path(scoring.__file__).parents[1])}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=program)
    assert done.returncode == 0, done.stderr
    for place, (*_, row, column, said) in zip(places, MISFITS, strict=True):
        fault = json.loads((place / "fault.json").read_text())
        assert (fault["row"], fault["column"]) == (row, column), fault
        assert said in fault["message"]


def test_a_cell_that_does_not_fit_ends_the_job_and_says_where(rack: Rack) -> None:
    ref = dataset(rack, "crooked", t_csv="x,y\n1,2\n2,3\n3,many\n")
    job = scored(rack, "signs", ref, chunk_rows=2)
    assert (job["status"], job["artifact_id"], job["chunks_done"]) == ("failed", None, 1)
    assert (job["error"]["row"], job["error"]["column"]) == (3, "y")
    assert 'y has to be a number (double); it is "many"' in job["error"]["message"]
    assert rack.ship.run(job["run_id"])["status"] == "failed"
    assert [one["id"] for one in rack.call("GET", "/v1/scoring-jobs", status="failed")["items"]][:1] == [
        job["id"]
    ]


def test_a_cancelled_job_keeps_its_chunks_and_its_run_goes_on_behind_them(
    rack: Rack, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = dataset(rack, "steps", t_csv="x\n" + "".join(f"{n}\n" for n in range(6)))
    made = rack.world.ok(try_score(rack, "slow", ref, chunk_rows=2), 202)
    until(lambda: rack.call("GET", f"/v1/scoring-jobs/{made['id']}")["rows_done"] == 4)
    rack.call("POST", f"/v1/runs/{made['run_id']}/cancel", reason="enough")
    ended = over(rack, made["id"])
    assert (ended["status"], ended["rows_done"], ended["artifact_id"]) == ("cancelled", 4, None)
    written: list[int] = []
    copied = batching._Scoring._copied

    def counted(self: Any, beneath: Any, number: int) -> bool:
        found = copied(self, beneath, number)
        written.extend([number] * found)
        return found

    monkeypatch.setattr(batching._Scoring, "_copied", counted)
    again = rack.call("POST", f"/v1/runs/{made['run_id']}/rerun")["run_id"]
    place = f"projects/*/*/work/{again}/score.1/.builderos-scoring"
    found: list[Path] = []
    until(lambda: bool(found.extend(rack.world.home.glob(place)) or found))
    (found[0].parent / "go").touch()
    until(lambda: rack.call("GET", f"/v1/scoring-jobs/{made['id']}")["status"] == "finished")
    job = rack.call("GET", f"/v1/scoring-jobs/{made['id']}")
    assert result(rack, job) == ["row,prediction", *(f"{n + 1},{n * 10}" for n in range(6))]
    assert (written, job["run_id"]) == ([3], again), "what was kept is not scored again"
    assert not list(rack.world.home.glob(f"projects/*/*/scoring/{made['id']}"))


def test_what_a_model_writes_into_its_folder_is_not_believed(rack: Rack) -> None:
    ref = dataset(rack, "plain", t_csv="x\n1\n2\n")
    job = scored(rack, "slow", ref, version=2)
    assert (job["status"], job["rows_done"], job["artifact_id"]) == ("failed", 0, None)
    assert (job["error"]["message"], job["error"]["row"]) == ("7", None)
