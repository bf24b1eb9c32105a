"""Runs that are carried out here: what they find, what is seen of them meanwhile, what is left when they have ended."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from builderos import app as root
from builderos.execution.compute.service import SandboxProviders
from tests.support.databases import Databases
from tests.support.sandboxes import needs_strong
from tests.support.servers import until
from tests.support.training import Lab, lab_in_temp


@pytest.fixture(scope="module")
def lab(databases: Databases) -> Iterator[Lab]:
    with databases.fresh() as database, lab_in_temp(database) as made:
        needs_strong(made.ship.context.get(SandboxProviders).probe("local"))
        yield made


def test_a_submitted_run_finds_params_and_data_and_leaves_metrics_files_and_lineage(lab: Lab) -> None:
    made = lab.submit(params={"lr": 0.5, "note": "it's $HOME; `x`"}, name="first", tags={"kind": "try"})
    assert (made["status"], made["external"], made["params"]["lr"]) == ("scheduled", False, "0.5")
    run = lab.until(made["id"], "finished")
    assert {key: run["metrics"][key] for key in ("rows", "loss", "acc")} == {
        "rows": 3,
        "loss": 0.5 / 3,
        "acc": 1 - 0.5 / 3,
    }
    assert run["metrics"]["system/system_memory_usage_megabytes"] > 0
    assert (run["dataset_ref"], run["code_sha"], run["runtime"]) == (lab.dataset, lab.sha, "py")
    assert (run["tags"]["team"], run["tags"]["kind"], run["submitted"]["note"]) == (
        "green",
        "try",
        "it's $HOME; `x`",
    )
    files = lab.get(f"/v1/experiment-runs/{made['id']}/files")["items"]
    assert [file["path"] for file in files] == ["copies", "model.json"]
    graph = lab.get(f"/v1/lineage/{made['id']}")
    assert {node["kind"] for node in graph["nodes"]} == {"code", "dataset", "experiment_run", "artifact"}
    (line,) = lab.get("/v1/audit", object=made["id"], type="experiment_run.ended")["items"]
    assert line["payload"]["status"] == "finished"


def test_metrics_are_seen_while_the_command_runs_and_a_cancelled_one_keeps_what_it_logged(lab: Lab) -> None:
    made = lab.submit(params={"lr": 0.5, "slow": True})
    until(lambda: "loss" in lab.run(made["id"])["metrics"])
    assert lab.run(made["id"])["status"] == "running"
    end = lab.try_post(f"/v1/experiment-runs/{made['id']}/end", status="finished")
    lab.ship.world.problem(end, "illegal_transition")
    (lab.folder(made) / "go1").touch()
    until(lambda: lab.run(made["id"])["metrics"]["loss"] == 0.25)
    lab.post(f"/v1/experiment-runs/{made['id']}/cancel", reason="enough")
    run = lab.until(made["id"], "killed")
    assert run["ended_at_ms"] is not None
    assert run["metrics"]["loss"] == 0.25
    shown = lab.get(f"/v1/runs/{run['run_id']}")
    assert shown["status"] in ("running", "cancelled")
    lab.ship.world.problem(lab.try_post(f"/v1/experiment-runs/{made['id']}/cancel"), "illegal_transition")


def test_a_command_that_fails_makes_a_failed_run_with_its_files(lab: Lab) -> None:
    made = lab.submit(params={"lr": 0.5, "fails": True})
    run = lab.until(made["id"], "failed")
    assert run["metrics"]["acc"] == 1 - 0.5 / 3
    assert "model.json" in {
        file["path"] for file in lab.get(f"/v1/experiment-runs/{made['id']}/files")["items"]
    }
    assert lab.get(f"/v1/runs/{run['run_id']}")["status"] == "failed"


HOSTILE = r"""
printf '%s\n' 'no json' '[1]' '{"what":"metric","key":"../up","value":1}' '{"what":"metric","key":"a"}' \
  '{"what":"metric","key":"big","value":1e999}' '{"what":"metric","key":"nan","value":"NaN"}' \
  '{"what":"metric","key":"ok","value":1,"step":1e300}' '{"what":"param","key":"lr","value":"other"}' \
  '{"what":"param","key":"new","value":3}' '{"what":"tag","key":"t","value":"\ud800"}' '{"what":"x","key":"k"}' \
  '{"what":"metric","key":"ok","value":7,"at_ms":-5,"step":2}' >> "$BUILDEROS_RUN_FILE"
