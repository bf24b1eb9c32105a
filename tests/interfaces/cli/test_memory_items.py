"""`builderos memory` on what is remembered: kept, found, undone, moved."""

import json
from pathlib import Path

from .conftest import Line


def test_a_fact_is_remembered_found_changed_undone_and_forgotten(builder: Line) -> None:
    made = builder.json(
        "memory", "remember", "fly", "--fact", "deploy.target", "--tag", "ops", "--path", "README.md"
    )
    assert (made["tier"], made["tags"], made["source"]["path"]) == ("semantic", ["ops"], "README.md")
    builder.ok("memory", "remember", "render", "--fact", "deploy.target")
    assert "render" in builder.ok("memory", "recall", "where do we deploy")
    assert "fly" in builder.ok("memory", "history", made["id"])
    assert "fly" in builder.ok("memory", "undo", made["id"])
    assert builder.json("memory", "show", made["id"])["version"] == 3
    assert "no longer" in builder.ok("memory", "forget", made["id"])
    assert builder("memory", "show", made["id"]).code not in (0, 2)


def test_a_note_has_a_term_and_a_pin(builder: Line) -> None:
    made = builder.json("memory", "remember", "a note of the cellar", "--agent", "builder", "--ttl", "60")
    assert made["expires_at"]
    builder.ok("memory", "pin", made["id"])
    assert builder.json("memory", "show", made["id"])["pinned"]
    assert builder.json("memory", "ttl", made["id"], "never")["expires_at"] is None
    assert builder("memory", "ttl", made["id"], "soon").code == 2
    listed = builder.json("memory", "items", "--agent", "builder", "--tier", "vector")
    assert made["id"] in [item["id"] for item in listed["items"]]
    builder.ok("memory", "remove", made["id"])
    assert made["id"] not in builder.ok("memory", "items", "--agent", "builder")


def test_a_memory_goes_from_one_agent_to_another_as_a_file(builder: Line, tmp_path: Path) -> None:
    builder.ok("memory", "remember", "tabs", "--fact", "style", "--agent", "docwriter")
    file = tmp_path / "docwriter.json"
    builder.ok("memory", "export", "--agent", "docwriter", "-o", str(file))
    assert [item["fact"] for item in json.loads(file.read_text())["items"]] == ["style"]
    assert builder("memory", "export", "--agent", "docwriter", "-o", str(file)).code == 2
    assert builder.json("memory", "import", str(file), "--agent", "reviewer") == {
        "added": 1,
        "changed": 0,
        "same": 0,
    }
    assert "tabs" in builder.ok("memory", "recall", "style", "--agent", "reviewer")
    file.write_text("[]")
    assert builder("memory", "import", str(file)).code == 2


def test_who_opened_a_workspace_shares_nothing_with_all(builder: Line) -> None:
    refused = builder("memory", "remember", "believe me", "--shared")
    assert refused.code == 3
    assert "memory.share" in refused.err
