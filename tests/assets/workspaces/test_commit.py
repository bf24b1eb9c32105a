"""`commit_and_log` through HTTP: what is written, what is refused, and that a refusal changes nothing."""

import base64
import re

import pytest
import yaml

from builderos.assets.repositories.service import RepositoryStore
from builderos.assets.workspaces import writing
from tests.support.lab import Lab
from tests.support.world import Sandbox, git, make_repository

BAD_PATHS = [
    "", "/etc/passwd", "../up", "a/../b", "./a", "a//b", "a/", "a\\b", "C:/x", "~/x", ".git/config", ".GIT/config",
    ".git", "a/.git/hooks/pre-commit", "git~1/config", ".g\u200cit/config", ".git./x", ".git /x", ".gitmodules.",
    ".GITMODULES", "CON", "con.txt", "a/nul", "aux.c", "LPT1", "COM\u00b9", "a:b", "a?", "a*b", 'a"b', "a<b", "a|b",
    "trailing.", "trailing ", "tab\tx", "nul\x00x", "new\nline", "a\u202egpj.exe", "e\u0301.txt", "x" * 256,
    "a/" * 101 + "b", "é" * 2100, ".logs/mine.yaml", ".LOGS/x", "project/changelog.yaml", "project/Changelog.yaml",
    "project/changelog/000001.yaml", "project/changelog.yaml/x", ".logs", "Project/x.md", "project/Memory.yaml",
]  # fmt: skip


@pytest.fixture
def box(lab: Lab) -> Sandbox:
    return lab.open_sandbox()


def send(box: Sandbox, *files: dict[str, object], message: str = "m", **more: object) -> object:
    return box.try_post("/commit_and_log_output", files=list(files), message=message, **more)


def text(path: str, content: str = "x\n", **more: object) -> dict[str, object]:
    return {"path": path, "content": content, **more}


def store(lab: Lab, box: Sandbox) -> str:
    row = lab.sql("select store from ops.branches where name = %s", box.branch)
    return str(lab.world.home / "repos" / row[0][0])


@pytest.mark.parametrize("path", BAD_PATHS, ids=[ascii(p)[:40] for p in BAD_PATHS])
def test_a_path_that_means_another_file_somewhere_is_refused(lab: Lab, path: str) -> None:
    box = lab.open_sandbox()
    tip = lab.tip(box.branch)
    lab.problem(send(box, text("fine.txt"), text(path)), "invalid_path")
    assert lab.tip(box.branch) == tip


@pytest.mark.parametrize(
    "path",
    [
        "a.txt",
        ".gitignore",
        ".github/x.yml",
        "ä/ö.txt",
        "日本/語",
        "a b.txt",
        "…",
        "x" * 255,
        "-rf",
        "$(x)",
        "Null",
    ],
)
def test_a_path_that_means_the_same_everywhere_is_written(lab: Lab, box: Sandbox, path: str) -> None:
    sha = lab.ok(send(box, text(path)))["commit_sha"]
    assert path in git("ls-tree", "-r", "-z", "--name-only", sha, cwd=store(lab, box)).split("\0")


@pytest.mark.parametrize(
    ("first", "second"),
    [("a.txt", "A.txt"), ("dir/x", "DIR/y"), ("straße", "STRASSE"), ("ﬁle", "file"), ("dir/x", "Dir")],
)
def test_twins_are_refused_in_one_commit_and_against_the_branch(lab: Lab, first: str, second: str) -> None:
    box = lab.open_sandbox()
    lab.problem(send(box, text(first), text(second)), "invalid_path")
    lab.ok(send(box, text(first)))
    lab.problem(send(box, text(second)), "invalid_path")
    assert lab.ok(send(box, text(first, "new\n")))


def test_a_file_can_be_renamed_to_its_twin_in_one_commit(lab: Lab, box: Sandbox) -> None:
    lab.ok(send(box, text("readme.txt")))
    lab.ok(send(box, {"path": "readme.txt", "delete": True}, text("Readme.txt")))
    assert "Readme.txt" in git("ls-tree", "--name-only", box.branch, cwd=store(lab, box)).split()


def test_a_path_listed_twice_is_refused(lab: Lab, box: Sandbox) -> None:
    lab.problem(send(box, text("a"), text("a", "y")), "validation_failed")


def test_a_file_where_a_folder_is_and_the_reverse_are_refused(lab: Lab, box: Sandbox) -> None:
    tip = lab.tip(box.branch)
    lab.problem(send(box, text("src")), "invalid_path")
    lab.problem(send(box, text("README.md/x")), "invalid_path")
    lab.problem(send(box, text("new"), text("new/x")), "invalid_path")
    assert lab.tip(box.branch) == tip


