"""Every way known to read what is not one's own through the git door, with the real client or by hand."""

import hashlib
import struct
import zlib
from pathlib import Path

import pytest

from tests.support.gitclients import (
    EMPTY_PACK,
    address,
    raw,
    raw_fetch,
    raw_push,
    run,
    run_bytes,
)

from .conftest import Live


def own_ref(live: Live) -> str:
    return f"refs/heads/{live.sandbox.branch}"


def strays(live: Live) -> list[Path]:
    """What a refused push may not leave behind."""
    return list((live.world.home / "repos").glob("*/*/branches/*/*/objects/tmp_objdir-push-*"))


def packs(live: Live) -> set[str]:
    return {file.name for file in (live.store() / "objects/pack").iterdir()}


def hidden_commit(live: Live, text: str = "hidden\n") -> str:
    """A commit in the sandbox's own store that no visible ref reaches, on top of the tip, as an undo would leave it."""
    store = live.store()
    blob = run("hash-object", "-w", "--stdin", cwd=store, stdin=text.encode()).out.strip()
    tree = run("mktree", cwd=store, stdin=f"100644 blob {blob}\thidden.txt\n".encode()).out.strip()
    sha = run("commit-tree", tree, "-p", live.tip(), "-m", "hidden", cwd=store).out.strip()
    assert run("update-ref", "refs/bos/undo/1", sha, cwd=store).ok
    return sha


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("version", [0, 2])
def test_objects_of_another_sandbox_cannot_be_fetched_by_their_ids(live: Live, version: int) -> None:
    other = live.world.open_sandbox()
    commit = other.commit({"secret.txt": "the other's secret\n"})["commit_sha"]
    theirs = live.store(other)
    tree, blob = (
        run("rev-parse", f"{commit}{part}", cwd=theirs).out.strip() for part in ("^{tree}", ":secret.txt")
    )
    mine = live.clone()
    for sha in (commit, tree, blob):
        told = raw_fetch(live.url, live.sandbox.token, [sha], version)
        assert f"ERR upload-pack: not our ref {sha}".encode() in told
        assert b"PACK" not in told
        fetched = mine.git("-c", f"protocol.version={version}", "fetch", "origin", sha)
        assert not fetched.ok
        assert "not our ref" in fetched.err
        assert not mine.git("cat-file", "-e", sha).ok


@pytest.mark.parametrize("version", [0, 2])
def test_a_hidden_commit_of_the_own_store_cannot_be_fetched_by_its_id(live: Live, version: int) -> None:
    sha = hidden_commit(live)
    assert f"not our ref {sha}".encode() in raw_fetch(live.url, live.sandbox.token, [sha], version)
    among = raw_fetch(live.url, live.sandbox.token, [live.tip(), sha], version)
    assert f"not our ref {sha}".encode() in among
    fetched = live.clone().git("-c", f"protocol.version={version}", "fetch", "origin", sha)
    assert not fetched.ok


@pytest.mark.parametrize("version", [0, 2])
def test_a_hidden_tag_cannot_be_fetched_by_its_id(alone: Live, version: int) -> None:
    """A release's tag lies in the base, from which the sandbox's store borrows."""
    (base,) = (alone.world.home / "repos").glob("*/*/base.git")
    assert run("tag", "-a", "v1", "-m", "secret notes", "main", cwd=base).ok
    tag = run("rev-parse", "v1", cwd=base).out.strip()
    assert f"not our ref {tag}".encode() in raw_fetch(alone.url, alone.sandbox.token, [tag], version)
    assert b"PACK" in raw_fetch(alone.url, alone.world.owner_token, [tag], version)


@pytest.mark.parametrize("version", [0, 2])
def test_an_ancestor_of_a_visible_ref_can_be_fetched_by_its_id(live: Live, version: int) -> None:
    first = live.tip()
    live.sandbox.commit({"a.txt": "a\n"})
    assert b"PACK" in raw_fetch(live.url, live.sandbox.token, [first], version)


def test_hidden_refs_are_not_listed(live: Live) -> None:
    hidden_commit(live)
    listed = run("ls-remote", address(live.url, live.sandbox.token)).out
    assert "refs/bos" not in listed
    assert len(listed.splitlines()) == 3  # HEAD, the own branch, main


