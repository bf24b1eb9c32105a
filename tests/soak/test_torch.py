"""PyTorch with the unmodified client: trained with autolog, logged, registered, answering in the sandbox."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from builderos.execution.compute.service import SandboxProviders
from tests.support import mlflow_client
from tests.support.databases import Databases
from tests.support.environments import PLACE, ROOT
from tests.support.live import served
from tests.support.runs import ship_in_temp
from tests.support.sandboxes import needs_strong
from tests.support.scoring import Rack, approve

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif("BUILDEROS_SOAK" not in os.environ, reason="a gigabyte is fetched: make soak"),
]
SCRIPT = """
import lightning, torch
from mlflow.models import infer_signature
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    def forward(self, x):
        return self.net(x)
    def training_step(self, batch, _):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss)
        return loss
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.05)

mlflow.set_experiment("torch")
mlflow.pytorch.autolog(log_every_n_epoch=1, log_models=False)
rows = torch.randn(64, 4, generator=torch.Generator().manual_seed(7))
data = DataLoader(TensorDataset(rows, (rows[:, 0] > 0).long()), batch_size=16)
net, quiet = Net(), {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
with mlflow.start_run() as run:
    lightning.Trainer(max_epochs=3, accelerator="cpu", **quiet).fit(net, data)
    example, model = rows[:3].numpy(), net.net.eval()
    wanted = model(rows[:3]).detach().numpy()
    how = {"signature": infer_signature(example, wanted), "input_example": example, "pip_requirements": []}
    info = mlflow.pytorch.log_model(model, name="net", registered_model_name="net", **how)
    old = {"serialization_format": "pickle", "pip_requirements": []}
    mlflow.pytorch.log_model(model, name="old", registered_model_name="old", **old)
again = MlflowClient().get_run(run.info.run_id)
history = MlflowClient().get_metric_history(run.info.run_id, "loss")
out["params"], out["points"] = [again.data.params[key] for key in ("epochs", "optimizer_name")], len(history)
out["files"] = sorted(file.path for file in MlflowClient().list_artifacts(run.info.run_id))
loaded = mlflow.pytorch.load_model("models:/net/1")
out["same"] = bool(torch.allclose(loaded(rows), model(rows), atol=1e-6))
out["rows"], out["answers"] = example.tolist(), wanted.tolist()
"""


@pytest.fixture(scope="module")
def place() -> Path:
    """An environment with PyTorch."""
    made = Path(os.environ.get("BUILDEROS_TORCH") or PLACE / "torch")
    if not (made / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", made], check=True)
        subprocess.run(
            [made / "bin" / "pip", "install", "-qq", "-r", ROOT / "requirements" / "torch.in"], check=True
        )
    return made


@pytest.fixture(scope="module")
def rack(databases: Databases, place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    with databases.fresh() as database, ship_in_temp(database) as ship:
        needs_strong(ship.context.get(SandboxProviders).probe("local"))
        approve(ship.world.home, place, "3Gi")
        yield Rack(ship, tmp_path_factory.mktemp("models"))


def test_a_model_of_pytorch_is_trained_logged_and_answers_in_the_jail(
    rack: Rack, place: Path, tmp_path: Path
) -> None:
    with served(rack.world) as url:
        token = rack.world.owner_token
        out = mlflow_client.run(SCRIPT, url, token, tmp_path, python=place / "bin" / "python")
    assert (out["params"], out["points"], out["same"]) == (["3", "Adam"], 3, True)
    assert "model_summary.txt" in out["files"]
    made = rack.serve("net", "net@1")
    assert made["deployments"][0]["status"] == "ready", made
    found = rack.ask("net", {"inputs": out["rows"]}).json()["predictions"]
    assert found == [pytest.approx(row, abs=1e-5) for row in out["answers"]]
    wide = rack.ask("net", {"inputs": [[1, 2]]})
    assert wide.status_code == 422, wide.text
    refused = rack.serve("old", "old@1")["deployments"][0]
    assert refused["status"] == "failed"
    assert "torch.export" in str(refused), refused