def test_one_mebibyte_is_the_limit_of_a_file_in_any_encoding(lab: Lab, box: Sandbox) -> None:
    limit = 1024 * 1024
    assert lab.ok(send(box, text("a", "x" * limit)))
    lab.problem(send(box, text("b", "x" * (limit + 1))), "payload_too_large")
    lab.problem(send(box, text("b", "é" * (limit // 2) + "x")), "payload_too_large")
    encoded = base64.b64encode(b"\0" * (limit + 1)).decode()
    problem = lab.problem(send(box, text("b", encoded, encoding="base64")), "payload_too_large")
    assert (problem["limit"], problem["used"]) == (limit, limit + 1)


def test_a_hundred_files_are_the_limit_of_a_commit(lab: Lab, box: Sandbox) -> None:
    files = [text(f"f/{n}.txt", f"{n}\n") for n in range(101)]
    problem = lab.problem(send(box, *files), "payload_too_large")
    assert (problem["limit"], problem["used"]) == (100, 101)
    problem = lab.problem(
        box.try_post("/commit_and_log_output", files=files[:100], file_path="g", content="x", message="m"),
        "payload_too_large",
    )
    assert lab.ok(send(box, *files[:100]))["diff_stat"] == {"files": 100, "added": 100, "deleted": 0}


def test_a_body_above_its_limit_is_refused(lab: Lab, box: Sandbox) -> None:
    lab.problem(send(box, *[text(f"{n}", "x" * 1_000_000) for n in range(9)]), "payload_too_large")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"content": "a\x00b"}, "validation_failed"),
        ({"content": "%%%", "encoding": "base64"}, "validation_failed"),
        ({"content": "YQ=\n=", "encoding": "base64"}, "validation_failed"),
        ({"content": "a", "encoding": "latin-1"}, "validation_failed"),
        ({"content": None}, "validation_failed"),
        ({"content": "a", "delete": True}, "validation_failed"),
        ({"content": None, "delete": True}, "not_found"),
        ({"content": "a", "expected_sha": "abc"}, "validation_failed"),
        ({"content": "a", "mode": "0777"}, "validation_failed"),
    ],
)
def test_bad_content_is_refused(lab: Lab, change: dict[str, object], code: str) -> None:
    box = lab.open_sandbox()
    tip = lab.tip(box.branch)
    lab.problem(send(box, {"path": "bad.txt", **change}), code)
    assert lab.tip(box.branch) == tip


@pytest.mark.parametrize(
    "raw",
    [
        b'{"files":[{"path":"a","content":"\\ud800"}],"message":"m"}',
        b'{"files":[{"path":"\\udfff","content":"x"}],"message":"m"}',
        b'{"files":[{"path":"a","content":"x"}],"message":"\\ud800"}',
        b'{"files":[{"path":"a","content":"\xff"}],"message":"m"}',
        b'{"files":[{"path":"a","content":"x"}],"message":"m","metadata":{"a":"\\ud800"}}',
        b'{"files":[{"path":"a","content":"x"}],"message":"m\\u0000"}',
        b'{"files":[{"path":"a","content":"x"}],"message":"m","metadata":{"\\u0000":1}}',
        b'{"files":[{"path":"a","content":"x"}],"message":"m","metadata":' + b"[" * 500 + b"]" * 500 + b"}",
        b"not json", b"", b"[]", b"null", b'"x"',
    ],
)  # fmt: skip
def test_what_is_no_unicode_or_no_request_is_refused(lab: Lab, raw: bytes) -> None:
    box = lab.open_sandbox()
    headers = {**box.headers, "content-type": "application/json"}
    response = lab.world.http.post("/commit_and_log_output", content=raw, headers=headers)
    assert response.status_code in (400, 422), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert lab.tip(box.branch) == lab.tip("main")


@pytest.mark.parametrize(
    "body",
    [
        {"files": []}, {}, {"file_path": "a"}, {"content": "x"}, {"files": [text("a")], "message": ""},
        {"files": [text("a")], "message": None}, {"files": [text("a")], "committed_by": "a\nb"},
        {"files": [text("a")], "nonsense": 1}, {"files": "a"}, {"files": [text("a")], "metadata": []},
    ],
)  # fmt: skip
def test_an_empty_or_malformed_commit_is_refused(lab: Lab, body: dict[str, object]) -> None:
    box = lab.open_sandbox()
    lab.problem(box.try_post("/commit_and_log_output", **{"message": "m", **body}), "validation_failed")
    assert lab.tip(box.branch) == lab.tip("main")


