"""Recording asks a real model: it costs what the model costs, and budgets see it."""

from pathlib import Path

import pytest

from builderos.core.problems import Problem
from tests.support.gateways import FILE, Models


def test_what_recording_costs_counts_in_budgets(models: Models, tmp_path: Path) -> None:
    tape = f"  tape: {{{{kind: recorded, mode: record, source: up, folder: {tmp_path}}}}}\n"
    models.file(FILE.replace("fallbacks:", tape + "fallbacks:"))
    body = {"subject": "org", "period": "day", "meter": "cost", "amount": 0.000009}
    models.world.ok(models.world.as_owner("POST", "/v1/ai/budgets", json=body))
    out = models.complete("hello dear model", model="tape/small")
    assert out.cost == 0.000009  # 3 tokens in, 3 out, at the prices of `up`
    (row,) = models.rows()
    assert (row.provider, row.cost, row.held_cost > 0) == ("tape", 9000, True)
    with pytest.raises(Problem, match="used up"):
        models.complete("hello dear model", model="tape/small")


def taped(models: Models, folder: Path, mode: str) -> None:
    source = ", source: up" if mode == "record" else ""
    tape = f"  tape: {{{{kind: recorded, mode: {mode}{source}, folder: {folder}}}}}\n"
    models.file(FILE.replace("fallbacks:", tape + "fallbacks:"))


def test_a_line_that_was_cut_off_is_left_out_and_recording_goes_on_behind_it(
    models: Models, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tape = tmp_path / "cassette.jsonl"
    taped(models, tmp_path, "record")
    models.complete(
        "first \u2028 one", model="tape/small"
    )  # what splits lines elsewhere does not split them here
    whole = tape.read_bytes()
    tape.write_bytes(whole + whole[: whole.index("\u2028".encode()) + 1])
    taped(models, tmp_path, "replay")
    assert models.complete("first \u2028 one", model="tape/small").label == "recorded"
    assert "cassette.jsonl:2" in caplog.text
    taped(models, tmp_path, "record")
    models.complete("second", model="tape/small")
    models.complete("third", model="tape/small")
    taped(models, tmp_path, "replay")
    for text in ("first \u2028 one", "second", "third"):
        assert models.complete(text, model="tape/small").label == "recorded"
    tape.write_bytes(whole.rstrip(b"\n"))  # whole, but without its end: nothing is torn
    taped(models, tmp_path, "record")
    models.complete("fourth", model="tape/small")
    assert len(tape.read_bytes().splitlines()) == 2


@pytest.mark.parametrize("line", ['{"request": {"kind', "[1]", '{"request": {}, "answer": {}}'])
def test_a_damaged_line_is_named_and_is_no_fault_of_who_asks(
    models: Models, tmp_path: Path, line: str
) -> None:
    taped(models, tmp_path, "record")
    models.complete("first", model="tape/small")
    tape = tmp_path / "cassette.jsonl"
    whole = tape.read_bytes()
    tape.write_bytes(whole + line.encode() + b"\n" + whole)
    taped(models, tmp_path, "replay")
    with pytest.raises(Problem, match=r"cassette\.jsonl is damaged in line 2: ") as refused:
        models.complete("first", model="tape/small")
    assert refused.value.code == "upstream_failed"
    assert [(row.state, row.label, row.cost) for row in models.rows()][-1] == ("failed", "recorded", 0)


def test_what_was_never_recorded_is_labelled_as_a_replay_that_failed(models: Models, tmp_path: Path) -> None:
    taped(models, tmp_path, "replay")
    with pytest.raises(Problem, match="no recording"):
        models.complete("first", model="tape/small")
    assert [(row.state, row.label) for row in models.rows()] == [("failed", "recorded")]
