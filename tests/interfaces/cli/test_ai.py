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
    nobody = builder("ai", "limit", "agent:nobody", "month", "cost", "25", "--as", "owner")
    assert "there is no such agent" in nobody.out + nobody.err
    made = builder.json("ai", "limit", "agent:tester", "month", "cost", "25", "--as", "owner")["items"]
    assert [(b["amount"], b["meter"]) for b in made if b["subject"] == "agent:tester"] == [(25.0, "cost")]
    assert "agent:tester" in builder.ok("ai", "budgets", "--as", "owner")
    assert "agent:tester" not in builder.ok("ai", "limit", "agent:tester", "month", "cost", "--as", "owner")
    assert builder("ai", "limit", "nobody", "month", "cost", "1", "--as", "owner").code != 0
