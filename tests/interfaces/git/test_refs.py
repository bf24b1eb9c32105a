"""Only the own branch moves, and only forwards, whatever a client asks for."""

import pytest

from tests.support.gitclients import NOTHING, raw_push, run

from .conftest import Live


def own_ref(live: Live) -> str:
    return f"refs/heads/{live.sandbox.branch}"


NOT_MINE = [
    ("refs/heads/main", "protected_branch"),
    ("refs/heads/sandbox", "protected_branch"),
    ("refs/heads/backup/2026-11-21", "protected_branch"),
    ("refs/heads/feature", "forbidden_branch"),
    ("refs/heads/OTHER", "forbidden_branch"),
    ("refs/tags/v1", "forbidden_branch"),
    ("refs/bos/undo/1", "forbidden_branch"),
    ("refs/notes/commits", "forbidden_branch"),
    ("refs/replace/1", "forbidden_branch"),
]


def test_nothing_but_the_own_branch_takes_pushes(live: Live, subtests: pytest.Subtests) -> None:
    other = live.world.open_sandbox()
    mine = live.clone()
    mine.commit({"a.txt": "a\n"})
    before = {box.branch: live.tip(box) for box in (live.sandbox, other)}
    refs = run("for-each-ref", cwd=live.store()).out
    for ref, code in NOT_MINE:
        with subtests.test(ref=ref):
            pushed = mine.push(f"+HEAD:{ref.replace('OTHER', other.branch)}")
            assert not pushed.ok
            assert code in pushed.err
            assert before == {box.branch: live.tip(box) for box in (live.sandbox, other)}
            assert run("for-each-ref", cwd=live.store()).out == refs


def test_a_branch_whose_name_begins_like_the_own_one_is_not_the_own_one(live: Live) -> None:
    mine = live.clone()
    mine.commit({"a.txt": "a\n"})
    for ref in (f"{mine.branch}-2", f"{mine.branch}/x", mine.branch[:-1], mine.branch.upper()):
        pushed = mine.push(f"HEAD:refs/heads/{ref}")
        assert not pushed.ok
        assert "forbidden_branch" in pushed.err


def test_a_tag_beside_the_own_branch_is_refused_alone(live: Live) -> None:
    mine = live.clone()
    sha = mine.commit({"a.txt": "a\n"})
    mine.must("tag", "-a", "v1", "-m", "mine")
    pushed = mine.push(f"HEAD:{mine.branch}", "v1")
    assert not pushed.ok
    assert "forbidden_branch" in pushed.err
    assert live.tip() == sha
    tag = mine.must("rev-parse", "v1")
    assert not run("cat-file", "-e", tag, cwd=live.store()).ok


def test_a_mixed_atomic_push_fails_whole(live: Live) -> None:
    mine = live.clone()
    before = live.tip()
    mine.commit({"a.txt": "a\n"})
    pushed = mine.push("--atomic", f"HEAD:{mine.branch}", "HEAD:refs/heads/main")
    assert not pushed.ok
    assert "atomic push failed" in pushed.err
    assert "protected_branch" in pushed.err
    assert live.tip() == before


def test_one_command_per_ref(live: Live) -> None:
    before = live.tip()
    mine = live.clone()
    sha = mine.commit({"a.txt": "a\n"})
    twice = [(before, sha, own_ref(live)), (before, sha, own_ref(live))]
    with pytest.raises(AssertionError, match="not the git protocol"):
        raw_push(live.url, live.sandbox.token, twice, mine.pack("HEAD", f"^{before}"))
    assert live.tip() == before


def test_branches_are_never_deleted(live: Live) -> None:
    mine = live.clone()
    before = live.tip()
    for ref in (mine.branch, "main"):
        assert not mine.push("--delete", ref).ok
    told = raw_push(live.url, live.sandbox.token, [(before, NOTHING, own_ref(live))], b"")
    assert "forbidden_branch: branches are not deleted by a push" in told
    assert live.tip() == before


def test_history_is_never_replaced(live: Live) -> None:
    mine = live.clone()
    mine.commit({"a.txt": "a\n"})
    assert mine.push().ok
    before = live.tip()
    mine.must("commit", "-q", "--amend", "-m", "rewritten")
    plain, forced = mine.push(), mine.push("--force", f"HEAD:{mine.branch}")
    assert not plain.ok
    assert not forced.ok
    assert "non-fast-forward" in forced.err
    mine.must("reset", "-q", "--hard", "HEAD~")
    assert "non-fast-forward" in mine.push("--force", f"HEAD:{mine.branch}").err
    mine.must("checkout", "-q", "--orphan", "elsewhere")
    mine.commit({"b.txt": "b\n"})
    assert "non-fast-forward" in mine.push("--force", f"HEAD:{mine.branch}").err
    assert live.tip() == before


def test_a_client_that_is_behind_is_told_to_fetch_first(live: Live) -> None:
    mine = live.clone()
    mine.commit({"a.txt": "a\n"})
    tip = live.sandbox.commit({"b.txt": "b\n"})["commit_sha"]
    assert "fetch first" in mine.push().err
    sha = mine.head
    told = raw_push(
        live.url,
        live.sandbox.token,
        [(mine.must("rev-parse", "HEAD~"), sha, own_ref(live))],
        mine.pack("HEAD", "^HEAD~"),
    )
    assert f"ng {own_ref(live)} fetch first" in told
    assert live.tip() == tip
    mine.must("pull", "-q", "--no-rebase", "--no-edit")
    assert mine.push().ok


def test_nothing_of_the_pusher_reaches_a_terminal_unfiltered(live: Live) -> None:
    mine = live.clone()
    before = mine.head
    sha = mine.commit({"a.txt": "a\n"})
    ref = "refs/heads/\x1b[31mred\x07"
    told = raw_push(
        live.url,
        live.sandbox.token,
        [(NOTHING, sha, ref), (before, sha, own_ref(live))],
        mine.pack("HEAD", f"^{before}"),
    )
    assert "\x1b" not in told
    assert live.tip() == sha
