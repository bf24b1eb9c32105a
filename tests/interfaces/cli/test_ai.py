"""Models from the command line."""

from pathlib import Path

from tests.support.upstreams import provider_file

from .conftest import Line


def test_models_usage_and_budgets_are_shown_and_set(builder: Line) -> None:
    provider_file(
        Path(builder.env["BUILDEROS_HOME"]),
        "providers: {scripts: {kind: recorded, mode: scripted, folder: none}}",
    )
    assert "scripts/*" in builder.ok("ai", "models", "--as", "owner")
    assert "No model was asked" in builder("ai", "usage", "--as", "owner").err
    assert builder.json("ai", "requests", "--as", "owner")["items"] == []
    made = builder.json("ai", "limit", "agent:cli", "month", "cost", "25", "--as", "owner")["items"]
    assert [(b["amount"], b["meter"]) for b in made if b["subject"] == "agent:cli"] == [(25.0, "cost")]
    assert "agent:cli" in builder.ok("ai", "budgets", "--as", "owner")
    assert "agent:cli" not in builder.ok("ai", "limit", "agent:cli", "month", "cost", "--as", "owner")
    assert builder("ai", "limit", "nobody", "month", "cost", "1", "--as", "owner").code != 0
