"""`builderos audit`: who read what, holds, erasure, retention and sinks."""

import json
import uuid
from pathlib import Path

from .conftest import Line


def test_who_read_what_is_listed_and_exported(builder: Line, tmp_path: Path) -> None:
    builder.ok("fetch", "README.md")
    found = builder.json("audit", "reads", "--path", "README.md")["items"]
    assert {row["action"] for row in found} == {"files.read"}
    assert "README.md" in builder.ok("audit", "reads", "--action", "files.read")
    file = tmp_path / "reads.csv"
    assert "Wrote" in builder.ok("audit", "reads", "--export", str(file), "--format", "csv")
    assert "README.md" in file.read_text()


def test_acts_are_filtered_by_file_branch_and_code(builder: Line) -> None:
    builder.write("filtered.txt", "a")
    builder.ok("commit", "filtered.txt", "-m", "Filter me")
    found = builder.json("audit", "list", "--path", "filtered.txt")["items"]
    assert [line["type"] for line in found] == ["commit"]
    assert builder.json("audit", "list", "--path", "filtered.txt", "--to", found[0]["at"])["items"] == []
    assert builder.json("audit", "list", "--branch", "none", "--code", "none")["items"] == []


def test_holds_keep_an_erasure_from_happening(builder: Line) -> None:
    held = builder.json("audit", "hold", "--reason", "matter 7", "--subject", "usr_x")["id"]
    assert "matter 7" in builder.ok("audit", "hold")
    assert builder("audit", "erase", "usr_x").code == 2  # nobody was asked
    assert builder("audit", "erase", "usr_x", "--yes").code not in (0, 2)
    assert "released" in builder.ok("audit", "hold", "--release", held)
    assert "gone" in builder.ok("audit", "erase", "usr_x", "--yes")
    assert builder("audit", "hold", "--subject", "usr_x").code == 2


def test_one_term_is_set_and_the_other_stays(builder: Line) -> None:
    builder.ok("audit", "retention", "--access-days", "90")
    assert builder.json("audit", "retention", "--words-days", "30") == {"access_days": 90, "words_days": 30}
    assert builder.json("audit", "retention", "--reset") == {"access_days": 400, "words_days": None}


def test_a_sink_is_added_tried_listed_and_deleted(builder: Line, tmp_path: Path) -> None:
    name = f"cli-{uuid.uuid4().hex[:8]}"
    made = builder.json("audit", "sink-add", name, "--file")
    assert made["kind"] == "file"
    assert name in builder.ok("audit", "sinks")
    assert "on its way" in builder.ok("audit", "sink-test", made["id"])
    assert builder.ok("audit", "sink-delete", made["id"])
    key = tmp_path / "key"
    key.write_text("secret\n")
    bucket = ("--s3", "audit-log", "--key-id", "AKIA")
    assert builder("audit", "sink-add", name, *bucket).code == 2
    shown = builder.json("audit", "sink-add", name, *bucket, "--secret-file", str(key))
    assert '"secret"' not in json.dumps(shown).replace('"secret": null', "")
    builder.ok("audit", "sink-delete", shown["id"])  # others ask whether all is well here
    for wrong in ((), ("--file", "--webhook", "https://x.example"), ("--syslog", "nowhere")):
        assert builder("audit", "sink-add", f"{name}-x", *wrong).code == 2
