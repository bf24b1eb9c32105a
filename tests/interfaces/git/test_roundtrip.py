"""Real git clients work with a sandbox as with any other remote."""

import base64
import gzip
import random
import shutil

import httpx
import pytest

from tests.support.gitclients import Clone, address, pkt, raw, raw_push, run, run_bytes
from tests.support.world import git

from .conftest import Live


@pytest.mark.parametrize("version", ["0", "1", "2"])
def test_clone_commit_push_and_pull_work_in_every_protocol_version(live: Live, version: str) -> None:
    mine = live.clone("mine", "-c", f"protocol.version={version}")
    assert mine.must("branch", "--show-current") == live.sandbox.branch
    sha = mine.commit({"notes.txt": "hello\n"}, "Add notes")
    pushed = mine.push()
    assert pushed.ok, pushed.err
    assert live.tip() == sha
    assert f"Saved 1 commit to branch {live.sandbox.branch} of lab" in pushed.err
    api = live.sandbox.commit({"api.txt": "from the API\n"})["commit_sha"]
    mine.must("pull", "-q")
    assert mine.head == api
    assert (mine.folder / "api.txt").read_text() == "from the API\n"
    assert (mine.folder / "notes.txt").read_text() == "hello\n"


def test_two_pushes_in_a_row_need_no_pull(live: Live) -> None:
    mine = live.clone()
    for number in range(3):
        sha = mine.commit({"a.txt": f"{number}\n"}, f"Change {number}")
        pushed = mine.push()
        assert pushed.ok, pushed.err
        assert live.tip() == sha


def test_a_push_with_nothing_new_is_fine(live: Live) -> None:
    mine = live.clone()
    assert mine.push().ok
    mine.commit({"a.txt": "1\n"})
    assert mine.push().ok
    again = mine.push()
    assert again.ok
    assert "Everything up-to-date" in again.err


def test_ls_remote_shows_the_own_branch_and_main_however_many_sandboxes_there_are(live: Live) -> None:
    for _ in range(3):
        live.world.open_sandbox()
    listed = run("ls-remote", "--heads", address(live.url, live.sandbox.token))
    assert listed.ok, listed.err
    refs = [line.split("\t")[1] for line in listed.out.splitlines()]
    assert sorted(refs) == sorted([f"refs/heads/{live.sandbox.branch}", "refs/heads/main"])


def test_the_push_advertisement_shows_the_same_two_refs_and_no_more(live: Live) -> None:
    reply = httpx.get(
        f"{live.url}/git/lab.git/info/refs?service=git-receive-pack", auth=("x", live.sandbox.token)
    )
    assert reply.headers["content-type"] == "application/x-git-receive-pack-advertisement"
    assert [part.split("\0")[0].split(" ")[-1].strip() for part in reply.text.split("refs/")[1:]] == [
        f"heads/{live.sandbox.branch}",
        "heads/main\n0000".strip(),
    ]
    assert "no-thin" in reply.text
    assert "delete-refs" not in reply.text


def test_a_fetch_sees_main_as_it_is_now(alone: Live) -> None:
    mine = alone.clone()
    before = mine.must("rev-parse", "origin/main")
    other = alone.world.open_sandbox()
    other.commit({"merged.txt": "1\n"})
    pull = other.post("/git/promote", target="main", mode="pr", title="Merge it")
    merge(alone, pull)
    mine.must("fetch", "-q")
    assert mine.must("rev-parse", "origin/main") != before
    assert mine.must("show", "origin/main:merged.txt") == "1"


def merge(live: Live, pull: dict[str, str]) -> None:
    """The owner approves a promotion, which merges it."""
    approval = live.world.as_owner("GET", "/v1/approvals").json()["items"][0]["id"]
    verdict = live.world.as_owner("POST", f"/v1/approvals/{approval}", json={"decision": "approve"})
    assert verdict.status_code == 200, verdict.text
    live.world.as_owner("POST", f"/v1/pulls/{pull['promotion_id']}/merge", json={})


