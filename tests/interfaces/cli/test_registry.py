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
    assert "applied" in builder.ok("model", "promotion", asked["id"], "--as", "owner")
    assert "rolled_back" in builder.ok("model", "rollback", asked["id"], "--as", "owner")
    made = builder.json("model", "show", "sum", "--as", "owner")["versions"][0]["id"]
    assert "artifact model.py → model sum@1" in builder.ok("dataset", "lineage", made, "--as", "owner")
    assert builder.json("endpoint", "list", "--as", "owner")["items"] == []
