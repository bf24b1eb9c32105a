"""Tokens and states of sandboxes: rotate, revoke, renew, expiry, grace, archive, delete, the list."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from builderos.core.clock import utcnow
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.world import Sandbox, git, make_repository


@pytest.fixture(scope="module")
def small(databases: Databases) -> Iterator[Lab]:
    """A server whose tokens get the minimal profile."""
    with lab_in_temp(databases, token_profile="minimal") as made:
        yield made


def detail(lab: Lab, box: Sandbox) -> dict[str, object]:
    return lab.ok(lab.as_owner("GET", f"/v1/sandboxes/{lab.sandbox_id(box)}"))


def archive(lab: Lab, box: Sandbox) -> object:
    return lab.as_owner("POST", f"/v1/sandboxes/{lab.sandbox_id(box)}/archive", json={})


def expiry(lab: Lab, box: Sandbox) -> tuple[datetime, datetime]:
    return lab.sql(
        "select s.expires_at, c.expires_at from ops.sandboxes s join ops.credentials c on c.sandbox_id = s.id "
        "where s.name = %s and c.revoked_at is null", box.branch,
    )[0]  # fmt: skip


def test_a_rotated_token_replaces_the_old_one(lab: Lab) -> None:
    box = lab.open_sandbox()
    box.commit({"a.txt": "1\n"})
    reply = lab.ok(lab.change_token(box, "rotate"))
    assert re.fullmatch(r"bos_rt_[0-9A-Za-z]{43}", reply["reuse_token"])
    lab.problem(box.try_post("/git/log"), "token_invalid")
    fresh = Sandbox(lab.world, "lab", box.branch, reply["reuse_token"])
    assert fresh.post("/system/fetch_files", path="a.txt")["files"]


def test_a_sandbox_user_rotates_and_revokes_the_own_token_but_cannot_renew(lab: Lab) -> None:
    box = lab.open_sandbox()
    path = f"/v1/sandboxes/{lab.sandbox_id(box)}/token"
    lab.problem(lab.world.http.post(path, json={"action": "renew"}, headers=box.headers), "policy_denied")
    rotated = lab.ok(lab.world.http.post(path, json={"action": "rotate"}, headers=box.headers))
    mine = {"Authorization": f"Bearer {rotated['reuse_token']}"}
    lab.ok(lab.world.http.post(path, json={"action": "revoke"}, headers=mine))
    lab.problem(lab.world.http.post(path, json={"action": "rotate"}, headers=mine), "token_invalid")


def test_nobody_changes_the_token_of_another_sandbox(lab: Lab) -> None:
    box, other = lab.open_sandbox(), lab.open_sandbox()
    path = f"/v1/sandboxes/{lab.sandbox_id(other)}/token"
    for action in ("rotate", "revoke", "renew"):
        response = lab.world.http.post(path, json={"action": action}, headers=box.headers)
        lab.problem(response, "not_found")
    assert other.post("/git/log")["items"]


def test_a_revoked_sandbox_keeps_its_work_and_opens_again_with_a_rotation(lab: Lab) -> None:
    box = lab.open_sandbox()
    box.commit({"a.txt": "1\n"})
    lab.ok(lab.change_token(box, "revoke"))
    token = lab.ok(lab.change_token(box, "rotate"))["reuse_token"]
    assert Sandbox(lab.world, "lab", box.branch, token).post("/system/fetch_files", path="a.txt")["files"]


def test_an_unknown_sandbox_action_or_token_body_is_refused(lab: Lab) -> None:
    box = lab.open_sandbox()
    lab.problem(lab.change_token(box, "steal"), "validation_failed")
    for id_ in ("sbx_unknown", "sbx_%00", "x" * 600):
        response = lab.as_owner("POST", f"/v1/sandboxes/{id_}/token", json={"action": "revoke"})
        assert response.status_code in (404, 422), response.text


def test_an_expired_sandbox_is_renewed_with_its_own_token(lab: Lab) -> None:
    box = lab.open_sandbox()
    box.commit({"a.txt": "1\n"})
    with lab.later(days=91):
        lab.problem(box.try_post("/git/log"), "token_expired")
        reply = lab.ok(lab.change_token(box, "renew"))
        assert reply["reuse_token"] is None
        assert box.post("/system/fetch_files", path="a.txt")["files"]
        assert lab.ok(lab.init(box.token))["branch"] == box.branch


def test_work_slides_the_expiry_at_most_hourly(lab: Lab) -> None:
    box = lab.open_sandbox()
    first = expiry(lab, box)
    box.commit({"a.txt": "1\n"})
    assert expiry(lab, box) == first
    with lab.later(minutes=59):
        box.post("/git/log")
        assert expiry(lab, box) == first
    with lab.later(minutes=61):
        box.post("/git/log")  # a read counts, too
        slid = expiry(lab, box)
        box.post("/git/log")
    assert slid[0] == slid[1] == expiry(lab, box)[0]
    assert timedelta(minutes=60) < slid[0] - first[0] < timedelta(minutes=63)


def test_a_sandbox_in_use_never_expires(lab: Lab) -> None:
    box = lab.open_sandbox()
    for days in (80, 160, 240):
        with lab.later(days=days):
            box.commit({"a.txt": f"{days}\n"})
    with lab.later(days=331):
        lab.problem(box.try_post("/git/log"), "token_expired")


def test_a_refused_call_slides_nothing_for_others(lab: Lab) -> None:
    box, other = lab.open_sandbox(), lab.open_sandbox()
    before = expiry(lab, other)
    with lab.later(hours=2):
        response = box.try_post(
            "/commit_and_log_output", branch=other.branch, file_path="a", content="b", message="m"
        )
    lab.problem(response, "forbidden_branch")
    assert expiry(lab, other) == before


def test_an_archived_sandbox_is_closed_until_an_owner_renews_it(lab: Lab) -> None:
    box = lab.open_sandbox()
    head = box.commit({"a.txt": "1\n"})["commit_sha"]
    assert lab.ok(archive(lab, box))["state"] == "archived"
    lab.problem(box.try_post("/git/log"), "token_expired")
    lab.problem(archive(lab, box), "illegal_transition")
    lab.problem(lab.change_token(box, "rotate"), "illegal_transition")
    write = {"repo_name": "lab", "branch": box.branch, "file_path": "b", "content": "c", "message": "m"}
    lab.problem(lab.as_owner("POST", "/commit_and_log_output", json=write), "protected_branch")
    folder = (
        lab.world.home / "repos" / lab.sql("select store from ops.branches where name = %s", box.branch)[0][0]
    )
    assert box.branch not in git("for-each-ref", "refs/heads", cwd=folder)
    assert head in git("for-each-ref", "refs/bos/archive", cwd=folder)
    lab.ok(lab.change_token(box, "renew"))
    assert detail(lab, box)["state"] == "active"
    assert box.commit({"a.txt": "2\n"})["commit_sha"] in git(
        "for-each-ref", f"refs/heads/{box.branch}", cwd=folder
    )


def test_a_deleted_sandbox_keeps_a_backup_and_is_neither_renewed_nor_deleted_again(lab: Lab) -> None:
    box = lab.open_sandbox()
    head = box.commit({"a.txt": "1\n"})["commit_sha"]
    path = f"/v1/sandboxes/{lab.sandbox_id(box)}"
    kept = lab.ok(lab.as_owner("DELETE", path))["backup_id"]
    assert detail(lab, box)["state"] == "deleted"
    lab.problem(lab.as_owner("DELETE", path), "illegal_transition")
    lab.problem(lab.change_token(box, "renew"), "illegal_transition")
    lab.problem(archive(lab, box), "illegal_transition")
    listed = box.post("/system/backup/list")["items"]
    assert [(b["backup_id"], b["kind"], b["commit_sha"]) for b in listed] == [(kept, "automatic", head)]


def test_a_sandbox_user_cannot_delete_but_may_archive_the_own_sandbox(lab: Lab) -> None:
    box, other = lab.open_sandbox(), lab.open_sandbox()
    own, theirs = (f"/v1/sandboxes/{lab.sandbox_id(b)}" for b in (box, other))
    lab.problem(lab.world.http.delete(own, headers=box.headers), "policy_denied")
    lab.problem(lab.world.http.post(f"{theirs}/archive", json={}, headers=box.headers), "not_found")
    lab.problem(lab.world.http.get(theirs, headers=box.headers), "not_found")
    lab.ok(lab.world.http.post(f"{own}/archive", json={}, headers=box.headers))


def test_a_push_that_waited_is_gone_with_a_deleted_branch(lab: Lab) -> None:
    box = lab.open_sandbox()
    branch_id = lab.sql("select id from ops.branches where name = %s", box.branch)[0][0]
    lab.sql(
        "insert into ops.pending_delivery (org_id, branch_id, commit_sha, entry, memory) values (%s, %s, %s, %s, '[]')",
        lab.world.org_id, branch_id, "0" * 40, '{"id": "chg_old", "message": "old"}',
    )  # fmt: skip
    lab.sql("update ops.branches set pending = 1 where id = %s", branch_id)
    lab.ok(lab.as_owner("DELETE", f"/v1/sandboxes/{lab.sandbox_id(box)}"))
    lab.ok(lab.init(box.token))
    assert lab.sql("select count(*) from ops.pending_delivery where branch_id = %s", branch_id) == [(0,)]


def test_sandboxes_are_listed_newest_first_without_gaps_while_others_are_opened(lab: Lab) -> None:
    boxes = [lab.open_sandbox() for _ in range(5)]
    first = lab.ok(lab.as_owner("GET", "/v1/sandboxes", params={"limit": 2}))
    assert [i["branch"] for i in first["items"]] == [boxes[4].branch, boxes[3].branch]
    lab.open_sandbox()
    cursor = {"limit": 2, "cursor": first["next_cursor"]}
    second = lab.ok(lab.as_owner("GET", "/v1/sandboxes", params=cursor))
    assert [i["branch"] for i in second["items"]] == [boxes[2].branch, boxes[1].branch]
    assert "bos_rt_" not in str(first)
    lab.problem(
        lab.as_owner("GET", "/v1/sandboxes", params={**cursor, "state": "active"}), "validation_failed"
    )
    lab.problem(lab.as_owner("GET", "/v1/sandboxes", params={"cursor": "x"}), "validation_failed")
    lab.problem(lab.as_owner("GET", "/v1/sandboxes", params={"limit": 201}), "validation_failed")
    lab.problem(lab.as_owner("GET", "/v1/sandboxes", params={"repo_name": "nowhere"}), "not_found")
    lab.problem(lab.world.http.get("/v1/sandboxes", headers=boxes[0].headers), "policy_denied")


def test_a_sandbox_shows_its_figures(lab: Lab) -> None:
    box = lab.open_sandbox()
    head = box.commit({"a.txt": "1\n", "src/app.py": "print(2)\n"})["commit_sha"]
    box.commit({"a.txt": "2\n"})
    box.commit({"src/app.py": "print(1)\n"})  # as in the base again
    shown = detail(lab, box)
    assert (shown["commits"], shown["files"], shown["repo_name"]) == (3, 1, "lab")
    assert shown["head_sha"] != head


def test_a_renamed_repository_keeps_its_tokens(lab: Lab) -> None:
    lab.world.import_repo(make_repository(lab.world.home / "before"), "before")
    box = lab.open_sandbox("before")
    lab.sql("update ops.repositories set name = 'after' where name = 'before'")
    assert lab.ok(lab.init(box.token, repo_name="after"))["branch"] == box.branch
    reply = lab.ok(lab.world.http.post("/git/log", json={"reuse_token": box.token}))
    assert (reply["repo_name"], reply["branch"]) == ("after", box.branch)
    lab.problem(lab.init(box.token, repo_name="before"), "not_found")


def test_a_minimal_token_sees_four_tools(small: Lab) -> None:
    box = small.open_sandbox()
    box.commit({"a.txt": "1\n"})
    box.post("/system/fetch_files", path="a.txt")
    for path, body in (
        ("/git/log", {}), ("/git/diff", {}), ("/git/promote", {"title": "x"}), ("/system/backup", {}),
        ("/git/rollback_commit", {"commit_sha": "0" * 40, "reason": "x"}),
    ):  # fmt: skip
        small.problem(box.try_post(path, **body), "tool_not_allowed")
    small.problem(small.world.http.post(f"/v1/sandboxes/{small.sandbox_id(box)}/token", json={"action": "rotate"},
                                        headers=box.headers), "tool_not_allowed")  # fmt: skip
    token = small.ok(small.change_token(box, "rotate"))["reuse_token"]
    small.problem(Sandbox(small.world, "lab", box.branch, token).try_post("/git/log"), "tool_not_allowed")


def test_no_secret_is_stored_or_recorded_anywhere(lab: Lab) -> None:
    box = lab.open_sandbox()
    rotated = lab.ok(lab.change_token(box, "rotate"))["reuse_token"]
    tables = lab.sql("select tablename from pg_tables where schemaname = 'ops'")
    for (table,) in tables:
        text = str(lab.sql(f"select t::text from ops.{table} t"))
        assert box.token not in text, table
        assert rotated not in text, table


def test_expiry_is_far_enough_and_in_utc(lab: Lab) -> None:
    box = lab.open_sandbox()
    at = expiry(lab, box)[0]
    assert timedelta(days=89) < at - utcnow() <= timedelta(days=90)
