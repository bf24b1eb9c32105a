"""The unmodified client of MLflow against this server: nothing but two environment variables is set."""

from typing import Any

from tests.support.world import World

WALK = """
mlflow.set_experiment("walk")
with mlflow.start_run(run_name="first") as run:
    mlflow.log_param("lr", 0.1)
    mlflow.log_params({"depth": 3, "loss": "log"})
    mlflow.log_metric("acc", 0.5, step=1)
    mlflow.log_metric("acc", 0.9, step=2)
    mlflow.log_metrics({"auc": 0.8, "bad": float("nan"), "far": float("inf")}, step=1)
    mlflow.set_tag("team", "green")
    with open("notes.txt", "w") as file:
        file.write("hello")
    mlflow.log_artifact("notes.txt")
    mlflow.log_text("deep", "a/b/c.txt")
    with mlflow.start_run(nested=True, run_name="child") as child:
        mlflow.log_metric("acc", 0.1)
client = MlflowClient()
id = run.info.run_id
again = client.get_run(id)
out["status"], out["params"], out["name"] = again.info.status, again.data.params, again.info.run_name
out["metrics"] = {k: str(v) for k, v in again.data.metrics.items()}
out["tags"] = {k: again.data.tags[k] for k in ("team", "mlflow.runName")}
out["history"] = [[m.step, m.value] for m in client.get_metric_history(id, "acc")]
out["files"] = [[f.path, f.is_dir, f.file_size] for f in client.list_artifacts(id)]
out["deeper"] = [[f.path, f.is_dir, f.file_size] for f in client.list_artifacts(id, "a/b")]
out["text"] = mlflow.artifacts.load_text(again.info.artifact_uri + "/notes.txt")
folder = client.download_artifacts(id, "a")
out["deep"] = open(os.path.join(folder, "b", "c.txt")).read()
def search(**how):
    found = mlflow.search_runs(experiment_names=["walk"], output_format="list", **how)
    return [r.info.run_name for r in found]
out["found"] = search(filter_string="metrics.acc > 0.5 AND params.lr = '0.1'")
out["all"] = search(order_by=["metrics.acc DESC"])
out["parent"] = client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == id
"""


def test_a_run_is_logged_and_read_back_with_files_and_a_child(world: World, client: Any) -> None:
    out = client(WALK)
    assert out["status"] == "FINISHED"
    assert out["name"] == "first"
    assert out["params"] == {"lr": "0.1", "depth": "3", "loss": "log"}
    assert out["metrics"] == {"acc": "0.9", "auc": "0.8", "bad": "nan", "far": "inf"}
    assert out["tags"] == {"team": "green", "mlflow.runName": "first"}
    assert out["history"] == [[1, 0.5], [2, 0.9]]
    assert out["files"] == [["a", True, None], ["notes.txt", False, 5]]
    assert out["deeper"] == [["a/b/c.txt", False, 4]]
    assert (out["text"], out["deep"]) == ("hello", "deep")
    assert out["found"] == ["first"]
    assert out["all"] == ["first", "child"]
    assert out["parent"]
    lines = world.ok(world.as_owner("GET", "/v1/audit", params={"limit": 200}))["items"]
    ended = [line["payload"] for line in lines if line["type"] == "experiment_run.ended"]
    assert {"status": "finished", "metrics": 4, "params": 3} in ended
