"""Bring repositories in, through HTTP: which sources are let in, and what becomes of unusual ones."""

import os
import socket
import subprocess
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from builderos.assets.repositories import imports
from tests.support.lab import Lab
from tests.support.world import GIT_ENV, Json, git, make_repository


def bring(lab: Lab, source: object, **body: object) -> object:
    return lab.as_owner("POST", "/v1/repos/import", json={"source": str(source), **body})


def count(lab: Lab) -> int:
    return lab.sql("select count(*) from ops.repositories")[0][0]


def store(lab: Lab, repo: Json) -> Path:
    row = lab.sql("select store from ops.branches where repo_id = %s and kind = 'main'", repo["id"])
    return lab.world.home / "repos" / row[0][0]


@pytest.mark.parametrize(
    "source",
    [
        "ext::sh -c touch% /tmp/pwned", "-uhttps://x/y", "--upload-pack=touch /tmp/pwned", "-oProxyCommand=x", "fd::17",
        "https://user:secret@example.com/x.git", "https://ghp_token@example.com/x.git", "ssh://-oProxyCommand=x/y",
        "ssh://-x/y", "ftp://example.com/x", "javascript:alert(1)", "relative/path", "../up", "~/x", "", " ", "https://",
        "https:///x", "https://[x/y", "http://[::1", "git@", "a\nb", "a\x00b", "transport::x",
        "-x@host:y", "\\\\host\\x",
    ],
)  # fmt: skip
def test_what_git_could_take_for_something_else_is_refused(lab: Lab, source: str) -> None:
    before = count(lab)
    problem = lab.problem(bring(lab, source, name="bad"), "validation_failed")
    assert "secret" not in str(problem)
    assert count(lab) == before
    assert not Path("/tmp/pwned").exists()


def test_paths_and_file_urls_are_for_the_local_owner_alone(lab: Lab, tmp_path: Path) -> None:
    source = make_repository(tmp_path / "own")
    admin, box = lab.key("read", "write", "admin"), lab.open_sandbox()
    for address in (str(source), f"file://{source}"):
        body = {"source": address, "name": "mine"}
        for headers, code in ((admin, "policy_denied"), (box.headers, "not_found")):
            response = lab.world.http.post("/v1/repos/import", json=body, headers=headers)
            lab.problem(response, code)
        lab.problem(lab.world.http.post("/v1/repos/import", json=body), "unauthenticated")
    assert lab.ok(bring(lab, f"file://{source}", name="by-url"), 201)["branch"] == "main"


def test_a_source_that_does_not_answer_says_so_and_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    before, folders = count(lab), sorted((lab.world.home / "repos").rglob("*.git"))
    lab.problem(bring(lab, "http://127.0.0.1:9/x.git", name="dead"), "upstream_failed")
    lab.problem(bring(lab, tmp_path / "nowhere", name="dead"), "validation_failed")
    (tmp_path / "plain").mkdir()
    lab.problem(bring(lab, tmp_path / "plain", name="dead"), "validation_failed")
    assert count(lab) == before
    assert sorted((lab.world.home / "repos").rglob("*.git")) == folders
    assert not list((lab.world.home / "repos").glob(".import-*"))


