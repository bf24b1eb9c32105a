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