@pytest.mark.parametrize("version", [0, 2])
def test_hidden_refs_cannot_be_fetched_by_name(live: Live, version: int) -> None:
    hidden_commit(live)
    mine = live.clone("mine", "-c", f"protocol.version={version}")
    for ref in ("refs/bos/undo/1", "refs/heads/sandbox", "refs/heads/backup/2026-01-01", "refs/*"):
        mine.git("fetch", "origin", f"+{ref}:refs/stolen/{ref.removeprefix('refs/')}")
    stolen = mine.must("for-each-ref", "--format=%(refname)", "refs/stolen")
    assert set(stolen.split()) == {f"refs/stolen/heads/{mine.branch}", "refs/stolen/heads/main"}


NOT_THE_PROTOCOL = [
    b"0014command=object-info0000",
    b"0012command=fetch0001" + b"001cwant-ref refs/bos/undo/1" + b"0000",
    b"0032want " + b"A" * 40 + b"\n0000",
    b"00zz",
    b"+012command=ls-refs\n",
    b"0100short",
    b"0003",
]


def test_what_is_not_understood_never_reaches_git(live: Live, subtests: pytest.Subtests) -> None:
    for body in NOT_THE_PROTOCOL:
        with subtests.test(body=body[:30]):
            reply = raw(live.url, live.sandbox.token, "upload-pack", body, git_protocol="version=2")
            assert reply.status_code == 422, reply.content
            assert reply.headers["content-type"].startswith("text/plain")


def test_a_strange_protocol_header_still_hides(live: Live, subtests: pytest.Subtests) -> None:
    sha = hidden_commit(live)
    body = b"0032want " + sha.encode() + b"\n00000009done\n"
    for header in ("version=2:version=3", "version=9", "x", "version=2%00"):
        with subtests.test(header=header):
            reply = raw(live.url, live.sandbox.token, "upload-pack", body, git_protocol=header)
            assert b"not our ref" in reply.content


# ---------------------------------------------------------------- grafts and deltas


def test_an_empty_pack_cannot_adopt_a_hidden_commit(live: Live) -> None:
    before, sha = live.tip(), hidden_commit(live)
    told = raw_push(live.url, live.sandbox.token, [(before, sha, own_ref(live))], EMPTY_PACK)
    assert "does not contain" in told
    assert live.tip() == before
    assert strays(live) == []


def test_an_empty_pack_cannot_adopt_a_commit_of_another_sandbox(live: Live) -> None:
    other = live.world.open_sandbox()
    sha = other.commit({"secret.txt": "s\n"})["commit_sha"]
    before = live.tip()
    told = raw_push(live.url, live.sandbox.token, [(before, sha, own_ref(live))], EMPTY_PACK)
    assert "does not contain" in told
    assert live.tip() == before


@pytest.mark.parametrize("part", ["^{tree}", ":hidden.txt", ""])
def test_a_new_commit_cannot_borrow_hidden_objects(live: Live, part: str) -> None:
    """A folder, a file or a parent that lies in the store but behind no visible ref."""
    hidden = hidden_commit(live)
    mine = live.clone()
    wanted = run("rev-parse", f"{hidden}{part}", cwd=live.store()).out.strip()
    before = mine.head
    if part == "":
        text = f"tree {mine.must('rev-parse', 'HEAD^{tree}')}\nparent {before}\nparent {wanted}\n"
    elif part == "^{tree}":
        text = f"tree {wanted}\nparent {before}\n"
    else:
        tree = mine.must("mktree", "--missing", stdin=f"100644 blob {wanted}\tmine.txt\n".encode())
        text = f"tree {tree}\nparent {before}\n"
    text += "author a <a@b> 1700000000 +0000\ncommitter a <a@b> 1700000000 +0000\n\nborrow\n"
    sha = mine.must("hash-object", "-t", "commit", "-w", "--stdin", "--literally", stdin=text.encode())
    ids = [sha] if part != ":hidden.txt" else [sha, text.split()[1]]
    pack = run_bytes(
        "pack-objects", "--stdout", "-q", cwd=mine.folder, stdin="\n".join([*ids, ""]).encode()
    ).stdout
    told = raw_push(live.url, live.sandbox.token, [(before, sha, own_ref(live))], pack)
    assert "does not contain" in told
    assert live.tip() == before
    assert strays(live) == []


def test_a_new_commit_cannot_borrow_a_file_of_another_sandbox(live: Live) -> None:
    other = live.world.open_sandbox()
    commit = other.commit({"secret.txt": "s\n"})["commit_sha"]
    blob = run("rev-parse", f"{commit}:secret.txt", cwd=live.store(other)).out.strip()
    mine = live.clone()
    before = mine.head
    tree = mine.must("mktree", "--missing", stdin=f"100644 blob {blob}\tmine.txt\n".encode())
    sha = mine.must("commit-tree", tree, "-p", before, "-m", "borrow")
    pack = run_bytes(
        "pack-objects", "--stdout", "-q", cwd=mine.folder, stdin=f"{sha}\n{tree}\n".encode()
    ).stdout
    told = raw_push(live.url, live.sandbox.token, [(before, sha, own_ref(live))], pack)
    assert "unpack validation_failed" in told
    assert live.tip() == before


