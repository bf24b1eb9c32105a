"""A push is recorded like a commit of the API: ledger, changelog, memory, alerts; nothing personal in any of it."""

import json
from pathlib import Path

import pytest
import yaml

from tests.support.databases import Databases
from tests.support.gitclients import Clone, run

from .conftest import Live, live_in_temp
from .test_roundtrip import merge


def read(live: Live, path: str) -> str | None:
    """A file at the tip of the branch."""
    reply = live.sandbox.post("/system/fetch_files", mode="batch", paths=[path])
    return reply["files"][0]["content"] if reply["files"] else None


def changelog(live: Live) -> list[dict[str, object]]:
    return yaml.safe_load(read(live, "project/changelog.yaml") or "[]")


def memory(live: Live) -> dict[str, dict[str, object]]:
    files = yaml.safe_load(read(live, "project/memory.yaml") or "files: []")["files"]
    return {entry["path"]: entry for entry in files}


def pushed(mine: Clone, **files: str | None) -> str:
    sha = mine.commit({name.replace("_", "."): text for name, text in files.items()}, f"Push {sorted(files)}")
    ran = mine.push()
    assert ran.ok, ran.err
    return sha


def test_the_servers_next_commit_writes_what_pushes_left(alone: Live) -> None:
    mine = alone.clone()
    first = pushed(mine, notes_md="one\n")
    second = pushed(mine, notes_md="two\n", b_txt="b\n")
    assert read(alone, "project/changelog.yaml") is None
    assert alone.rows("select pending from ops.branches where name = %s", mine.branch) == [(2,)]
    alone.sandbox.commit({"api.py": "print()\n"}, "From the API")
    entries = changelog(alone)
    assert [entry["message"] for entry in entries] == [
        "Push ['notes_md']",
        "Push ['b_txt', 'notes_md']",
        "From the API",
    ]
    assert [entry["tool"] for entry in entries[:2]] == ["git push", "git push"]
    assert [entry["commits"] for entry in entries[:2]] == [[first], [second]]
    assert entries[1]["paths"] == ["b.txt", "notes.md"]
    assert entries[1]["committed_by"] == alone.sandbox.branch
    assert entries[1]["source"] == "human"
    known = memory(alone)
    assert set(known) == {"notes.md", "b.txt", "api.py"}
    assert known["notes.md"]["source"] == "human"
    assert known["notes.md"]["sha"] == mine.must("rev-parse", f"{second}:notes.md")
    assert alone.rows("select pending from ops.branches where name = %s", mine.branch) == [(0,)]
    assert alone.rows("select count(*) from ops.pending_delivery") == [(0,)]
    mine.must("pull", "-q")
    assert pushed(mine, c_txt="c\n") == alone.tip()


def test_memory_forgets_a_file_that_a_push_deleted(live: Live) -> None:
    live.sandbox.commit({"gone.txt": "1\n", "stays.txt": "1\n"})
    mine = live.clone()
    pushed(mine, brief_txt="1\n")
    pushed(mine, gone_txt=None, brief_txt=None)
    live.sandbox.commit({"api.txt": "1\n"})
    assert set(memory(live)) == {"stays.txt", "api.txt"}


def test_a_promotion_takes_along_what_pushes_left(alone: Live) -> None:
    mine = alone.clone()
    pushed(mine, notes_md="one\n")
    promotion = alone.sandbox.post("/git/promote", target="main", mode="pr", title="Take it")
    merge(alone, promotion)
    mine.must("fetch", "-q")
    entries = yaml.safe_load(mine.must("show", "origin/main:project/changelog.yaml"))
    assert "Push ['notes_md']" in [entry["message"] for entry in entries]


def test_the_difference_shows_entries_that_are_still_to_be_written(live: Live) -> None:
    pushed(live.clone(), notes_md="one\n")
    delta = live.sandbox.post("/git/diff")["changelog_delta"]
    assert [entry["paths"] for entry in delta] == [["notes.md"]]


