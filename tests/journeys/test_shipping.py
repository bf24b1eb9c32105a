"""Acts of the demonstration: a run outlives its server, agents bring a feature, a model comes to people."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.world import make_repository


def told(*args: str) -> str:
    """What the demonstration prints; it ends well only if every sentence of it was checked."""
    argv = [sys.executable, "-m", "builderos.interfaces.cli.main", "demo", *args]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("BUILDEROS_", "OPENAI_", "ANTHROPIC_"))}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=900, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all true" in done.stdout
    return done.stdout


def test_a_pipeline_outlives_its_server_and_is_proved_and_repeated(tmp_path: Path) -> None:
    story = told("--act", "2", "--repo", str(make_repository(tmp_path / "source")))
    for said in ("SIGKILL", "ran once each", "came to the same trees", "it does not verify"):
        assert said in story


def test_agents_bring_a_feature_to_a_preview_that_answers() -> None:
    story = told("--act", "3")
    for said in (
        "the preview answers",
        "scripted/teashop, scripted",
        "it does not verify",
        "No model was asked",
    ):
        assert said in story


@pytest.mark.skipif(not os.environ.get("BUILDEROS_SOAK"), reason="make soak makes its environment, too")
@pytest.mark.soak
def test_a_model_goes_from_data_to_a_page_and_back() -> None:
    story = told("--act", "4")
    for said in ("accuracy 0.983", "5 of 5 flowers right", "code            irises", "are back at iris@1"):
        assert said in story
