"""What `builderos demo` lays out for whoever wants to play its pipelines."""

import subprocess
import sys
from pathlib import Path

import yaml


def laid_out(folder: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "builderos.interfaces.cli.main", "demo", "--sample", str(folder)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_the_sample_is_a_repository_with_scripted_models_in_a_folder_that_was_empty(tmp_path: Path) -> None:
    done = laid_out(tmp_path / "new")

    assert done.returncode == 0, done.stderr
    assert "run hotfix_pipeline" in done.stdout
    assert "run data_pipeline" in done.stdout
    tree = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "HEAD"], cwd=tmp_path / "new" / "teashop",
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert {"deploy.yaml", "shop/api.py", "data/raw/orders.csv"} <= set(tree.stdout.split())
    models = yaml.safe_load((tmp_path / "new/home/ssot/providers/ai/provider.yaml").read_text())
    (provider,) = models["providers"].values()
    assert provider["mode"] == "scripted"
    assert (Path(provider["folder"]) / "hotfix.yaml").is_file()
    again = laid_out(tmp_path / "new")
    assert (again.returncode, "is not empty" in again.stderr) == (2, True)