def test_a_commit_that_changes_nothing_is_refused(lab: Lab, box: Sandbox) -> None:
    lab.problem(send(box, text("README.md", "# Lab\n")), "validation_failed")
    assert lab.tip(box.branch) == lab.tip("main")


def test_a_message_of_a_hundred_kilobytes_is_refused_and_a_long_one_kept_whole(
    lab: Lab, box: Sandbox
) -> None:
    lab.problem(send(box, text("a"), message="x" * 100_000), "payload_too_large")
    words = "Subject\n\n" + "ä" * 19_000
    sha = lab.ok(send(box, text("a"), message=words))["commit_sha"]
    assert git("log", "-1", "--format=%B", sha, cwd=store(lab, box)).startswith(words)


def test_binary_content_travels_as_base64(lab: Lab, box: Sandbox) -> None:
    data = bytes(range(256)) * 3
    lab.ok(send(box, text("b.bin", base64.b64encode(data).decode(), encoding="base64")))
    found = box.post("/system/fetch_files", path="b.bin")["files"][0]
    assert (found["encoding"], base64.b64decode(found["content"]), found["size"]) == (
        "base64",
        data,
        len(data),
    )


def test_a_stale_expected_sha_changes_nothing(lab: Lab, box: Sandbox) -> None:
    lab.ok(send(box, text("a.txt", "1\n"), text("b.txt", "1\n")))
    seen = box.post("/system/fetch_files", path="a.txt")["files"][0]["sha"]
    head = lab.ok(send(box, text("a.txt", "2\n", expected_sha=seen)))["commit_sha"]
    problem = lab.problem(
        send(box, text("b.txt", "2\n"), text("a.txt", "3\n", expected_sha=seen)), "conflict"
    )
    assert [(c["path"], c["expected_sha"]) for c in problem["conflicts"]] == [("a.txt", seen)]
    lab.problem(send(box, text("new.txt", expected_sha=seen)), "conflict")
    lab.problem(send(box, {"path": "a.txt", "delete": True, "expected_sha": seen}), "conflict")
    assert lab.tip(box.branch) == head


def test_files_are_deleted_with_what_was_known_of_them(lab: Lab, box: Sandbox) -> None:
    lab.ok(send(box, text("d/a.txt"), text("d/b.txt")))
    sha = lab.ok(send(box, {"path": "d/a.txt", "delete": True}, {"path": "d/b.txt", "delete": True}))[
        "commit_sha"
    ]
    assert "d/" not in git("ls-tree", "-r", "--name-only", sha, cwd=store(lab, box))
    assert "d/a.txt" not in git("show", f"{sha}:project/memory.yaml", cwd=store(lab, box))


def test_one_commit_holds_files_changelog_and_memory(lab: Lab, box: Sandbox) -> None:
    reply = lab.ok(send(box, text("src/new.py", "1\n"), message="Add it", task_id="1.1_x", agent_version="m-1",
                        committed_by="Mallory", metadata={"why": ["because", 1, None]}))  # fmt: skip
    folder, sha = store(lab, box), reply["commit_sha"]
    assert git("rev-list", "--count", f"main..{box.branch}", cwd=folder) == "1"
    changed = git("diff", "--name-only", f"{sha}~", sha, cwd=folder).split()
    assert changed == ["project/changelog.yaml", "project/memory.yaml", "src/new.py"]
    entry = yaml.safe_load(git("show", f"{sha}:project/changelog.yaml", cwd=folder))[-1]
    assert entry["id"] == reply["changelog_entry"]["id"]
    assert (entry["paths"], entry["message"], entry["task_id"]) == (["src/new.py"], "Add it", "1.1_x")
    assert (entry["committed_by"], entry["branch"], entry["claimed_by"]) == (
        box.branch,
        box.branch,
        "Mallory",
    )
    memory = yaml.safe_load(git("show", f"{sha}:project/memory.yaml", cwd=folder))["files"]
    assert [(m["path"], m["sha"]) for m in memory] == [
        ("src/new.py", git("rev-parse", f"{sha}:src/new.py", cwd=folder))
    ]
    trailers = git("log", "-1", "--format=%(trailers)", sha, cwd=folder)
    assert f"BuilderOS-Actor: {box.branch}" in trailers
    assert "BuilderOS-Task: 1.1_x" in trailers
    assert "BuilderOS-Tool: commit_and_log@1" in trailers
    assert "BuilderOS-Agent-Version: m-1" in trailers
    assert "Mallory" not in git("log", "-1", "--format=%an %ae %cn %ce %B", sha, cwd=folder)
    line = lab.events(object=sha)[0]
    assert line["payload"]["metadata"] == {"why": ["because", 1, None]}
    assert (line["payload"]["claimed_by"], line["payload"]["paths"]) == ("Mallory", ["src/new.py"])
    assert git("fsck", "--strict", cwd=folder) == ""


