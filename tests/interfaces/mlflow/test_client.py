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


MODEL = """
import pandas, sklearn.linear_model
from sklearn.datasets import load_iris
data = load_iris(as_frame=True)
mlflow.set_experiment("models")
mlflow.sklearn.autolog(log_models=False, log_datasets=True)
with mlflow.start_run() as run:
    model = sklearn.linear_model.LogisticRegression(max_iter=200).fit(data.data, data.target)
    mlflow.log_input(mlflow.data.from_pandas(data.frame.head(5), name="iris"), context="testing", tags={"part": "head"})
    how = {"registered_model_name": "iris", "params": {"c": "1"}, "pip_requirements": []}
    info = mlflow.sklearn.log_model(model, name="iris", **how)
    mlflow.log_metric("checked", 0.97, model_id=info.model_id)
client = MlflowClient()
again = client.get_run(run.info.run_id)
out["auto"] = [again.data.params["max_iter"], "training_accuracy_score" in again.data.metrics]
out["inputs"] = sorted(
    [one.dataset.name, {tag.key: tag.value for tag in one.tags}.get("mlflow.data.context")]
    for one in again.inputs.dataset_inputs
)
kept = mlflow.get_logged_model(info.model_id)
out["logged"] = [kept.name, str(kept.status), kept.params["c"], "checked" in [m.key for m in kept.metrics]]
found = mlflow.search_logged_models(experiment_ids=[run.info.experiment_id], output_format="list")
out["found"] = [one.model_id == info.model_id for one in found]
client.set_registered_model_alias("iris", "champion", 1)
client.set_model_version_tag("iris", "1", "checked", "yes")
version = client.get_model_version_by_alias("iris", "champion")
out["version"] = [version.version, version.run_id == run.info.run_id, dict(version.tags), version.status]
out["aliases"] = list(version.aliases)
row = data.data.head(3)
wanted = list(model.predict(row))
for uri in ("models:/iris@champion", "models:/iris/1", info.model_uri, f"runs:/{run.info.run_id}/iris"):
    loaded = mlflow.sklearn.load_model(uri)
    out[uri.partition(":")[0] + str(uri.count("/")) + uri[-3:]] = list(loaded.predict(row)) == wanted
out["models"] = [m.name for m in client.search_registered_models("name LIKE 'ir%'")]
out["versions"] = [v.version for v in client.search_model_versions("name = 'iris'")]
out["prompt"] = refused(mlflow.genai.register_prompt, "hello", "Say {{ what }}")
out["missing"] = refused(client.get_registered_model, "none")
out["taken"] = refused(client.create_registered_model, "iris")
out["alias"] = refused(client.get_model_version_by_alias, "iris", "none")
"""


def test_a_model_is_trained_logged_registered_and_loaded_again(client: Any) -> None:
    out = client(MODEL)
    assert out.pop("auto") == ["200", True]
    assert ["iris", "testing"] in out.pop("inputs")
    assert out.pop("logged") == ["iris", "READY", "1", True]
    assert out.pop("found") == [True]
    assert out.pop("version") == ["1", True, {"checked": "yes"}, "READY"]
    assert out.pop("aliases") == ["champion"]
    assert (out.pop("models"), out.pop("versions")) == (["iris"], ["1"])
    code, message = out.pop("prompt")
    assert code == "INVALID_PARAMETER_VALUE"
    assert "builderos prompt publish" in message
    assert out.pop("missing")[0] == "RESOURCE_DOES_NOT_EXIST"
    assert out.pop("taken")[0] == "RESOURCE_ALREADY_EXISTS"
    assert out.pop("alias")[0] == "INVALID_PARAMETER_VALUE"
    assert set(out.values()) == {True}
    assert len(out) == 4