@pytest.mark.parametrize("version", ["0", "2"])
def test_a_shallow_clone_can_be_pushed_from_and_deepened(live: Live, version: str) -> None:
    for number in range(3):
        live.sandbox.commit({"a.txt": f"{number}\n"})
    mine = live.clone("shallow", "--depth", "1", "-c", f"protocol.version={version}")
    assert mine.must("rev-list", "--count", "HEAD") == "1"
    sha = mine.commit({"b.txt": "b\n"})
    pushed = mine.push()
    assert pushed.ok, pushed.err
    assert live.tip() == sha
    mine.must("fetch", "-q", "--unshallow")
    assert mine.must("rev-list", "--count", "HEAD") == "5"


@pytest.mark.parametrize("version", ["0", "2"])
def test_a_full_checkout_from_a_blobless_clone_works(live: Live, version: str) -> None:
    live.sandbox.commit({f"src/{n}.py": f"print({n})\n" for n in range(30)})
    mine = live.clone("partial", "--filter=blob:none", "-c", f"protocol.version={version}")
    assert (mine.folder / "src/29.py").read_text() == "print(29)\n"
    absent = live.clone("bare", "--filter=blob:none", "--no-checkout", "-c", f"protocol.version={version}")
    assert "?" in absent.must("rev-list", "--objects", "--all", "--missing=print")
    absent.must("checkout", "-q", live.sandbox.branch)
    assert (absent.folder / "src/0.py").read_text() == "print(0)\n"
    sha = absent.commit({"src/0.py": "print('new')\n"})
    pushed = absent.push()
    assert pushed.ok, pushed.err
    assert live.tip() == sha


def test_a_treeless_clone_works(live: Live) -> None:
    live.sandbox.commit({"deep/er/a.txt": "a\n"})
    mine = live.clone("treeless", "--filter=tree:0")
    assert (mine.folder / "deep/er/a.txt").read_text() == "a\n"
    assert mine.must("log", "--oneline", "--", "deep/er/a.txt")


def test_a_filter_that_reads_an_object_is_refused(live: Live) -> None:
    ran = run(
        "clone", "-q", "--no-checkout", "--filter=sparse:oid=refs/heads/main:README.md",
        address(live.url, live.sandbox.token), str(live.desk / "sparse"),
    )  # fmt: skip
    assert not ran.ok
    assert "filter 'sparse:oid' not supported" in ran.err


def test_a_file_that_returns_from_history_is_pushed_whatever_the_client_sends(live: Live) -> None:
    mine = live.clone()
    mine.commit({"a.txt": "first\n", "b.txt": "b\n"})
    old_blob = mine.must("rev-parse", "HEAD:a.txt")
    mine.commit({"a.txt": "second\n"})
    assert mine.push().ok
    sha = mine.commit({"a.txt": "first\n"})
    # Some clients know that the server has the old file somewhere in the history, and leave it out.
    objects = [line.split()[0] for line in mine.must("rev-list", "--objects", "HEAD", "^HEAD~").splitlines()]
    assert old_blob in objects
    listed = "\n".join(o for o in objects if o != old_blob) + "\n"
    pack = run_bytes("pack-objects", "--stdout", "-q", cwd=mine.folder, stdin=listed.encode()).stdout
    told = raw_push(
        live.url,
        live.sandbox.token,
        [(mine.must("rev-parse", "HEAD~"), sha, f"refs/heads/{mine.branch}")],
        pack,
    )
    assert f"ok refs/heads/{mine.branch}" in told
    assert live.tip() == sha


def test_objects_that_the_branch_does_not_need_stay_out_of_the_store(live: Live) -> None:
    mine = live.clone()
    sha = mine.commit({"a.txt": "a\n"})
    junk = mine.blob("nobody refers to this\n")
    listed = mine.must("rev-list", "--objects", "--no-object-names", "HEAD", "^HEAD~") + f"\n{junk}\n"
    pack = run_bytes("pack-objects", "--stdout", "-q", cwd=mine.folder, stdin=listed.encode()).stdout
    told = raw_push(
        live.url,
        live.sandbox.token,
        [(mine.must("rev-parse", "HEAD~"), sha, f"refs/heads/{mine.branch}")],
        pack,
    )
    assert f"ok refs/heads/{mine.branch}" in told
    assert not run("cat-file", "-e", junk, cwd=live.store()).ok
    assert run("fsck", "--strict", cwd=live.store()).ok