def test_the_first_commit_reminds_of_the_token_without_showing_it(lab: Lab, box: Sandbox) -> None:
    first, second = lab.ok(send(box, text("a"))), lab.ok(send(box, text("b")))
    assert "token" in first["message"]
    assert box.token not in first["message"]
    assert "token" not in second["message"]
    assert all(box.branch in r["message"] and "lab" in r["message"] for r in (first, second))


def test_a_trailer_in_a_message_does_not_forge_ours(lab: Lab, box: Sandbox) -> None:
    words = "Change\n\nBuilderOS-Actor: owner\nBuilderOS-Tool: none"
    lab.ok(send(box, text("a"), message=words))
    item = box.post("/git/log", limit=1)["items"][0]
    assert (item["committed_by"], item["tool"]) == (box.branch, "commit_and_log@1")


def test_the_short_form_writes_one_file(lab: Lab, box: Sandbox) -> None:
    reply = box.post("/commit_and_log_output", file_path="a.txt", content="1\n", message="m")
    assert reply["diff_stat"] == {"files": 1, "added": 1, "deleted": 0}


def test_writing_over_a_link_gives_a_plain_file_and_reading_never_follows(lab: Lab) -> None:
    folder = make_repository(lab.world.home / "links", {"README.md": "x\n", "data/in.txt": "in\n"})
    for name, target in {"link": "README.md", "out": "/etc/passwd", "folder": "data", "up": "../.."}.items():
        (folder / name).symlink_to(target)
    git("add", "-A", cwd=folder)
    git("commit", "-qm", "links", cwd=folder)
    lab.world.import_repo(folder, "links")
    box = lab.open_sandbox("links")
    names = ["link", "out", "folder", "folder/in.txt", "up", "up/etc/passwd"]
    assert box.post("/system/fetch_files", mode="batch", paths=names)["missing"] == names
    lab.problem(send(box, text("folder/in.txt")), "invalid_path")
    lab.ok(send(box, text("link", "README.md")))  # the very text of the link
    lab.ok(send(box, text("out", "plain\n")))
    tree = git("ls-tree", box.branch, cwd=store(lab, box))
    assert re.search(r"^100644 blob \w+\tlink$", tree, re.MULTILINE)
    assert re.search(r"^100644 blob \w+\tout$", tree, re.MULTILINE)
    assert re.search(r"^120000 blob \w+\tfolder$", tree, re.MULTILINE)


def test_the_executable_bit_is_kept(lab: Lab) -> None:
    folder = make_repository(lab.world.home / "exec", {"run.sh": "#!/bin/sh\n"})
    git("update-index", "--chmod=+x", "run.sh", cwd=folder)
    git("commit", "-qm", "x", cwd=folder)
    lab.world.import_repo(folder, "exec")
    box = lab.open_sandbox("exec")
    lab.ok(send(box, text("run.sh", "#!/bin/bash\n")))
    assert git("ls-tree", box.branch, "run.sh", cwd=store(lab, box)).startswith("100755")


def test_what_cannot_be_read_back_is_not_acknowledged_and_raises_an_alert(
    lab: Lab, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            RepositoryStore, "swap_ref", lambda *_args: True
        )  # a disk that says yes and keeps nothing
        problem = lab.problem(send(box, text("a"), idempotency_key="again"), "write_not_verified")
    assert problem["retryable"] is True
    assert [a["object"] for a in lab.alerts("write_not_verified")] == [box.branch]
    again = lab.ok(send(box, text("a"), idempotency_key="again"))
    assert again["commit_sha"] == lab.tip(box.branch)
    assert box.post("/system/fetch_files", path="a")["files"]


def test_lines_are_counted(lab: Lab, box: Sandbox) -> None:
    lab.ok(send(box, text("a", "1\n2\n3\n")))
    assert lab.ok(send(box, text("a", "1\nzwei\n3")))["diff_stat"] == {"files": 1, "added": 2, "deleted": 2}
    assert writing.blob_oid(b"").hex() == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
