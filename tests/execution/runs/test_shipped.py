"""The pipelines that come with BuilderOS run from the first step to the last, without any network."""

import json
from collections.abc import Iterator

import pytest

from builderos.execution.runs import shipped
from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp

TEST = "import unittest\nfrom app import add\n\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(add(1, 2), 3)\n"  # fmt: skip # noqa: E501
PATCH = "--- a/app.py\n+++ b/app.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n-    return a - b\n+    return a + b\n"


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        yield made


def read(ship: Ship, *paths: str) -> dict[str, str]:
    found = ship.box.post("/system/fetch_files", mode="batch", paths=list(paths))["files"]
    return {file["path"]: file["content"] for file in found}


def test_four_pipelines_come_along_and_say_what_they_do() -> None:
    found = [shipped.find(name) for name in shipped.names()]

    assert [item.definition.name for item in found if item] == [
        "data_pipeline",
        "deploy_pipeline",
        "feature_pipeline",
        "hotfix_pipeline",
    ]
    assert all(item and item.definition.description for item in found)


def test_a_feature_is_planned_made_tested_committed_and_proposed(ship: Ship) -> None:
    make = "printf 'def add(a, b):\\n    return a + b\\n' > app.py\n"
    ship.box.commit({"ship/feature_pipeline/generate.sh": make, "test_app.py": TEST})

    run = ship.until(ship.start("feature_pipeline", params={"goal": "Add numbers\nand $(rm -rf /) `quotes`"}))

    assert run["status"] == "succeeded", run
    made = ["plan", "generate", "test", "save", "pr", "verify", "look"]
    skipped = ["think", "build", "document", "review", "approve", "deploy_preview", "probe"]
    assert ship.statuses(run) == dict.fromkeys(made, "succeeded") | dict.fromkeys(skipped, "skipped")
    assert run["pipeline_id"] == "feature_pipeline@2.0.0"
    files = read(ship, "app.py", "docs/plan.md")
    assert files["docs/plan.md"] == "# Plan\n\nAdd numbers\nand $(rm -rf /) `quotes`\n"
    pull = ship.steps(run)["pr"]["result"]
    shown = ship.world.ok(ship.world.as_owner("GET", f"/v1/pulls/{pull['promotion_id']}"))
    assert (shown["title"], shown["state"]) == ("Add numbers", pull["state"])
    assert pull["approval_id"].startswith("apr_")


def test_a_hotfix_waits_for_a_yes_before_it_is_committed(ship: Ship) -> None:
    ship.box.commit({"app.py": "def add(a, b):\n    return a - b\n", "test_app.py": TEST})
    id_ = ship.start("hotfix_pipeline", params={"patch": PATCH, "reason": "Adding subtracts"})

    waiting = ship.until(id_, "waiting_approval")
    assert ship.statuses(waiting)["test"] == "succeeded", waiting
    assert read(ship, "app.py")["app.py"].endswith("a - b\n")
    approval = ship.steps(waiting)["approve"]["approval_id"]
    decided = ship.world.as_owner("POST", f"/v1/approvals/{approval}", json={"decision": "approve"})
    ship.world.ok(decided)
    run = ship.until(id_)

    assert run["status"] == "succeeded", run
    assert read(ship, "app.py")["app.py"].endswith("a + b\n")


def test_raw_tables_become_one_clean_file_with_a_report(ship: Ship) -> None:
    ship.box.commit(
        {
            "data/raw/a.csv": "Name ,Age\n Zo\u0065\u0308 ,3\nBob,\n",
            "data/raw/b.jsonl": '{"NAME": "Zo\u00eb", "age": "3"}\n',
        }
    )

    run = ship.until(ship.start("data_pipeline", params={"required": ["name"]}))

    assert run["status"] == "succeeded", run
    files = read(ship, "data/clean/rows.jsonl", "data/clean/rows.report.json")
    rows = [json.loads(line) for line in files["data/clean/rows.jsonl"].splitlines()]
    assert rows == [{"age": "3", "name": "Zo\u00eb"}, {"age": "", "name": "Bob"}]
    assert json.loads(files["data/clean/rows.report.json"])["columns"] == ["age", "name"]


def test_what_is_no_json_is_named_with_its_row_and_what_is_comes_out_whole(ship: Ship) -> None:
    ship.box.commit(
        {"data/odd/a.jsonl": '{"a": "one\\u2028line"}\n', "data/bad/a.jsonl": '{"a": 1}\n{"a": NaN}\n'}
    )
    runs = [
        ship.start("data_pipeline", params={"source": f"data/{name}", "target": "data/odd.jsonl"})
        for name in ("odd", "bad")
    ]
    odd, bad = ship.until(runs[0]), ship.until(runs[1])

    assert odd["status"] == "succeeded", odd
    assert json.loads(read(ship, "data/odd.jsonl")["data/odd.jsonl"]) == {"a": "one\u2028line"}
    step = ship.steps(bad)["ingest"]
    assert step["status"] == "failed"
    log = ship.world.ok(ship.world.as_owner("GET", f"/v1/steps/{step['id']}/logs"))["text"]
    assert "data/bad/a.jsonl: row 2 cannot be read: NaN is no JSON" in log


def test_a_table_that_lacks_a_column_is_not_published(ship: Ship) -> None:
    run = ship.until(ship.start("data_pipeline", params={"required": ["age"], "target": "data/none.jsonl"}))

    assert run["status"] == "failed"
    assert ship.statuses(run)["publish"] == "skipped"