def test_a_gzipped_request_is_understood(live: Live) -> None:
    body = pkt("command=ls-refs\n") + b"0001" + pkt("ref-prefix refs/heads/\n") + b"0000"
    plain = raw(live.url, live.sandbox.token, "upload-pack", body, git_protocol="version=2")
    zipped = raw(
        live.url,
        live.sandbox.token,
        "upload-pack",
        gzip.compress(body),
        git_protocol="version=2",
        content_encoding="gzip",
    )
    assert plain.status_code == zipped.status_code == 200
    assert plain.content == zipped.content
    assert b"refs/heads/main" in plain.content


def test_the_owner_of_a_repository_may_stand_in_its_address(live: Live) -> None:
    named = run("ls-remote", address(live.url, live.sandbox.token, "local/lab"))
    assert named.ok, named.err
    wrong = run("ls-remote", address(live.url, live.sandbox.token, "others/lab"))
    assert not wrong.ok
    assert "not found" in wrong.err


def test_bearer_works_like_basic(live: Live) -> None:
    header = f"http.extraHeader=Authorization: Bearer {live.sandbox.token}"
    ran = run("-c", header, "ls-remote", f"{live.url}/git/lab.git")
    assert ran.ok, ran.err


def test_the_token_may_stand_in_the_place_of_the_user(live: Live) -> None:
    header = base64.b64encode(f"{live.sandbox.token}:".encode()).decode()
    ran = run("-c", f"http.extraHeader=Authorization: Basic {header}", "ls-remote", f"{live.url}/git/lab.git")
    assert ran.ok, ran.err


def test_the_owner_clones_the_base_and_pushes_nothing(live: Live) -> None:
    url = address(live.url, live.world.owner_token)
    ran = run("clone", "-q", url, str(live.desk / "base"))
    assert ran.ok, ran.err
    base = Clone(live.desk / "base", "main")
    assert base.must("branch", "--show-current") == "main"
    refs = base.must("branch", "-r", "--format=%(refname)").split()
    assert sorted(refs) == [
        "refs/remotes/origin/HEAD",
        "refs/remotes/origin/main",
        "refs/remotes/origin/sandbox",
    ]
    base.commit({"a.txt": "a\n"})
    pushed = base.push("HEAD:main")
    assert not pushed.ok
    assert "protected_branch" in pushed.err
    assert git("ls-remote", url, "refs/heads/main").split()[0] != base.head


def test_a_large_push_arrives_in_pieces(live: Live) -> None:
    """Beyond http.postBuffer git asks first with an empty request, then streams."""
    mine = live.clone()
    dice = random.Random(7)
    sha = mine.commit({f"data/{n}.bin": dice.randbytes(400_000) for n in range(8)})
    pushed = mine.push()
    assert pushed.ok, pushed.err
    assert live.tip() == sha


def test_releases_are_shown_to_the_owner_and_not_to_sandboxes(alone: Live) -> None:
    (base,) = (alone.world.home / "repos").glob("*/*/base.git")
    git("tag", "-a", "v1.0.0", "-m", "One", "main", cwd=base)
    listed = run("ls-remote", address(alone.url, alone.world.owner_token)).out
    assert "refs/tags/v1.0.0" in listed
    assert "refs/tags" not in run("ls-remote", address(alone.url, alone.sandbox.token)).out
    owners = Clone(alone.desk / "owners", "main")
    assert run("clone", "-q", address(alone.url, alone.world.owner_token), str(owners.folder)).ok
    assert owners.must("tag", "--list") == "v1.0.0"


def test_a_store_that_was_not_made_yet_is_made_for_the_first_client(live: Live) -> None:
    """As after a crash between the opening of a sandbox and the making of its folder."""
    shutil.rmtree(live.store())
    clone_first = live.clone()
    shutil.rmtree(live.store())
    sha = clone_first.commit({"a.txt": "a\n"})
    told = raw_push(
        live.url,
        live.sandbox.token,
        [(clone_first.must("rev-parse", "HEAD~"), sha, f"refs/heads/{clone_first.branch}")],
        clone_first.pack("HEAD", "^HEAD~"),
    )
    assert "ok refs/heads" in told
    assert live.tip() == sha
