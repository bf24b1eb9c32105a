"""Somebody else's client (mlflow, unmodified), in an environment and processes of its own."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from .environments import environment

_BEGIN = """\
import json, os, sys, warnings
warnings.filterwarnings("ignore")
import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
out = {}
def refused(call, *args, **named):
    try:
        call(*args, **named)
    except MlflowException as error:
        return [error.error_code, error.message]
    raise AssertionError("nothing was refused")
"""
_END = """
print("\\n" + json.dumps(out))
"""


def settings(url: str, token: str) -> dict[str, str]:
    """What its user sets, and nothing else: two variables, and that it gives up soon."""
    return {
        "PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8",
        "MLFLOW_TRACKING_URI": f"{url}/mlflow", "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "GIT_PYTHON_REFRESH": "quiet",
    }  # fmt: skip


def run(
    script: str, url: str, token: str, folder: Path, *, python: Path | None = None, **named: str
) -> dict[str, Any]:
    """Run a script of a user, by `python` if it needs more than the client; returns what it put into `out`."""
    file = folder / "script.py"
    file.write_text(_BEGIN + script + _END)
    done = subprocess.run(
        [python or environment("mlflow") / "bin" / "python", file], cwd=folder, env=settings(url, token) | named,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return json.loads(done.stdout.rstrip().splitlines()[-1])