def delta_pack(base: str, kept: bytes, added: bytes, *whole: tuple[int, bytes]) -> bytes:
    """A pack with one REF_DELTA on `base` (its first bytes, then new ones) and whole objects (type number, content)."""
    size = len(kept)
    instructions = bytes([size, size + len(added), 0x90, size, len(added)]) + added
    body = b"PACK" + struct.pack(">II", 2, 1 + len(whole))
    body += bytes([0x70 | len(instructions)]) + bytes.fromhex(base) + zlib.compress(instructions)
    for kind, data in whole:
        head, rest = (kind << 4) | (len(data) & 15), len(data) >> 4
        body += bytes([head | (0x80 if rest else 0)]) + (bytes([rest]) if rest else b"") + zlib.compress(data)
    return body + hashlib.sha1(body).digest()


def test_a_thin_pack_cannot_read_a_hidden_file_through_a_delta(live: Live) -> None:
    """The delta copies the hidden blob and adds a byte; the result would be the pusher's own file."""
    hidden_commit(live, "hidden\n")
    base = run("hash-object", "--stdin", stdin=b"hidden\n").out.strip()
    mine = live.clone()
    before = mine.head
    blob = mine.blob(b"hidden\n!")
    tree = mine.must("mktree", stdin=f"100644 blob {blob}\tmine.txt\n".encode())
    sha = mine.must("commit-tree", tree, "-p", before, "-m", "read it")
    tree_data = run_bytes("cat-file", "tree", tree, cwd=mine.folder).stdout
    commit_data = run_bytes("cat-file", "commit", sha, cwd=mine.folder).stdout
    pack = delta_pack(base, b"hidden\n", b"!", (2, tree_data), (1, commit_data))
    told = raw_push(live.url, live.sandbox.token, [(before, sha, own_ref(live))], pack)
    assert "unpack validation_failed: the pack has deltas against objects it does not contain" in told
    assert "unpacker error" in told
    assert live.tip() == before
    assert strays(live) == []


def test_the_same_delta_is_fine_where_the_pack_has_its_base(live: Live) -> None:
    """So that the test above refuses the borrowing, not the delta."""
    mine = live.clone()
    before = mine.head
    base, blob = mine.blob(b"hidden\n"), mine.blob(b"hidden\n!")
    tree = mine.must("mktree", stdin=f"100644 blob {blob}\tmine.txt\n100644 blob {base}\tb.txt\n".encode())
    sha = mine.must("commit-tree", tree, "-p", before, "-m", "fine")
    tree_data = run_bytes("cat-file", "tree", tree, cwd=mine.folder).stdout
    commit_data = run_bytes("cat-file", "commit", sha, cwd=mine.folder).stdout
    pack = delta_pack(base, b"hidden\n", b"!", (3, b"hidden\n"), (2, tree_data), (1, commit_data))
    told = raw_push(live.url, live.sandbox.token, [(before, sha, own_ref(live))], pack)
    assert f"ok {own_ref(live)}" in told
    assert live.tip() == sha


def test_git_itself_sends_no_thin_packs_here(live: Live) -> None:
    mine = live.clone()
    mine.commit({"long.txt": "".join(f"line {n}\n" for n in range(2000))})
    assert mine.push().ok
    mine.commit({"long.txt": "".join(f"line {n}\n" for n in range(2001))})
    pushed = mine.push("--thin", f"HEAD:{mine.branch}")
    assert pushed.ok, pushed.err


DAMAGED = [
    b"",
    b"PACK",
    b"no pack at all",
    EMPTY_PACK[:-1],
    EMPTY_PACK + b"more",
    b"PACK\0\0\0\x02\xff\xff\xff\xff",
    EMPTY_PACK[:-1] + b"\0",
]


def test_a_damaged_pack_changes_nothing(live: Live, subtests: pytest.Subtests) -> None:
    before = live.tip()
    for pack in DAMAGED:
        with subtests.test(pack=pack[-20:]):
            told = raw_push(live.url, live.sandbox.token, [(before, "1" * 40, own_ref(live))], pack)
            assert f"ng {own_ref(live)}" in told
            assert live.tip() == before
            assert strays(live) == []