def test_a_repository_without_commits_is_refused(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    git("init", "-q", ".", cwd=tmp_path / "empty")
    assert "no commits" in lab.problem(bring(lab, tmp_path / "empty"), "validation_failed")["detail"]


def test_a_repository_with_only_master_is_called_main_here(lab: Lab, tmp_path: Path) -> None:
    source = make_repository(tmp_path / "old", branch="master")
    repo = lab.ok(bring(lab, source, name="old"), 201)
    assert (repo["branch"], repo["head_sha"]) == ("main", git("rev-parse", "master", cwd=source))
    assert "master" in repo["message"]
    assert git("for-each-ref", "--format=%(refname)", cwd=store(lab, repo)) == "refs/heads/main"
    assert lab.open_sandbox("old").commit({"a": "1"})


def test_branches_that_look_like_ours_do_not_collide(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from builderos.assets.workspaces import sandboxes

    source = make_repository(tmp_path / "taken")
    for name in ("sandbox-golden-otter", "sandbox", "backup"):
        git("branch", name, cwd=source)
    lab.ok(bring(lab, source, name="taken"), 201)
    drawn = ["sandbox-golden-otter", "sandbox-second-choice"]
    monkeypatch.setattr(sandboxes, "draw", lambda attempt: drawn[min(attempt, len(drawn) - 1)])
    assert lab.open_sandbox("taken").branch == "sandbox-second-choice"


def test_the_branch_that_head_names_is_taken_unless_another_is_named(lab: Lab, tmp_path: Path) -> None:
    source = make_repository(tmp_path / "many", {"a": "trunk\n"}, branch="trunk")
    git("checkout", "-q", "-b", "next", cwd=source)
    (source / "a").write_text("next\n")
    git("commit", "-qam", "next", cwd=source)
    git("checkout", "-q", "trunk", cwd=source)
    first = lab.ok(bring(lab, source, name="trunk"), 201)
    second = lab.ok(bring(lab, source, name="next", branch="next"), 201)
    assert first["head_sha"] == git("rev-parse", "trunk", cwd=source)
    assert second["head_sha"] == git("rev-parse", "next", cwd=source)
    for branch in ("none", "-x", "next^", "*", "refs/heads/next"):
        lab.problem(bring(lab, source, name="bad", branch=branch), "validation_failed")


def test_an_unborn_head_falls_back_to_the_branches_there_are(lab: Lab, tmp_path: Path) -> None:
    source = make_repository(tmp_path / "unborn", branch="work")
    git("symbolic-ref", "HEAD", "refs/heads/nothing-yet", cwd=source)
    assert lab.ok(bring(lab, source, name="one-branch"), 201)["head_sha"] == git(
        "rev-parse", "work", cwd=source
    )
    git("branch", "other", "work", cwd=source)
    problem = lab.problem(bring(lab, source, name="two-branches"), "validation_failed")
    assert "work" in problem["hint"]
    git("branch", "main", "work", cwd=source)
    lab.ok(bring(lab, source, name="with-main"), 201)


def test_submodules_and_lfs_pointers_are_kept_as_they_are(lab: Lab, tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 12345\n"
    modules = '[submodule "lib"]\n\tpath = lib\n\turl = https://example.com/lib.git\n'
    source = make_repository(
        tmp_path / "special",
        {
            "big.bin": pointer,
            ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
            ".gitmodules": modules,
        },
    )
    git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},lib", cwd=source)
    git("commit", "-qm", "lib", cwd=source)
    lab.ok(bring(lab, source, name="special"), 201)
    box = lab.open_sandbox("special")
    assert box.post("/system/fetch_files", path="big.bin")["files"][0]["content"] == pointer
    assert box.post("/system/fetch_files", path="lib")["missing"] == ["lib"]
    response = box.try_post("/commit_and_log_output", file_path="lib/x", content="x", message="m")
    lab.problem(response, "invalid_path")
    first = box.commit({"a.txt": "1\n"})["commit_sha"]
    box.post("/git/rollback_commit", commit_sha=first, reason="r")
    box.commit({"b.txt": "1\n"})
    assert box.post("/git/promote", title="t")["approval_id"]
    folder = (
        lab.world.home / "repos" / lab.sql("select store from ops.branches where name = %s", box.branch)[0][0]
    )
    assert git("ls-tree", box.branch, "lib", cwd=folder).startswith("160000 commit")


def test_a_name_is_taken_once_and_made_from_the_source(lab: Lab, tmp_path: Path) -> None:
    source = make_repository(tmp_path / "Nice Name!")
    assert lab.ok(bring(lab, source), 201)["repo_name"] == "Nice-Name"
    before = count(lab)
    lab.problem(bring(lab, source), "conflict")
    lab.problem(bring(lab, source, name="lab"), "conflict")
    assert lab.ok(bring(lab, source, name="lab", owner="another"), 201)["repo_owner"] == "another"
    for name in ("", "a/b", "..", ".hidden", "-x", "a b", "x" * 101, "a\n"):
        lab.problem(bring(lab, source, name=name), "validation_failed")
    assert count(lab) == before + 1
    lab.problem(lab.as_owner("POST", "/v1/repos", json={"name": "lab"}), "conflict")


def test_a_shallow_clone_is_refused(lab: Lab, tmp_path: Path) -> None:
    source = make_repository(tmp_path / "deep")
    git("commit", "-q", "--allow-empty", "-m", "second", cwd=source)
    git("clone", "-q", "--depth", "1", f"file://{source}", str(tmp_path / "shallow"))
    before = count(lab)
    lab.problem(bring(lab, tmp_path / "shallow", name="shallow"), "validation_failed")
    assert count(lab) == before
    assert not list((lab.world.home / "repos").glob(".import-*"))


def test_no_hook_or_configuration_of_the_source_comes_along(lab: Lab, tmp_path: Path) -> None:
    source, mark = make_repository(tmp_path / "hooked"), tmp_path / "ran"
    for name in ("post-checkout", "reference-transaction", "pre-receive", "update"):
        hook = source / ".git/hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
        hook.chmod(0o755)
    git("config", "uploadpack.packObjectsHook", f"touch {mark}", cwd=source)
    git("config", "core.fsmonitor", f"touch {mark}", cwd=source)
    repo = lab.ok(bring(lab, source, name="hooked"), 201)
    lab.open_sandbox("hooked").commit({"a": "1"})
    assert not mark.exists()
    assert not (store(lab, repo) / "hooks").exists()


def test_tags_and_other_branches_stay_behind(lab: Lab, tmp_path: Path) -> None:
    source = make_repository(tmp_path / "tagged")
    git("checkout", "-q", "-b", "private", cwd=source)
    git("commit", "-q", "--allow-empty", "-m", "private", cwd=source)
    secret = git("rev-parse", "HEAD", cwd=source)
    git("tag", "v1", cwd=source)
    git("checkout", "-q", "main", cwd=source)
    repo = lab.ok(bring(lab, source, name="tagged"), 201)
    assert git("for-each-ref", "--format=%(refname)", cwd=store(lab, repo)) == "refs/heads/main"
    found = subprocess.run(["git", "cat-file", "-e", secret], cwd=store(lab, repo), env=GIT_ENV, check=False)
    assert found.returncode != 0


def test_a_hundred_megabytes_of_history_are_imported_and_built_upon(lab: Lab, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.mkdir()
    git("init", "-q", "-b", "main", ".", cwd=source)
    git("config", "core.compression", "0", cwd=source)
    stream = bytearray()
    for number in range(1, 101):
        noise = os.urandom(1_000_000)
        stream += b"commit refs/heads/main\ncommitter t <t@example.com> %d +0000\ndata 1\nx\n" % (
            1_700_000_000 + number
        )
        stream += b"M 644 inline noise-%d.bin\ndata %d\n" % (number % 7, len(noise)) + noise + b"\n"
    git("fast-import", "--quiet", cwd=source, stdin=bytes(stream))
    repo = lab.ok(bring(lab, source, name="large"), 201)
    assert repo["head_sha"] == git("rev-parse", "main", cwd=source)
    size = sum(f.stat().st_size for f in (store(lab, repo) / "objects").rglob("*") if f.is_file())
    assert size > 95_000_000
    box = lab.open_sandbox("large")
    box.commit({"a": "1"})
    assert len(box.post("/git/log", limit=200)["items"]) == 101
    folder = (
        lab.world.home / "repos" / lab.sql("select store from ops.branches where name = %s", box.branch)[0][0]
    )
    assert sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) < 100_000


def test_a_reftable_repository_is_imported(lab: Lab, tmp_path: Path) -> None:
    made = subprocess.run(
        ["git", "init", "-q", "--ref-format=reftable", str(tmp_path / "table")],
        env=GIT_ENV,
        check=False,
        capture_output=True,
    )
    if made.returncode != 0:
        pytest.skip("this git cannot make reftable repositories (2.45 and newer can)")
    git("commit", "-q", "--allow-empty", "-m", "x", cwd=tmp_path / "table")
    lab.ok(bring(lab, tmp_path / "table", name="table"), 201)
    assert lab.open_sandbox("table").commit({"a": "1"})


@pytest.mark.parametrize(
    "source",
    [
        "http://127.0.0.1:1/x.git",
        "https://localhost/x.git",
        "http://169.254.169.254/x",
        "ssh://localhost/x.git",
    ],
)
def test_a_key_imports_only_from_public_web_addresses(lab: Lab, source: str) -> None:
    key = lab.key("admin", "write")
    said = lab.world.http.post("/v1/repos/import", json={"source": source, "name": "inside"}, headers=key)
    lab.problem(said, "validation_failed")


def asked_of_git(lab: Lab, source: str, address: str = "93.184.215.14") -> tuple[Any, list[list[str]]]:
    """What becomes of a source whose host is found to be public; git is not really sent there."""
    asked: list[list[str]] = []

    def run(args: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        asked.append(args)
        return subprocess.CompletedProcess(args, 128, b"", b"fatal: nobody there")

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]
    body, key = {"source": source, "name": "outside"}, lab.key("admin", "write")
    with (
        mock.patch.object(imports, "run_git", run),
        mock.patch("builderos.core.dialing.socket.getaddrinfo", return_value=found),
    ):
        return lab.world.http.post("/v1/repos/import", json=body, headers=key), asked


@pytest.mark.parametrize(
    "source",
    [
        "http://fa\u00df.example.com:8998/x", "http://\u212aey.example.com/x", "http://a\u3002example.com/x",
        "http://a%2eexample.com/x", "http://%31%32%37.0.0.1/x", "http://[2606:4700::1%25lo]/x", "http://a.example.com./x",
        "http://127.1/x", "http://0x7f000001/x", "http://2130706433/x", "http://a..example.com/x",
        "http://[2606:4700::1]a.example.com/x", "http://a.example.com\\b.example.com/x", " http://a.example.com/x",
        "http://a.example.com/x y", "http://a.example.com:99999/x", "http://a_.-example.com/x",
    ],
)  # fmt: skip
def test_a_key_names_no_host_that_git_could_read_as_another_than_was_checked(lab: Lab, source: str) -> None:
    said, asked = asked_of_git(lab, source)
    problem = lab.problem(said, "validation_failed")
    assert asked == []
    assert "xn--" in problem["hint"] or "https://" in problem["hint"]


@pytest.mark.parametrize(
    ("source", "pin"),
    [
        ("https://GIT.Example.COM/x", "git.example.com:443:93.184.215.14"),
        ("http://xn--fa-hia.example.com:8998/x", "xn--fa-hia.example.com:8998:93.184.215.14"),
        ("http://93.184.215.14:0/x", "93.184.215.14:0:93.184.215.14"),
        ("https://[2606:4700::1111]:8443/x", None),
    ],
)
def test_git_is_pinned_to_the_address_that_was_checked(lab: Lab, source: str, pin: str | None) -> None:
    said, asked = asked_of_git(lab, source)
    lab.problem(said, "upstream_failed")
    pinned = [arg for arg in asked[0] if arg.startswith("http.curloptResolve=")]
    assert pinned == ([f"http.curloptResolve={pin}"] if pin else [])
    assert "http.followRedirects=false" in asked[0]
