"""Open and resume: the table of SPEC §3.1 row by row, through HTTP."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from builderos.assets.workspaces import sandboxes
from builderos.core.settings import load_settings
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.world import make_repository

NAME = re.compile(r"sandbox-[a-z]+-[a-z]+(-[0-9a-f]{6})?\Z")
GARBAGE = "bos_rt_" + "0" * 43


@pytest.fixture(scope="module")
def closed(databases: Databases) -> Iterator[Lab]:
    """A server on which nobody opens a sandbox without a credential."""
    with lab_in_temp(databases, anonymous=False) as made:
        yield made


def count(lab: Lab) -> int:
    return lab.sql("select count(*) from ops.sandboxes")[0][0]


def test_without_a_token_a_new_branch_and_token_are_made(lab: Lab) -> None:
    reply = lab.ok(lab.init())
    assert (reply["created"], reply["recreated"], reply["token_status"]) == (True, False, "new")
    assert NAME.match(reply["branch"])
    assert re.fullmatch(r"bos_rt_[0-9A-Za-z]{43}", reply["reuse_token"])
    assert reply["branch"] in reply["message"]
    assert reply["repo_name"] in reply["message"]
    assert reply["reuse_token"] not in reply["message"]
    assert reply["expires_at"].endswith("Z")


def test_force_new_opens_another_workspace_and_the_old_one_stays_valid(lab: Lab) -> None:
    old = lab.open_sandbox()
    reply = lab.ok(lab.init(old.token, force_new=True))
    assert (reply["created"], reply["token_status"]) == (True, "new")
    assert reply["branch"] != old.branch
    assert reply["reuse_token"] != old.token
    assert lab.ok(lab.init(old.token))["branch"] == old.branch


@pytest.mark.parametrize("way", ["body", "header"])
def test_a_valid_token_resumes_and_is_echoed(lab: Lab, way: str) -> None:
    box = lab.open_sandbox()
    if way == "body":
        response = lab.init(box.token)
    else:
        response = lab.world.http.post("/sandbox/init", json={"mode": "branch"}, headers=box.headers)
    reply = lab.ok(response)
    assert reply["branch"] == box.branch
    assert reply["reuse_token"] == box.token
    assert (reply["created"], reply["recreated"], reply["token_status"]) == (False, False, "valid")


def test_a_deleted_branch_is_made_anew_under_its_name_with_its_backups_listed(lab: Lab) -> None:
    box = lab.open_sandbox()
    box.commit({"a.txt": "mine\n"})
    kept = lab.ok(lab.as_owner("DELETE", f"/v1/sandboxes/{lab.sandbox_id(box)}"))["backup_id"]
    lab.problem(box.try_post("/git/log"), "not_found")
    reply = lab.ok(lab.init(box.token))
    assert (reply["branch"], reply["created"], reply["recreated"]) == (box.branch, True, True)
    assert reply["token_status"] == "valid"
    assert reply["restore_from"] == [kept]
    assert box.post("/system/fetch_files", path="a.txt")["missing"] == ["a.txt"]
    restored = box.post(f"/system/backup/{kept}/restore")
    assert restored["restored_files"] == 1
    assert box.post("/system/fetch_files", path="a.txt")["files"][0]["content"] == "mine\n"
    assert lab.ok(lab.init(box.token))["recreated"] is False


def test_an_expired_token_opens_a_new_branch_and_says_so(lab: Lab) -> None:
    box = lab.open_sandbox()
    with lab.later(days=91):
        lab.problem(box.try_post("/git/log"), "token_expired")
        reply = lab.ok(lab.init(box.token))
    assert (reply["created"], reply["token_status"]) == (True, "expired")
    assert reply["branch"] != box.branch
    assert "expired" in reply["message"]
    assert "not opened" in reply["message"]


def test_a_revoked_token_opens_a_new_branch_and_says_so(lab: Lab) -> None:
    box = lab.open_sandbox()
    lab.ok(lab.change_token(box, "revoke"))
    lab.problem(box.try_post("/git/log"), "token_invalid")
    reply = lab.ok(lab.init(box.token))
    assert (reply["created"], reply["token_status"]) == (True, "revoked")
    assert reply["branch"] != box.branch


@pytest.mark.parametrize("token", [GARBAGE, "sandbox-golden-otter", "x" * 5000, "bos_rt_ä", "' or 1=1 --"])
def test_an_invalid_token_opens_a_new_branch_and_says_so(lab: Lab, token: str) -> None:
    reply = lab.ok(lab.init(token))
    assert (reply["created"], reply["token_status"]) == (True, "invalid")
    assert "not opened" in reply["message"]


def test_a_branch_name_is_no_credential(lab: Lab) -> None:
    box = lab.open_sandbox()
    assert lab.ok(lab.init(box.branch))["branch"] != box.branch


def test_a_token_of_another_organisation_opens_a_new_branch_in_the_named_one(lab: Lab) -> None:
    mine, other = lab.open_sandbox(), lab.second_org("foreign")
    source = make_repository(lab.world.home / "theirs")
    lab.ok(
        lab.world.http.post(
            "/v1/repos/import", json={"source": str(source), "name": "lab"}, headers=other.owner
        ),
        201,
    )
    theirs = other.open_sandbox("lab")
    reply = lab.ok(lab.init(theirs.token, org_slug="local"))
    assert (reply["created"], reply["token_status"]) == (True, "invalid")
    assert reply["branch"] not in (mine.branch, theirs.branch)
    owner = lab.sql(
        "select org_id from ops.sandboxes where name = %s and org_id = %s", reply["branch"], lab.world.org_id
    )
    assert owner


def test_a_token_in_another_repository_is_refused_and_nothing_is_made(lab: Lab) -> None:
    lab.world.import_repo(make_repository(lab.world.home / "second"), "second")
    box, before = lab.open_sandbox(), count(lab)
    lab.problem(lab.init(box.token, repo_name="second"), "not_found")
    assert count(lab) == before


def test_an_unknown_repository_or_organisation_is_refused(lab: Lab) -> None:
    before = count(lab)
    lab.problem(lab.init(repo_name="nowhere"), "not_found")
    lab.problem(lab.init(repo_owner="nobody"), "not_found")
    lab.problem(lab.init(org_slug="nowhere"), "unauthenticated")
    lab.problem(lab.init(repo_name=None), "validation_failed")
    assert count(lab) == before


def test_with_anonymous_mode_off_strangers_get_a_401(closed: Lab) -> None:
    closed.problem(closed.init(), "unauthenticated")
    closed.problem(closed.init(GARBAGE), "token_invalid")
    assert count(closed) == 0
    opened = closed.ok(closed.as_owner("POST", "/sandbox/init", json={"repo_name": "lab"}))
    assert closed.ok(closed.init(opened["reuse_token"]))["token_status"] == "valid"
    with closed.later(days=91):
        closed.problem(closed.init(opened["reuse_token"]), "token_expired")
    path = f"/v1/sandboxes/{closed.sql('select id from ops.sandboxes')[0][0]}/token"
    closed.ok(closed.as_owner("POST", path, json={"action": "revoke"}))
    closed.problem(closed.init(opened["reuse_token"]), "token_invalid")
    assert count(closed) == 1


def test_eight_at_once_with_one_token_get_one_branch(lab: Lab) -> None:
    box = lab.open_sandbox()
    lab.ok(lab.as_owner("DELETE", f"/v1/sandboxes/{lab.sandbox_id(box)}"))
    before = count(lab)
    with ThreadPoolExecutor(8) as pool:
        replies = [lab.ok(r) for r in pool.map(lambda _: lab.init(box.token), range(8))]
    assert {r["branch"] for r in replies} == {box.branch}
    assert sum(r["recreated"] for r in replies) == 1
    assert count(lab) == before


def test_eight_strangers_at_once_get_eight_branches(lab: Lab) -> None:
    with ThreadPoolExecutor(8) as pool:
        replies = [lab.ok(r) for r in pool.map(lambda _: lab.init(), range(8))]
    assert len({r["branch"] for r in replies}) == 8
    assert len({r["reuse_token"] for r in replies}) == 8


def test_a_drawn_name_that_is_taken_is_drawn_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = lab.open_sandbox().branch
    gone = lab.open_sandbox()
    lab.ok(lab.as_owner("DELETE", f"/v1/sandboxes/{lab.sandbox_id(gone)}"))
    drawn = [taken, gone.branch, "sandbox-fresh-name"]
    monkeypatch.setattr(sandboxes, "draw", lambda attempt: drawn[min(attempt, len(drawn) - 1)])
    assert lab.ok(lab.init())["branch"] == "sandbox-fresh-name"


def test_a_reserved_name_is_given_to_nobody(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = ["sandbox-kept-back", "sandbox-given-out"]
    monkeypatch.setattr(sandboxes, "draw", lambda attempt: drawn[min(attempt, len(drawn) - 1)])
    lab.sql("update ops.repositories set reserved_names = array['sandbox-kept-back'] where name = 'lab'")
    try:
        assert lab.ok(lab.init())["branch"] == "sandbox-given-out"
    finally:
        lab.sql("update ops.repositories set reserved_names = '{}' where name = 'lab'")


def test_a_repository_that_was_removed_is_opened_by_nobody(lab: Lab) -> None:
    box = lab.open_sandbox()
    lab.sql("update ops.repositories set deleted_at = now() where name = 'lab'")
    try:
        lab.problem(lab.init(), "not_found")
        lab.problem(lab.init(box.token, force_new=True, repo_name=None), "not_found")
    finally:
        lab.sql("update ops.repositories set deleted_at = null where name = 'lab'")


def test_when_no_name_is_free_the_call_says_busy_and_makes_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, before = lab.open_sandbox().branch, count(lab)
    monkeypatch.setattr(sandboxes, "draw", lambda _attempt: taken)
    lab.problem(lab.init(), "busy")
    assert count(lab) == before + 0


def test_there_are_enough_names() -> None:
    from builderos.assets.workspaces import names

    assert len(set(names.ADJECTIVES)) * len(set(names.NOUNS)) >= 65_536
    assert all(NAME.match(names.draw(attempt)) for attempt in range(names.MAX_DRAWS + 5))


@pytest.mark.parametrize("path", ["/sandbox/init_branch", "/get_started"])
def test_the_old_names_do_the_same_without_a_mode(lab: Lab, path: str) -> None:
    response = lab.world.http.post(path, json={"repo_name": "lab"})
    reply = lab.ok(response)
    assert reply["created"] is True
    assert response.headers["deprecation"] == "true"
    again = lab.world.http.post(path, json={"reuse_token": reply["reuse_token"]})
    assert lab.ok(again)["branch"] == reply["branch"]


def test_an_unknown_member_or_mode_is_refused(lab: Lab) -> None:
    lab.problem(lab.init(branch_name="x"), "validation_failed")
    lab.problem(lab.init(mode="other"), "validation_failed")
    lab.problem(lab.init(force_new="perhaps"), "validation_failed")
    lab.problem(lab.world.http.post("/sandbox/init", content=b"\xff", headers={"content-type": "application/json"}),
                "validation_failed")  # fmt: skip


def test_main_as_default_write_branch_with_anonymous_mode_does_not_start(tmp_path: Path) -> None:
    for name in ("main", "refs/heads/main", "sandbox"):
        with pytest.raises(ValidationError, match="DEFAULT_WRITE_BRANCH"):
            load_settings(home=tmp_path, default_write_branch=name)
    assert load_settings(home=tmp_path, default_write_branch="main", anonymous=False)
    assert load_settings(home=tmp_path, default_write_branch="dev")


def test_an_unknown_token_profile_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        load_settings(home=tmp_path, token_profile="everything")


def test_the_base_branch_is_made_when_it_is_missing_and_followed_by_sandboxes(lab: Lab) -> None:
    lab.open_sandbox()
    assert lab.tip("sandbox") == lab.tip("main")


def test_an_init_with_an_idempotency_key_makes_one_sandbox(lab: Lab) -> None:
    before = count(lab)
    replies = [lab.ok(lab.init(idempotency_key="k" * 36)) for _ in range(2)]
    assert replies[0] == replies[1]
    assert count(lab) == before + 1
    lab.problem(lab.init(idempotency_key="k" * 36, force_new=True), "idempotency_conflict")
    lab.problem(lab.init(idempotency_key="short"), "validation_failed")