head -c 200000 /dev/zero | tr '\\0' 'x' >> "$BUILDEROS_RUN_FILE"
printf '\n%s\n' '{"what":"metric","key":"after","value":1}' >> "$BUILDEROS_RUN_FILE"
printf '%s' '{"what":"metric","key":"half"' >> "$BUILDEROS_RUN_FILE"
mkdir -p outputs/deep; echo kept > outputs/deep/a.txt; ln -s /etc/passwd outputs/link; echo x > 'outputs/a#b'
mkfifo outputs/pipe
"""


def test_whatever_a_command_writes_is_logged_where_it_can_be_and_counted_where_not(lab: Lab) -> None:
    run = lab.until(lab.submit(command=HOSTILE)["id"], "finished")
    assert run["metrics"] == {"big": "Infinity", "nan": "NaN", "ok": 7, "after": 1}
    assert run["params"] == {"lr": "0.5", "new": "3"}
    assert run["tags"]["builderos.unread"] == "10"
    files = lab.get(f"/v1/experiment-runs/{run['id']}/files", path="deep")["items"]
    assert [file["path"] for file in files] == ["deep/a.txt"]
    assert len(lab.get(f"/v1/experiment-runs/{run['id']}/files")["items"]) == 1


@pytest.mark.parametrize("wrong", [
    {"code_sha": "0" * 40}, {"dataset_ref": "line@9"}, {"branch": "sandbox-of-nobody"}, {"parent_id": "xrn_no"},
])  # fmt: skip
def test_what_is_not_there_is_not_submitted(lab: Lab, wrong: dict[str, str]) -> None:
    path = f"/v1/experiments/{lab.experiment}/runs"
    before = len(lab.get(path)["items"])
    lab.ship.world.problem(lab.try_post(path, **lab.body(**wrong)), "not_found")
    assert len(lab.get(path)["items"]) == before


def test_a_runtime_that_nobody_approved_and_a_folder_outside_are_refused(lab: Lab) -> None:
    path = f"/v1/experiments/{lab.experiment}/runs"
    lab.ship.world.problem(lab.try_post(path, **lab.body(runtime="other")), "runtime_not_approved")
    lab.ship.world.problem(lab.try_post(path, **lab.body(outputs="a/../..")), "validation_failed")
    body = lab.body()
    del body["dataset_ref"]
    lab.ship.world.problem(lab.try_post(path, **body), "validation_failed")


def test_a_run_again_is_a_new_run_of_the_experiment(lab: Lab) -> None:
    first = lab.until(lab.submit(name="again")["id"], "finished")
    lab.post(f"/v1/runs/{first['run_id']}/rerun")
    path = f"/v1/experiments/{lab.experiment}/runs"

    def repeated() -> bool:
        found = lab.get(path, filter=f"tags.`builderos.repeats` = '{first['id']}'")["items"]
        return bool(found) and found[0]["status"] == "finished"

    until(repeated)


def test_a_grid_tries_each_combination_and_shows_the_best_first(lab: Lab) -> None:
    made = lab.sweep(
        space={"lr": [0.1, 0.5], "steps": {"min": 1, "max": 3, "step": 2, "whole": True}}, name="grid"
    )
    lab.until(made["id"], "finished")
    sweep = lab.get(f"/v1/experiment-runs/{made['id']}/sweep")
    assert [trial["params"] for trial in sweep["trials"]][:1] == [{"lr": 0.1, "steps": 3}]
    assert sweep["best"]["value"] == 1 - 0.1 / 3
    assert (sweep["counts"], len(sweep["trials"])) == ({"finished": 4}, 4)
    children = lab.get(
        f"/v1/experiments/{lab.experiment}/runs", filter=f"tags.`mlflow.parentRunId` = '{made['id']}'"
    )["items"]
    assert {child["name"] for child in children} == {f"grid-00{n}" for n in (1, 2, 3, 4)}


def test_never_more_trials_run_than_were_asked_for_and_one_may_be_taken_out(lab: Lab) -> None:
    made = lab.sweep(space={"lr": [0.1, 0.2, 0.3, 0.4]}, params={"slow": True, "steps": 1}, parallel=2)
    path = f"/v1/experiment-runs/{made['id']}/sweep"
    until(lambda: lab.get(path)["counts"].get("running") == 2)
    shown = {trial["name"].rpartition("-")[2]: trial for trial in lab.get(path)["trials"]}
    assert [n for n, trial in sorted(shown.items()) if trial["status"] == "running"] == ["001", "002"]
    lab.post(f"/v1/experiment-runs/{shown['003']['id']}/cancel")
    lab.post(f"/v1/experiment-runs/{shown['001']['id']}/cancel")
    for n in ("002", "004"):
        (lab.folder(made, f"train-{n}") / "go1").touch()
    run = lab.until(made["id"], "finished")
    assert lab.get(path)["counts"] == {"finished": 2, "killed": 2}
    assert lab.get(f"/v1/runs/{run['run_id']}")["status"] == "succeeded"


def test_a_trial_that_falls_behind_is_given_up_early(lab: Lab) -> None:
    made = lab.sweep(
        space={"lr": [0.1, 0.2, 0.9]}, params={"slow": True, "steps": 2}, parallel=3,
        stop={"rule": "median", "after": 1, "least": 2},
    )  # fmt: skip
    last = lab.folder(made, "train-003")
    path = f"/v1/experiment-runs/{made['id']}/sweep"

    def given_up() -> bool:
        return [
            trial["stopped_early"] for trial in lab.get(path)["trials"] if trial["params"]["lr"] == 0.9
        ] == [True]

    def values() -> dict[float, float | None]:
        return {trial["params"]["lr"]: trial["value"] for trial in lab.get(path)["trials"]}

    until(lambda: None not in values().values())
    others = [lab.folder(made, f"train-{n}") for n in ("001", "002")]
    for folder in others:
        (folder / "go1").touch()
    until(lambda: [values()[lr] for lr in (0.1, 0.2)] == [1 - 0.1 / 2, 1 - 0.2 / 2])
    with suppress(FileNotFoundError):  # it came last to its first step, and is gone already
        (last / "go1").touch()
    until(given_up)
    for folder in others:
        (folder / "go2").touch()
    lab.until(made["id"], "finished")
    assert lab.get(path)["best"]["params"]["lr"] == 0.1


def test_a_search_goes_on_where_it_was_when_its_server_has_gone(lab: Lab) -> None:
    """No trial that has ended is run again; the one that was under way begins anew."""
    made = lab.sweep(space={"lr": [0.1, 0.2, 0.3]}, params={"slow": True, "steps": 1}, parallel=1)
    path = f"/v1/experiment-runs/{made['id']}/sweep"
    (lab.folder(made, "train-001") / "go1").touch()
    until(lambda: lab.get(path)["counts"].get("finished") == 1)
    lab.folder(made, "train-002")
    until(lambda: lab.get(path)["counts"].get("running") == 1)
    ship = lab.ship
    ship.engine.stop(0.01)
    assert lab.get(path)["counts"].get("running") == 1
    ship.engine = root.build_engine(root.Started(ship.world.app, ship.database.engine_url))
    ship.engine.start()
    over = {"finished": 3}

    def all_done() -> bool:
        for folder in ship.world.home.glob(f"projects/*/*/work/{made['run_id']}/train-*"):
            if folder.is_dir():
                (folder / "go1").touch()
        return lab.get(path)["counts"] == over

    until(all_done)
    steps = lab.get(f"/v1/runs/{made['run_id']}")["steps"]
    assert {step["name"]: step["status"] for step in steps} == dict.fromkeys(
        ("train-001", "train-002", "train-003"), "succeeded"
    )
    assert next(step["attempt"] for step in steps if step["name"] == "train-001") == 1
    assert lab.until(made["id"], "finished")["ended_at_ms"] is not None