def test_the_ledger_names_every_commit_of_a_push_and_verifies(alone: Live) -> None:
    mine = alone.clone()
    before = mine.head
    shas = [mine.commit({"a.txt": f"{n}\n"}) for n in range(3)]
    assert mine.push().ok
    (line,) = alone.rows("select body from ops.ledger where type = 'push'")
    body = json.loads(line[0])
    assert body["object"] == shas[-1]
    assert body["door"] == "git"
    assert body["actor_name"] == mine.branch
    assert body["payload"]["old"] == before
    assert body["payload"]["commits"] == shas
    assert body["payload"]["paths"] == ["a.txt"]
    assert body["payload"]["stat"] == {"files": 1, "added": 1, "deleted": 0}
    assert body["rules"] == ["sandbox-own"]
    verdict = alone.world.as_owner("GET", "/v1/audit/verify").json()
    assert verdict["ok"] is True, verdict


def test_a_refused_push_leaves_no_entry(alone: Live) -> None:
    mine = alone.clone()
    mine.commit_entries([("100644", mine.blob("x\n"), "aux.txt")])
    assert not mine.push().ok
    assert alone.rows("select count(*) from ops.ledger where type = 'push'") == [(0,)]
    assert alone.rows("select count(*) from ops.pending_delivery") == [(0,)]


def test_a_human_edit_of_a_delivery_file_is_kept_as_it_is(live: Live) -> None:
    live.sandbox.commit({"a.txt": "1\n"})
    mine = live.clone()
    text = (
        (mine.folder / "project/memory.yaml")
        .read_text()
        .replace('"path"', '"description": "By hand", "path"')
    )
    mine.commit({"project/memory.yaml": text})
    assert mine.push().ok
    assert read(live, "project/memory.yaml") == text
    live.sandbox.commit({"b.txt": "1\n"})
    assert memory(live)["a.txt"]["description"] == "By hand"


def test_a_broken_delivery_file_is_let_in_and_raises_an_alert(alone: Live) -> None:
    alone.sandbox.commit({"a.txt": "1\n"})
    mine = alone.clone()
    mine.commit({"project/task.yaml": "tasks: [unclosed\n", "project/memory.yaml": "{{{\n"})
    ran = mine.push()
    assert ran.ok, ran.err
    assert "Some project files cannot be read now:" in ran.err
    assert "project/memory.yaml:" in ran.err
    assert "project/task.yaml:" in ran.err
    alerts = alone.world.as_owner("GET", "/v1/alerts").json()["items"]
    assert [(alert["rule"], alert["object"]) for alert in alerts] == [("memory_invalid", mine.branch)]
    alone.sandbox.commit({"b.txt": "1\n"})


def test_a_large_push_raises_an_alert(alone: Live) -> None:
    mine = alone.clone()
    pushed(mine, big_txt="line\n" * 401)
    alerts = alone.world.as_owner("GET", "/v1/alerts").json()["items"]
    assert [(alert["rule"], alert["detail"]["lines"]) for alert in alerts] == [("large_diff", 401)]


def test_large_files_count_whole_instead_of_being_compared(alone: Live) -> None:
    mine = alone.clone()
    pushed(mine, big_txt="".join(f"{n} {'x' * 60}\n" for n in range(5000)), small_txt="1\n2\n3\n")
    pushed(mine, big_txt="".join(f"{n} {'y' * 60}\n" for n in range(5001)), small_txt="1\n2\n4\n")
    bodies = [
        json.loads(row[0])
        for row in alone.rows("select body from ops.ledger where type = 'push' order by seq")
    ]
    assert [body["payload"]["stat"] for body in bodies] == [
        {"files": 2, "added": 5003, "deleted": 0},
        {"files": 2, "added": 5002, "deleted": 5001},
    ]


