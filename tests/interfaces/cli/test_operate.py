"""Looking after a server: repositories, workspaces, tasks, memory, numbers, ledger, alerts, the self-test."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.server import Server

from .conftest import Line


def test_repositories_are_imported_made_listed_and_shown(person: Line) -> None:
    name = person.json("repo", "import", str(person.folder), "--name", f"{person.folder.name}-a")["repo_name"]
    made = person.json("repo", "create", f"{person.folder.name}-b")["repo_name"]
    listed = {item["repo_name"] for item in person.json("repo", "list", "--limit", "200")["items"]}
    assert {name, made} <= listed
    assert "main" in person.ok("repo", "show", name)
    assert person.json("repo", "branch", name, "dev-next")["name"] == "dev-next"
    assert person("repo", "protect", name).code == 0
    assert person("repo", "show", "no-such-repo").code == 2


def test_a_workspace_is_listed_shown_shared_archived_and_renewed(builder: Line, stranger: Line) -> None:
    opened = builder.json("sandbox", "create")
    name = opened["branch"]
    assert name in builder.ok("sandbox", "list", "--limit", "200")
    assert builder.json("sandbox", "show", name, "--as", "owner")["branch"] == name
    shared = builder.json("sandbox", "share", name, "--as", "owner")
    looked = stranger("sandbox", "shared", "-", "--json", stdin=shared["share_token"])
    assert "README.md" in looked.json["files"]
    builder.ok("sandbox", "unshare", shared["share_id"], "--as", "owner")
    assert stranger("sandbox", "shared", "-", stdin=shared["share_token"]).code in (1, 3)
    builder.ok("sandbox", "archive", name, "--as", "owner")
    assert stranger("resume", "-", stdin=opened["reuse_token"]).code == 3
    builder.ok("sandbox", "token", "renew", name, "--as", "owner")
    assert stranger("resume", "-", stdin=opened["reuse_token"]).code == 0


def test_deleting_asks_first_and_keeps_a_backup(builder: Line) -> None:
    name = builder.json("sandbox", "create")["branch"]
    answer = builder("sandbox", "delete", name, "--as", "owner", stdin="n\n")
    assert answer.code == 130
    reply = builder.json("sandbox", "delete", name, "--as", "owner", "--yes")
    assert (reply["state"], bool(reply["backup_id"])) == ("deleted", True)


def test_the_news_of_main_come_into_a_workspace(builder: Line) -> None:
    other = builder.json("sandbox", "create")
    builder.write("news.txt", "new\n")
    builder.ok("commit", "news.txt", "-m", "News", "--token", other["reuse_token"])
    reply = builder("promote", "-t", "News", "--json", "--token", other["reuse_token"]).json
    builder.ok("approve", reply["approval_id"], "--as", "owner")
    if builder.json("pull", "show", reply["promotion_id"])["state"] == "open":
        builder.ok("pull", "merge", reply["promotion_id"])
    builder.ok("sandbox", "update")
    assert builder.ok("fetch", "news.txt") == "new\n"


def test_a_task_goes_from_the_backlog_to_done(builder: Line) -> None:
    builder.ok("sandbox", "scaffold", "Tasks")
    builder.ok(
        "task",
        "create",
        "2.1_parser",
        "--title",
        "Build parser",
        "--output",
        "src/parser.py",
        "--assign",
        "me",
    )
    builder.ok("task", "create", "2.2_docs", "--title", "Write docs", "--after", "2.1_parser")
    builder.ok("task", "activate", "2.1_parser")
    assert builder.json("task", "next", "--assign", "me")["task"]["id"] == "2.1_parser"
    builder.ok("task", "start", "2.1_parser")
    builder.ok("task", "log", "2.1_parser", "use a table", "--kind", "decision", "--tag", "design")
    early = builder("task", "complete", "2.1_parser", "--reasoning", "done", "--output", "src/parser.py")
    assert early.code == 1
    builder.write("src/parser.py", "x = 1\n")
    builder.ok("commit", "src/parser.py", "-m", "Parse", "--task", "2.1_parser")
    builder.ok("task", "complete", "2.1_parser", "--reasoning", "it parses", "--output", "src/parser.py")
    assert {t["id"]: t["status"] for t in builder.json("task", "list")["items"]}["2.1_parser"] == "done"
    assert "2.1_parser" in builder.ok("task", "graph")
    assert "use a table" in builder.ok("task", "show", "2.1_parser")
    builder.ok(
        "task", "handoff", "2.2_docs", "--to", "writer", "--reason", "your turn", "--file", "src/parser.py"
    )
    assert "your turn" in builder.ok("task", "handoff", "2.2_docs")
    builder.ok("task", "reopen", "2.1_parser", "--reason", "a bug")
    builder.ok("task", "block", "2.1_parser", "--reason", "waiting")
    builder.ok("task", "clone", "2.1_parser", "2.3_parser")
    assert builder("task", "reopen", "2.3_parser").code == 1


def test_the_memory_is_searched_and_kept(builder: Line) -> None:
    builder.write("src/table.py", "y = 2\n")
    builder.ok("commit", "src/table.py", "-m", "Tables")
    builder.ok("memory", "update", "src/table.py", "-d", "Reads tables of numbers", "--tag", "numbers")
    assert "src/table.py" in builder.ok("memory", "search", "numbers")
    assert "src/table.py" in builder.ok("memory", "list", "--tag", "numbers")
    assert builder.json("memory", "stats")["stats"]["files"] >= 1
    builder.ok("memory", "pin", "src/table.py")
    builder.ok("memory", "unpin", "src/table.py")
    builder.ok("memory", "index")
    builder.ok("memory", "diff")
    assert builder("memory", "validate").code == 0
    builder.ok("memory", "add", "README.md", "-d", "Start here")
    builder.ok("memory", "remove", "README.md")


def test_numbers_and_their_trace(builder: Line, tmp_path: Path) -> None:
    builder.write("a.txt", "a")
    builder.ok("commit", "a.txt", "-m", "Count me")
    assert builder.json("metrics")["commits"] == 1
    assert "commits" in builder.ok("metrics")
    assert "Count me" in builder.ok("metrics", "--export", "csv")
    builder.ok("metrics", "--export", "zip", "-o", str(tmp_path / "trace.zip"))
    assert (tmp_path / "trace.zip").read_bytes()[:2] == b"PK"
    assert builder("metrics", "--export", "zip", "--json").code == 2


def test_the_ledger_is_listed_and_verified(builder: Line) -> None:
    builder.write("a.txt", "a")
    sha = builder.json("commit", "a.txt", "-m", "Recorded")["commit_sha"]
    events = builder.json("audit", "list", "--limit", "200")["items"]
    assert any(sha in json.dumps(event) for event in events)
    assert builder.json("audit", "list", "--type", events[0]["type"])["items"][0]["type"] == events[0]["type"]
    assert "as they were written" in builder.ok("audit", "verify")


def test_an_export_verifies_without_a_server_and_a_changed_byte_is_named(
    builder: Line, tmp_path: Path
) -> None:
    file = tmp_path / "export.jsonl"
    builder.ok("audit", "export", "-o", str(file))
    nowhere = {"BUILDEROS_HOME": str(tmp_path / "nothing"), "BUILDEROS_URL": "http://127.0.0.1:1"}
    verdict = builder.json("audit", "verify", "--file", str(file), **nowhere)
    assert verdict["ok"]
    assert builder.json(
        "audit", "verify", "--file", str(file), "--public-key", verdict["signed_by"], **nowhere
    )["ok"]
    rows = file.read_text().splitlines()
    rows[2] = (
        rows[2].replace("2026", "2025", 1) if "2026" in rows[2] else rows[2].replace("created", "creatxd", 1)
    )
    file.write_text("\n".join(rows) + "\n")
    answer = builder("audit", "verify", "--file", str(file), **nowhere)
    assert answer.code == 1
    assert "Line 3" in answer.out
    assert not (tmp_path / "nothing").exists()


def test_a_checkpoint_a_proof_and_the_printed_script_fit_together(builder: Line, tmp_path: Path) -> None:
    noted, proof, export = tmp_path / "noted.txt", tmp_path / "proof.json", tmp_path / "export.jsonl"
    made = builder.json("audit", "checkpoint", "--make", "-o", str(noted))
    assert noted.read_text() == made["note"]
    assert f"{made['size']} lines are signed" in builder.ok("audit", "checkpoint")
    assert "line 3" in builder.ok("audit", "proof", "3", "-o", str(proof)).lower()
    builder.ok("audit", "export", "-o", str(export))
    script = tmp_path / "verify_audit.py"
    script.write_text(builder.ok("audit", "script", BUILDEROS_URL="http://127.0.0.1:1"))
    for args in (
        (str(export), "--checkpoint", str(noted)),
        ("--proof", str(proof), "--checkpoint", str(noted)),
    ):
        done = subprocess.run(
            [sys.executable, "-I", str(script), *args, "--key", made["public_key"]], capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
    assert builder("audit", "proof", "999999999").code != 0
    assert builder("audit", "checkpoint", "-o", str(tmp_path)).code != 0


def test_a_line_tells_its_story(builder: Line) -> None:
    builder.write("src/told.py", "a = 1\nb = 2\n")
    sha = builder.json("commit", "src/told.py", "-m", "Tell me")["commit_sha"]
    told = builder.ok("why", "src/told.py:2")
    assert told.startswith("src/told.py:2  b = 2\n")
    assert f'Commit {sha[:10]} "Tell me" wrote it.' in told
    assert builder.json("why", "src/told.py:2")["commit"]["sha"] == sha
    assert f"commit:{sha}" in builder.ok("provenance", sha)
    assert (
        json.loads(builder.ok("provenance", sha, "--attest"))["payloadType"] == "application/vnd.in-toto+json"
    )
    assert builder("why", "src/told.py").code == 2
    assert builder("why", "src/told.py:9").code == 2
    assert builder("provenance", "0" * 40).code == 1


def test_a_head_that_somebody_else_signed_is_refused(builder: Line, tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    builder.ok("audit", "export", "-o", str(file))
    answer = builder("audit", "verify", "--file", str(file), "--public-key", "A" * 43 + "=")
    assert (answer.code, "another key" in answer.out) == (1, True)
    rows = file.read_text().splitlines()
    head = json.loads(rows[-1])
    head["head"]["at"] = "2020-01-01T00:00:00Z"
    file.write_text("\n".join([*rows[:-1], json.dumps(head)]) + "\n")
    answer = builder("audit", "verify", "--file", str(file))
    assert (answer.code, "signature" in answer.out) == (1, True)


def test_the_ledger_is_exported_as_csv(builder: Line) -> None:
    assert builder.ok("audit", "export", "--format", "csv").startswith("seq,")
    assert builder("audit", "export", "--json").code == 2
    assert builder("audit", "verify", "--file", "/nowhere").code == 2


def test_alerts_are_listed_and_acknowledged(builder: Line) -> None:
    builder.write("long.txt", "line\n" * 500)
    builder.ok("commit", "long.txt", "-m", "Long")
    listed = builder.json("alert", "list", "--rule", "large_diff", "--state", "open")["items"]
    assert listed
    assert "large_diff" in builder.ok("alert", "list")
    assert builder.json("alert", "ack", listed[0]["id"])["state"] == "acked"
    assert builder.json("alert", "ack", listed[0]["id"], "--resolve")["state"] == "resolved"


def test_tools_lists_what_the_caller_may_use(builder: Line) -> None:
    names = {tool["name"] for tool in builder.json("tools")["tools"]}
    assert {"commit_and_log", "fetchFiles", "initProject", "listActions"} <= names
    assert "commit_and_log" in builder.ok("tools")


def test_the_self_test_keeps_every_promise_and_leaves_no_workspace(builder: Line) -> None:
    before = {item["id"] for item in active(builder)}
    reply = builder.json("selftest", "sandbox", "-r", builder.folder.name)
    assert [check["name"] for check in reply["checks"]] == [
        "isolation",
        "reuse",
        "rollback",
        "backup",
        "memory",
    ]
    assert reply["ok"]
    assert {item["id"] for item in active(builder)} == before


def test_the_self_test_makes_a_repository_of_its_own_once(person: Line) -> None:
    assert "ok     isolation" in person.ok("selftest", "sandbox")
    assert person("selftest", "sandbox").code == 0


def active(line: Line) -> list[dict[str, str]]:
    return line.json("sandbox", "list", "--state", "active", "--limit", "200", "--as", "owner")["items"]


def test_a_promise_that_is_not_kept_fails_the_self_test(builder: Line, running_server: Server) -> None:
    """Against a server in between that answers every read of files with what it wants."""
    from .meddler import meddling

    with meddling(running_server.url) as url:
        answer = builder("selftest", "sandbox", "-r", builder.folder.name, "--json", BUILDEROS_URL=url,
                         BUILDEROS_TOKEN=running_server.owner_token)  # fmt: skip
    assert answer.code == 1
    failed = {check["name"] for check in answer.json["checks"] if not check["ok"]}
    assert {"rollback", "backup", "isolation"} <= failed
