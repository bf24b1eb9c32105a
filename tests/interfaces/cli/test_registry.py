"""Datasets and models on the command line: registered, staged, promoted, taken back."""

from .conftest import Line

SUM = "def load(folder):\n    return sum\n"


def test_data_and_models_are_registered_promoted_and_taken_back(builder: Line) -> None:
    builder.write("points.csv", "x,y\n1,2\n")
    assert "points@1: 1 files, 8 bytes" in builder.ok(
        "dataset", "register", "points", "--file", "points.csv", "--as", "owner"
    )
    assert "points.csv" in builder.ok("dataset", "show", "points@1", "--as", "owner")
    assert builder.ok("dataset", "get", "points", "--as", "owner") == "x,y\n1,2\n"
    assert "points@1" in builder.ok("dataset", "list", "--as", "owner")

    builder.write("sum/model.py", SUM)
    assert "sum@1: 1 files" in builder.ok("model", "register", "sum", "--folder", "sum", "--as", "owner")
    builder.ok("model", "stage", "sum@1", "staged", "--as", "owner")
    builder.ok("model", "alias", "sum@1", "champion", "--as", "owner")
    assert "champion" in builder.ok("model", "show", "sum", "--as", "owner")
    waits = builder("model", "promote", "sum@1", "-m", "First", "--as", "owner", "--json")
    assert waits.code == 4  # for an approval
    asked = waits.json
    builder.ok("approve", asked["approval_id"], "--as", "owner")
    shown = builder.ok("model", "promotion", asked["id"], "--as", "owner")
    assert "applied" in shown
    assert "No metrics are known." in shown
    assert "from artifact model.py" in shown
    page = builder.ok("approvals", asked["approval_id"], "--as", "owner")
    assert "evals: none were tried in its run" in page
    assert "from artifact model.py" in page
    assert builder.json("model", "jobs", "--as", "owner")["items"] == []
    assert "rolled_back" in builder.ok("model", "rollback", asked["id"], "--as", "owner")
    made = builder.json("model", "show", "sum", "--as", "owner")["versions"][0]["id"]
    assert "artifact model.py → model sum@1" in builder.ok("dataset", "lineage", made, "--as", "owner")
    assert builder.json("endpoint", "list", "--as", "owner")["items"] == []


def test_an_endpoint_is_given_bounds_and_tells_what_it_keeps(builder: Line) -> None:
    builder.write("add/model.py", SUM)
    builder.ok("model", "register", "add", "--folder", "add", "--as", "owner")
    made = builder.json("endpoint", "create", "sums", "add@1", "--max", "3", "--as", "owner")
    assert made["scaling"] | {"max_replicas": 3} == made["scaling"]
    changed = builder.json(
        "endpoint", "change", "sums", "--quiet", "9", "--payload-rate", "0.5", "--as", "owner"
    )
    assert (changed["scaling"]["max_replicas"], changed["scaling"]["quiet_s"]) == (3, 9)
    assert changed["payloads"]["rate"] == 0.5
    assert builder("endpoint", "change", "sums", "--as", "owner").code == 2  # nothing is said
    assert (
        builder.json("endpoint", "logs", "sums", "--as", "owner")["deployment"]
        == made["deployments"][0]["id"]
    )
    assert builder.json("endpoint", "payloads", "sums", "--as", "owner")["items"] == []
    builder.ok("endpoint", "stop", "sums", "--as", "owner")
