"""Experiments on the command line: made, searched, shown, laid side by side, taken elsewhere."""

from tests.support.server import Server

from .conftest import Line

OWNER = ("--as", "owner")


def test_an_experiment_is_made_searched_shown_compared_and_taken_elsewhere(
    builder: Line, running_server: Server
) -> None:
    made = builder.json("experiment", "create", "trees", *OWNER)
    id_, api, runs = made["id"], running_server.owner(), list[str]()
    for name, depth, acc in (("small", "3", 0.5), ("large", "9", 0.75)):
        params = {"depth": depth, "kind": "tree"}
        run = api.call("POST", f"/v1/experiments/{id_}/runs/open", {"name": name, "params": params})["id"]
        points = {"metrics": [{"key": "acc", "value": acc}, {"key": "odd", "value": "NaN"}]}
        api.call("POST", f"/v1/experiment-runs/{run}/log", points)
        runs.append(run)
    assert "trees" in builder.ok("experiment", "list", "-q", "tree", *OWNER)
    found = builder.ok(
        "experiment", "runs", id_, "--filter", "metrics.acc > 0.1", "--order", "metrics.acc DESC", *OWNER
    )
    assert found.index("large") < found.index("small")
    assert "acc=0.75" in found
    shown = builder.ok("experiment", "show", runs[0], *OWNER)
    assert all(word in shown for word in ("small", "depth", "NaN", id_))
    table = builder.ok("experiment", "compare", id_, *runs, *OWNER).splitlines()
    assert [line.split() for line in table if line.split()[1] == "depth"] == [["param", "depth", "3", "9"]]
    assert [line.split() for line in table if line.split()[1] == "acc"] == [["metric", "acc", "0.5", "0.75"]]
    assert not [line for line in table if "kind" in line.split()], "it is the same in both"
    assert builder.json("experiment", "export", id_, "trees.zip", *OWNER)["size"] > 100
    again = builder.json("experiment", "import", "trees.zip", "--name", "trees-2", *OWNER)
    assert (again["experiment"]["name"], len(again["runs"])) == ("trees-2", 2)


def test_what_was_typed_wrong_is_said_before_anything_is_sent(builder: Line) -> None:
    common = ("exp_x", "--data", "d@1", "--runtime", "r", "--command", "true", *OWNER)
    unpaired = builder("experiment", "submit", *common, "--branch", "b", "-p", "depth")
    assert unpaired.code == 2
    assert "write NAME=VALUE" in unpaired.err
    space = builder("experiment", "sweep", *common, "--branch", "b", "--space", "{no", "--goal", "acc")
    assert space.code == 2
    assert "--space is no JSON" in space.err
    for verb in ("trials", "cancel"):
        missing = builder("experiment", verb, "xrn_none", *OWNER)
        assert (missing.code, "xrn_none" in missing.err) == (1, True), missing
