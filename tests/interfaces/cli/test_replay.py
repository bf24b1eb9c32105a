"""What is left of a run, on the command line: replayed, its receipt printed, and verified without any server."""

import json

import pytest

from .conftest import Line

BUILD = """
name: build
params: {word: {type: string, default: hello}}
steps:
  - {id: make, run: "echo $WORD > out.txt", env: {WORD: "${{ params.word }}"}, outputs: [out.txt]}
"""


@pytest.fixture
def run(builder: Line) -> str:
    """A run that has ended."""
    builder.write("ship/build/pipeline.yaml", BUILD)
    builder.ok("commit", "ship/build/pipeline.yaml", "-m", "A pipeline")
    builder.ok("run", "build", "--follow")
    return builder.json("run", "list", "--pipeline", "build")["items"][0]["id"]


def test_a_run_is_replayed_and_its_receipt_verified(builder: Line, run: str) -> None:
    assert "came to the same trees and artifacts: 1 executed again" in builder.ok("replay", run)
    changed = builder("replay", run, "--against", "param.word=servus")
    assert changed.code == 1, changed
    assert "First divergence: make in out.txt" in changed.out
    assert "-hello\n+servus\n" in changed.out
    assert builder.json("replay", run)["reproduced"] is True
    signed = builder.ok("receipt", run)
    assert json.loads(signed)["payloadType"] == "application/vnd.in-toto+json"
    assert builder.ok("receipt", run, "--page").startswith("# Receipt of run")
    builder.write("receipt.json", signed)
    builder.write("out.txt", "hello\n")
    assert "build@1.0.0: succeeded" in builder.ok("verify-receipt", "receipt.json", "--artifact", "out.txt")
    builder.write("receipt.json", signed.replace("e", "f", 3))
    refused = builder("verify-receipt", "receipt.json")
    assert (refused.code, refused.out[:3]) == (1, "NOT")
