"""Triggers on the command line: a webhook's address and secret are printed when it is switched on, and on rotating."""

from .conftest import Line

HOOKED = "name: hooked\ntriggers: [{webhook: push}]\nsteps:\n  - {id: only, action: noop}\n"


def test_a_webhook_is_switched_on_rotated_and_off(builder: Line) -> None:
    builder.write("ship/hooked/pipeline.yaml", HOOKED)
    made = builder.json("commit", "ship/hooked/pipeline.yaml", "-m", "A pipeline")
    where = ("--repo", made["repo_name"], "--branch", made["branch"], "--as", "owner")
    on = ("pipeline", "triggers", "on", "hooked", *where)

    said = builder.ok(*on)
    assert "Save the secret now" in said
    assert "/v1/hooks/trg_" in said
    assert said.count("whsec_") == 1
    assert "whsec_" not in builder.ok(*on)
    listed = builder.json("pipeline", "triggers", "list", "--pipeline", "hooked", "--as", "owner")["items"]
    id_ = next(item["id"] for item in listed if item["branch"] == made["branch"])
    rotated = builder.ok("pipeline", "triggers", "rotate", id_, "--overlap", "1", "--as", "owner")
    assert rotated.split("whsec_")[1][:20] != said.split("whsec_")[1][:20]
    assert "off" in builder.ok("pipeline", "triggers", "off", id_, "--as", "owner")
