"""The rules of the API hold for pushes: for everything a push adds that main does not already hold."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import Databases
from tests.support.gitclients import Clone, Ran, address, run
from tests.support.world import make_repository

from .conftest import Live, live_in_temp

MIB = 1024 * 1024


def refused(live: Live, pushed: Ran, before: str, *words: str) -> None:
    """The push failed for this reason, and nothing has changed."""
    assert not pushed.ok
    for word in words:
        assert word in pushed.err, pushed.err
    assert live.tip() == before
    assert list((live.world.home / "repos").glob("*/*/branches/*/*/objects/tmp_objdir-push-*")) == []
    assert list((live.store() / "objects/pack").iterdir()) == []


BAD_PATHS = [
    ("con.txt", "device on Windows"),
    ("a:b", "Windows"),
    ("trailing. ", "dot or a space"),
    ("x\x01y", "control character"),
    ("e\u0301.txt", "normal form C"),
    ("\udcff.txt", "invalid_path"),
    ("dir/.GITMODULES", "can be read as"),
    ("right\u202eleft", "reorders"),
    ("/".join(["d"] * 101), "folders deep"),
    ("back\\slash", "backslash"),
    ("~home", "home folder"),
]


def test_a_path_that_is_not_the_same_file_everywhere_is_refused(
    live: Live, subtests: pytest.Subtests
) -> None:
    mine = live.clone()
    before = mine.head
    for path, word in BAD_PATHS:
        with subtests.test(path=path.encode("utf-8", "backslashreplace")):
            mine.must("reset", "-q", "--hard", before)
            mine.commit_entries([("100644", mine.blob("x\n"), path)])
            refused(live, mine.push(), before, "invalid_path", word)


GITS_OWN = [".git/config", ".GIT/x", "git~1", ".g\u200cit/config", "a/.git /x", "..", "a/../b"]


def test_gits_own_folder_cannot_be_pushed_in_any_spelling(live: Live, subtests: pytest.Subtests) -> None:
    mine = live.clone()
    before = mine.head
    for path in GITS_OWN:
        with subtests.test(path=path):
            tree = "100644 blob " + mine.blob("[core]\n") + "\t" + path.split("/")[-1]
            for name in reversed(path.split("/")[:-1]):
                tree = f"040000 tree {mine.must('mktree', stdin=tree.encode())}\t{name}"
            top = mine.must("mktree", stdin=tree.encode())
            sha = mine.must("commit-tree", top, "-p", before, "-m", "evil")
            refused(live, mine.push(f"{sha}:{mine.branch}"), before, "invalid_path", "hasDot")


def test_a_bad_path_that_a_later_commit_removes_is_refused_too(live: Live) -> None:
    mine = live.clone()
    before = mine.head
    mine.commit_entries([("100644", mine.blob("x\n"), "aux.txt")])
    mine.must("rm", "-q", "--cached", "aux.txt")
    mine.must("commit", "-q", "-m", "remove it")
    refused(live, mine.push(), before, "invalid_path", "aux.txt")


TWINS = [("New.txt", "new.txt"), ("Dir/a", "dir/b"), ("stra\u00dfe", "strasse"), ("readme.md", "README.md")]


def test_names_that_differ_only_by_case_are_refused(live: Live, subtests: pytest.Subtests) -> None:
    mine = live.clone()
    before = mine.head
    for one, other in TWINS:
        with subtests.test(one=one, other=other):
            mine.must("reset", "-q", "--hard", before)
            blob = mine.blob("x\n")
            mine.commit_entries([("100644", blob, path) for path in {one, other} - {"README.md"}])
            refused(live, mine.push(), before, "invalid_path", "same file on some computers")


def test_renaming_by_case_in_one_commit_is_fine(live: Live) -> None:
    mine = live.clone()
    mine.must("mv", "README.md", "Readme.md")
    sha = mine.commit({})
    assert mine.push().ok
    assert live.tip() == sha


def test_a_file_of_one_mebibyte_is_fine_and_one_byte_more_is_refused(live: Live) -> None:
    mine = live.clone()
    sha = mine.commit({"just.bin": b"x" * MIB})
    assert mine.push().ok
    mine.commit({"more.bin": b"y" * (MIB + 1)})
    pushed = mine.push()
    assert "payload_too_large: more.bin has 1048577 bytes; the limit is 1048576" in pushed.err
    assert live.tip() == sha


def test_a_large_file_that_a_later_commit_removes_is_refused_too(live: Live) -> None:
    mine = live.clone()
    before = mine.head
    mine.commit({"more.bin": b"y" * (MIB + 1)})
    mine.commit({"more.bin": None})
    refused(live, mine.push(), before, "payload_too_large", "more.bin")


def test_a_file_that_unfolds_to_hundreds_of_mebibytes_is_refused_without_being_held(live: Live) -> None:
    mine = live.clone()
    before = mine.head
    with (mine.folder / "bomb.bin").open("wb") as file:
        file.truncate(140 * MIB)
    mine.commit({})
    refused(live, mine.push(), before, "payload_too_large", "bomb.bin")


def test_a_hundred_files_in_a_commit_are_fine_and_one_more_is_refused(live: Live) -> None:
    mine = live.clone()
    sha = mine.commit({f"a/{n}": f"{n}\n" for n in range(100)})
    assert mine.push().ok
    mine.commit({f"b/{n}": f"{n}\n" for n in range(101)})
    pushed = mine.push()
    assert "changes more than 100 files" in pushed.err
    assert live.tip() == sha


def test_the_quota_of_files_counts_what_differs_from_the_base(live: Live) -> None:
    mine = live.clone()
    for part in range(5):
        mine.commit({f"{part}/{n}": f"{n}\n" for n in range(100)})
    sha = mine.head
    assert mine.push().ok
    mine.commit({"one/more": "1\n"})
    pushed = mine.push()
    assert "quota_exceeded: files per sandbox: 501" in pushed.err
    assert live.tip() == sha
    mine.must("rm", "-q", "4/0", "4/1")
    mine.commit({})
    assert mine.push().ok


def test_the_api_and_pushes_count_the_same_files(live: Live) -> None:
    mine = live.clone()
    mine.commit({f"a/{n}": f"{n}\n" for n in range(10)})
    assert mine.push().ok
    live.sandbox.commit({"b": "b\n", "a/0": None})
    mine.must("pull", "-q")
    mine.commit({"c": "c\n"})
    assert mine.push().ok
    assert live.rows("select files, commits from ops.branches where name = %s", mine.branch) == [(11, 3)]


@pytest.fixture
def small(databases: Databases, tmp_path: Path) -> Iterator[Live]:
    """A server with small limits."""
    limits = {"max_commits_per_sandbox": 5, "max_push": 100_000, "max_message": 50}
    with live_in_temp(databases, tmp_path, **limits) as live:
        yield live


def test_the_quota_of_commits_counts_those_of_a_push(small: Live) -> None:
    mine = small.clone()
    for number in range(3):
        mine.commit({"a": f"{number}\n"})
    assert mine.push().ok
    for number in range(3):
        sha = mine.commit({"a": f"again {number}\n"})
    pushed = mine.push()
    assert "quota_exceeded: commits per sandbox: 6 would exceed the limit of 5" in pushed.err
    assert mine.push(f"{sha}~:{mine.branch}").ok
    for number in range(6):
        mine.commit({"a": f"yet again {number}\n"})
    assert "quota_exceeded: the push has more than 5 new commits" in mine.push().err


def test_a_push_beyond_the_size_limit_is_refused_whole(small: Live) -> None:
    mine = small.clone()
    before = mine.head
    mine.commit({"a.bin": random.Random(1).randbytes(90_000)})
    mine.commit({"b.bin": random.Random(2).randbytes(90_000)})
    refused(small, mine.push(), before, "payload_too_large: the push is larger than 100000 bytes")


def test_a_push_far_beyond_the_size_limit_is_answered_too(small: Live) -> None:
    mine = small.clone()
    before = mine.head
    mine.commit({f"{n}.bin": random.Random(n).randbytes(MIB) for n in range(12)})
    refused(small, mine.push(), before, "payload_too_large")  # what says so first depends on how it arrives


def test_a_long_message_is_refused(small: Live) -> None:
    mine = small.clone()
    before = mine.head
    mine.commit({"a": "a\n"}, "m" * 51)
    refused(small, mine.push(), before, "payload_too_large", "message")


LINKS_OUT = [
    ("link", "/etc/passwd"),
    ("link", "../outside"),
    ("a/b/link", "../../../outside"),
    ("link", "a/../../outside"),
    ("link", "src/.."),
    ("link", ".git/config"),
    ("link", ".GIT/hooks"),
    ("link", ""),
    ("link", "c:\\windows"),
    ("link", "x" * 5000),
]


def test_a_link_that_may_lead_out_of_the_repository_is_refused(live: Live, subtests: pytest.Subtests) -> None:
    mine = live.clone()
    before = mine.head
    for path, target in LINKS_OUT:
        with subtests.test(path=path, target=target[:20]):
            mine.must("reset", "-q", "--hard", before)
            mine.commit_entries([("120000", mine.blob(target), path)])
            refused(live, mine.push(), before, "invalid_path")


LINKS_INSIDE = [("link", "src/app.py"), ("a/b/link", "../../src"), ("link", "./src/"), ("a/l", "..")]


def test_a_link_inside_the_repository_is_fine(live: Live) -> None:
    mine = live.clone()
    for number, (path, target) in enumerate(LINKS_INSIDE):
        sha = mine.commit_entries([("120000", mine.blob(target), f"{number}/{path}")])
        pushed = mine.push()
        assert pushed.ok, pushed.err
        assert live.tip() == sha


def test_a_file_that_becomes_a_link_is_looked_at(live: Live) -> None:
    mine = live.clone()
    before = mine.head
    mine.commit_entries([("120000", mine.blob("/etc/passwd"), "README.md")])
    refused(live, mine.push(), before, "invalid_path", "README.md")


ODD_MODES = ["120755", "100777", "120644"]


def test_an_entry_with_an_odd_mode_is_no_way_around(live: Live, subtests: pytest.Subtests) -> None:
    """Git reads the type bits alone: 120755 is a link, too."""
    mine = live.clone()
    before = mine.head
    blob = bytes.fromhex(mine.blob("/etc/passwd"))
    for mode in ODD_MODES:
        with subtests.test(mode=mode):
            row = f"{mode} link".encode() + b"\0" + blob
            tree = mine.must("hash-object", "-t", "tree", "-w", "--stdin", "--literally", stdin=row)
            sha = mine.must("commit-tree", tree, "-p", before, "-m", "odd")
            pushed = mine.push(f"{sha}:{mine.branch}")
            refused(live, pushed, before, "invalid_path", f"unknown file mode {mode}")


def test_a_submodule_is_refused_with_a_clear_message(live: Live) -> None:
    mine = live.clone()
    before = mine.head
    mine.commit_entries([("160000", before, "vendor/lib")])
    refused(
        live, mine.push(), before, "invalid_path", "vendor/lib is a submodule; a workspace cannot add one"
    )


def test_an_lfs_pointer_is_a_file_like_any_other(live: Live) -> None:
    mine = live.clone()
    oid = "sha256:" + "4d" * 32
    sha = mine.commit(
        {"model.bin": f"version https://git-lfs.github.com/spec/v1\noid {oid}\nsize 123456789\n"}
    )
    assert mine.push().ok
    assert live.tip() == sha


def test_a_folder_of_billions_of_paths_is_refused_quickly(live: Live) -> None:
    mine = live.clone()
    before = mine.head
    tree, kind = mine.blob("boom\n"), "100644 blob"
    for _ in range(10):
        tree = mine.must("mktree", stdin="".join(f"{kind} {tree}\td{n}\n" for n in range(10)).encode())
        kind = "040000 tree"
    sha = mine.must("commit-tree", tree, "-p", before, "-m", "bomb")
    refused(live, mine.push(f"{sha}:{mine.branch}"), before, "payload_too_large")


def test_so_is_one_of_billions_of_empty_folders(live: Live) -> None:
    mine = live.clone()
    before = mine.head
    tree = mine.must("mktree", stdin=b"")
    for _ in range(12):
        tree = mine.must("mktree", stdin="".join(f"040000 tree {tree}\td{n}\n" for n in range(10)).encode())
    sha = mine.must("commit-tree", tree, "-p", before, "-m", "bomb")
    refused(live, mine.push(f"{sha}:{mine.branch}"), before, "payload_too_large", "too much to be checked")


def test_nobody_commits_in_somebody_elses_name(live: Live) -> None:
    mine = live.clone()
    before = mine.head
    mine.commit({"a": "a\n"}, "Forge\n\nBuilderOS-Actor: owner")
    refused(live, mine.push(), before, "validation_failed", "BuilderOS-Actor")
    mine.must("commit", "-q", "--amend", "-m", f"Mine\n\nBuilderOS-Actor: {mine.branch}")
    assert mine.push().ok


def odd_main(live: Live) -> Clone:
    """A source repository `odd` whose main breaks every rule, imported, with a sandbox in it."""
    source = Clone(make_repository(live.desk / "odd"), "main")
    blob = source.blob("x\n")
    names = ("con.txt", "Same.txt", "same.txt", "trailing. ", "a:b")
    source.commit_entries(
        [("100644", blob, name) for name in names]
        + [("100644", source.blob(b"z" * (MIB + 1)), "big.bin"), ("160000", source.head, "module")]
        + [("120000", source.blob("../../etc"), "link")]
    )
    source.commit_entries([("100644", blob, f"many/{n}.txt") for n in range(150)], "m" * 30_000)
    live.world.import_repo(source.folder, "odd")
    return source


def test_beside_whatever_main_holds_a_small_change_is_fine(live: Live) -> None:
    odd_main(live)
    box = live.world.open_sandbox("odd")
    ran = run("clone", "-q", "--no-checkout", address(live.url, box.token, "odd"), str(live.desk / "mine"))
    assert ran.ok, ran.err
    mine = Clone(live.desk / "mine", box.branch)
    mine.must("reset", "-q")
    edits = [
        ("100644", mine.blob("edited\n"), path) for path in ("con.txt", "Same.txt", "many/3.txt", "new.txt")
    ]
    sha = mine.commit_entries([*edits, ("160000", mine.must("rev-parse", "HEAD~"), "module")])
    pushed = mine.push()
    assert pushed.ok, pushed.err
    assert live.tip(box) == sha
    mine.commit_entries([("100644", mine.blob("x\n"), "SAME.txt")])
    assert "same file on some computers" in mine.push().err


def test_merging_main_is_fine_whatever_main_got_meanwhile(alone: Live) -> None:
    """The branch is behind; main gains large files, odd names and more files than a sandbox may change."""
    mine = alone.clone()
    mine.commit({"mine.txt": "mine\n"})
    assert mine.push().ok
    grown = alone.grow_main({f"{part}/{n}.txt": f"{part} {n}\n" for part in range(7) for n in range(90)})
    mine.must("fetch", "-q")
    assert mine.must("rev-parse", "origin/main") == grown
    mine.must("merge", "-q", "--no-edit", "origin/main")
    pushed = mine.push()
    assert pushed.ok, pushed.err
    assert alone.tip() == mine.head
    assert alone.rows("select files, base_sha from ops.branches where name = %s", mine.branch) == [(1, grown)]
    entry = alone.sandbox.post("/git/diff")["changelog_delta"][-1]
    assert entry["paths"] == []
