"""The second act of the demonstration, on a small repository: a run outlives its server, is proved and repeated."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.world import make_repository


def test_a_pipeline_outlives_its_server_and_is_proved_and_repeated(tmp_path: Path) -> None:
    source = make_repository(tmp_path / "source")
    argv = [
        sys.executable,
        "-m",
        "builderos.interfaces.cli.main",
        "demo",
        "--act",
        "2",
        "--repo",
        str(source),
    ]
    env = {k: v for k, v in os.environ.items() if not k.startswith("BUILDEROS_")}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all true" in done.stdout
    for said in ("SIGKILL", "ran once each", "came to the same trees", "it does not verify"):
        assert said in done.stdout