def test_nothing_of_the_pushers_identity_is_copied_out_of_git(alone: Live) -> None:
    mine = alone.clone()
    identity = {"GIT_AUTHOR_NAME": "Ada Person", "GIT_AUTHOR_EMAIL": "ada@people.example"}
    identity |= {"GIT_COMMITTER_NAME": "Ada Person", "GIT_COMMITTER_EMAIL": "ada@people.example"}
    mine.write("a.txt", "a\n")
    mine.must("add", "-A")
    mine.must("commit", "-q", "-m", "Add a", env=identity)
    ran = mine.push()
    assert not ran.ok
    assert "policy_denied" in ran.err
    assert f"git config user.name {mine.branch}" in ran.err
    mine.must("rebase", "-q", "@{upstream}", "--exec", "git commit -q --amend --no-edit --reset-author")
    ran = mine.push()
    assert ran.ok, ran.err
    alone.sandbox.commit({"b.txt": "b\n"})
    tables = alone.rows(
        "select c.relname from pg_class c where relnamespace = 'ops'::regnamespace and relkind = 'r'"
    )
    for (table,) in tables:
        dump = str(alone.rows(f"select t::text from ops.{table} t"))
        assert "Ada" not in dump, table
        assert "people.example" not in dump, table
    for path in ("project/changelog.yaml", "project/memory.yaml"):
        assert "Ada" not in (read(alone, path) or "")


@pytest.mark.parametrize("who", ["AUTHOR", "COMMITTER"])
def test_neither_author_nor_committer_may_be_a_person(live: Live, who: str) -> None:
    mine = live.clone()
    for number, (name, email) in enumerate(
        [
            ("Ada Person", "t@builderos.invalid"),
            ("t", "ada@people.example"),
            ("", "@builderos.invalid.example"),
        ]
    ):
        one = {f"GIT_{who}_NAME": name or "t", f"GIT_{who}_EMAIL": email}
        mine.must("commit", "-q", "--allow-empty", "-m", f"c{number}", env=one)
        assert "policy_denied" in mine.push().err
        mine.must("reset", "-q", "--hard", "HEAD~1")
    mine.must("commit", "-q", "--allow-empty", "-m", "pseudonym")
    assert mine.push().ok


def test_where_names_are_wanted_the_warning_about_them_comes_once(
    databases: Databases, tmp_path: Path
) -> None:
    with live_in_temp(databases, tmp_path, anonymous_names=True) as live:
        names_are_said_once(live.clone())


def names_are_said_once(mine: Clone) -> None:
    identity = {"GIT_AUTHOR_EMAIL": "ada@people.example", "GIT_COMMITTER_EMAIL": "ada@people.example"}
    mine.must("commit", "-q", "--allow-empty", "-m", "one", env=identity)
    assert "git config" in mine.push().err
    mine.must("commit", "-q", "--allow-empty", "-m", "two", env=identity)
    assert "git config" not in mine.push().err


def test_a_branch_that_follows_main_by_a_push_has_nothing_to_tell(alone: Live) -> None:
    mine = alone.clone()
    grown = alone.grow_main({"main.txt": "1\n"})
    mine.must("pull", "-q", "origin", "main")
    assert mine.head == grown
    ran = mine.push()
    assert ran.ok, ran.err
    assert "Brought main into branch" in ran.err
    assert alone.rows(
        "select tip, base_sha, commits, files, pending from ops.branches where name = %s", mine.branch
    ) == [(grown, grown, 0, 0, 0)]
    assert run("fsck", "--strict", cwd=alone.store()).ok


def test_no_push_rewrites_removes_or_invents_an_entry_of_the_changelog(live: Live) -> None:
    live.sandbox.commit({"a.txt": "1\n"}, "First")
    mine = live.clone()
    path = mine.folder / "project" / "changelog.yaml"
    real = path.read_text()
    forged = real + '- {"id": "chg_forged", "timestamp": "2026-01-01T00:00:00Z", "message": "by owner"}\n'
    for text in (forged, real.replace("First", "Second"), "[]\n", ": broken: ["):
        path.write_text(text)
        mine.commit({}, "Touch the log")
        refused = mine.push()
        assert not refused.ok
        assert "written by the server alone" in refused.err
        mine.must("reset", "-q", "--hard", "origin/HEAD")
