"""Which branch a call is about: who may write and read where, and what happens when none is named."""

from collections.abc import Iterator

import pytest

from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.world import Sandbox, make_repository

WRITE = {"file_path": "a.txt", "content": "x\n", "message": "m"}
WRITES: list[tuple[str, dict[str, object]]] = [
    ("/commit_and_log_output", WRITE),
    ("/git/rollback_commit", {"commit_sha": "0" * 40, "reason": "r"}),
    ("/system/backup/bak_x/restore", {}),
    ("/tasks/lifecycle", {"action": "create", "task_id": "t", "title": "t"}),
    ("/sandbox/init", {"mode": "project", "project_name": "p"}),
]
READS: list[tuple[str, dict[str, object]]] = [
    ("/system/fetch_files", {"path": "README.md"}), ("/git/log", {}), ("/git/diff", {}), ("/system/backup/list", {}),
]  # fmt: skip


@pytest.fixture(scope="module")
def team(databases: Databases) -> Iterator[Lab]:
    """A server whose members write to `dev` when they name no branch."""
    with lab_in_temp(databases, default_write_branch="dev") as made:
        repo = made.sql("select id from ops.repositories")[0][0]
        made.ok(made.as_owner("POST", f"/v1/repos/{repo}/branches", json={"branch": "dev"}), 201)
        yield made


@pytest.fixture(scope="module")
def boxes(lab: Lab) -> tuple[Sandbox, Sandbox]:
    return lab.open_sandbox(), lab.open_sandbox()


@pytest.mark.parametrize(("path", "body"), WRITES, ids=[p for p, _ in WRITES])
@pytest.mark.parametrize(
    "branch", ["main", "refs/heads/main", "sandbox", "other", "sandbox-none-such", "backup/2026-01-01"]
)
def test_a_sandbox_user_writes_nowhere_but_on_the_own_branch(
    lab: Lab, boxes: tuple[Sandbox, Sandbox], path: str, body: dict[str, object], branch: str
) -> None:
    mine, other = boxes
    name = other.branch if branch == "other" else branch
    tips = [lab.tip(b) for b in ("main", "sandbox", other.branch)]
    response = mine.try_post(path, branch=name, **body)
    assert response.status_code == 403, response.text
    assert response.json()["code"] in ("forbidden_branch", "protected_branch")
    assert [lab.tip(b) for b in ("main", "sandbox", other.branch)] == tips


@pytest.mark.parametrize(("path", "body"), READS, ids=[p for p, _ in READS])
def test_a_sandbox_user_reads_the_own_branch_and_main_alone(
    lab: Lab, boxes: tuple[Sandbox, Sandbox], path: str, body: dict[str, object]
) -> None:
    mine, other = boxes
    lab.ok(mine.try_post(path, **body))
    if path != "/system/backup/list":
        lab.ok(mine.try_post(path, branch="main", **body))
    for branch in (other.branch, "sandbox", "sandbox-none-such"):
        lab.problem(mine.try_post(path, branch=branch, **body), "forbidden_branch")


def test_nobody_writes_the_shared_branches_directly(lab: Lab) -> None:
    lab.open_sandbox()
    key = lab.key("read", "write", "promote", "approve", "admin")
    for headers in (lab.world.owner, key):
        for branch in ("main", "sandbox"):
            body = {"repo_name": "lab", "branch": branch, **WRITE}
            response = lab.world.http.post("/commit_and_log_output", json=body, headers=headers)
            lab.problem(response, "protected_branch")


def test_without_a_branch_the_token_names_it(lab: Lab) -> None:
    box = lab.open_sandbox()
    body = {"reuse_token": box.token, **WRITE}
    reply = lab.ok(lab.world.http.post("/commit_and_log_output", json=body))
    assert (reply["branch"], reply["repo_name"]) == (box.branch, "lab")


def test_without_a_branch_or_default_a_call_is_refused(lab: Lab) -> None:
    key = lab.key("read", "write")
    for headers in (lab.world.owner, key):
        for path, body in (("/commit_and_log_output", WRITE), ("/git/log", {})):
            response = lab.world.http.post(path, json={"repo_name": "lab", **body}, headers=headers)
            lab.problem(response, "branch_required")


def test_the_default_write_branch_is_for_members_and_keys_with_write_alone(team: Lab) -> None:
    body = {"repo_name": "lab", **WRITE}
    post = team.world.http.post
    assert team.ok(post("/commit_and_log_output", json=body, headers=team.world.owner))["branch"] == "dev"
    written = post("/commit_and_log_output", json={**body, "content": "2\n"}, headers=team.key("write"))
    assert team.ok(written)["branch"] == "dev"
    team.problem(post("/commit_and_log_output", json=body, headers=team.key("read")), "policy_denied")
    team.problem(post("/commit_and_log_output", json=body), "unauthenticated")
    box = team.open_sandbox()
    team.problem(box.try_post("/commit_and_log_output", branch="dev", **WRITE), "forbidden_branch")
    assert box.commit({"a.txt": "mine\n"})["branch"] == box.branch


def test_a_read_is_never_turned_to_the_default_write_branch(team: Lab) -> None:
    response = team.world.http.post("/git/log", json={"repo_name": "lab"}, headers=team.world.owner)
    team.problem(response, "branch_required")


def test_a_key_writes_no_sandbox(lab: Lab) -> None:
    box = lab.open_sandbox()
    body = {"repo_name": "lab", "branch": box.branch, **WRITE}
    lab.problem(
        lab.world.http.post("/commit_and_log_output", json=body, headers=lab.key("write")), "forbidden_branch"
    )


def test_repository_and_branch_must_fit_the_token(lab: Lab) -> None:
    lab.world.import_repo(make_repository(lab.world.home / "two"), "two")
    one, two = lab.open_sandbox(), lab.open_sandbox("two")
    lab.problem(one.try_post("/git/log", repo_name="two"), "not_found")
    lab.problem(one.try_post("/git/log", repo_name="nowhere"), "not_found")
    lab.problem(one.try_post("/git/log", repo_name="two", branch="main"), "not_found")
    response = one.try_post("/commit_and_log_output", repo_name="two", branch=two.branch, **WRITE)
    assert response.status_code in (403, 404)
    lab.problem(
        lab.as_owner("POST", "/git/log", json={"repo_name": "lab", "branch": two.branch}), "not_found"
    )
    lab.problem(lab.as_owner("POST", "/git/log", json={"branch": "main"}), "validation_failed")


def test_two_repositories_of_one_name_are_told_apart_by_their_owner(lab: Lab) -> None:
    for owner in ("ann", "bob"):
        source = make_repository(lab.world.home / owner, {"who.txt": f"{owner}\n"})
        body = {"source": str(source), "name": "same", "owner": owner}
        lab.ok(lab.as_owner("POST", "/v1/repos/import", json=body), 201)
    lab.problem(lab.init(repo_name="same"), "conflict")
    lab.problem(lab.as_owner("POST", "/git/log", json={"repo_name": "same", "branch": "main"}), "conflict")
    reply = lab.ok(lab.init(repo_name="same", repo_owner="bob"))
    box = Sandbox(lab.world, "same", reply["branch"], reply["reuse_token"])
    assert box.post("/system/fetch_files", path="who.txt")["files"][0]["content"] == "bob\n"


def test_a_foreign_organisation_sees_neither_repository_nor_sandbox(lab: Lab) -> None:
    mine, other = lab.open_sandbox(), lab.second_org("theirs")
    source = make_repository(lab.world.home / "foreign")
    lab.ok(
        lab.world.http.post(
            "/v1/repos/import", json={"source": str(source), "name": "far"}, headers=other.owner
        ),
        201,
    )
    theirs = other.open_sandbox("far")
    kept = mine.post("/system/backup")["backup_id"]
    mine.commit({"new.txt": "1\n"})
    pull = mine.post("/git/promote", title="x")
    repo = lab.sql("select id from ops.repositories where name = 'lab'")[0][0]
    own = lab.sandbox_id(mine)
    calls = [
        ("POST", "/git/log", {"repo_name": "lab", "branch": mine.branch}), ("GET", f"/v1/sandboxes/{own}", None),
        ("POST", "/commit_and_log_output", {"repo_name": "lab", "branch": mine.branch, **WRITE}),
        ("POST", f"/v1/sandboxes/{own}/token", {"action": "rotate"}), ("DELETE", f"/v1/sandboxes/{own}", None),
        ("POST", f"/v1/sandboxes/{own}/reset", {"to": "main"}), ("POST", f"/v1/sandboxes/{own}/share", {}),
        ("GET", f"/v1/pulls/{pull['promotion_id']}", None), ("GET", f"/v1/approvals/{pull['approval_id']}", None),
        ("POST", f"/v1/approvals/{pull['approval_id']}", {"decision": "approve"}),
        ("POST", f"/v1/pulls/{pull['promotion_id']}/merge", {}), ("GET", f"/v1/repos/{repo}", None),
        ("POST", f"/v1/repos/{repo}/protect", {}),
    ]  # fmt: skip
    for headers in (other.owner, theirs.headers):
        for method, path, body in calls:
            response = lab.world.http.request(method, path, headers=headers, json=body)
            assert response.status_code in (403, 404), (path, response.text)
            # A sandbox's token decides about no approval at all, there or not.
            refusals = {"not_found", "forbidden_branch"} | (
                {"policy_denied"} if "/approvals/" in path else set()
            )
            assert response.json()["code"] in refusals, (path, response.text)
            if headers is other.owner:
                assert response.status_code == 404, (path, response.text)
    restore = f"/system/backup/{kept}/restore"
    lab.problem(lab.world.http.post(restore, json={}, headers=theirs.headers), "not_found")
    lists = (
        "/v1/sandboxes",
        "/v1/pulls",
        "/v1/approvals",
        "/v1/repos",
        "/v1/audit",
        "/v1/alerts",
        "/v1/api-keys",
    )
    for path in lists:
        shown = lab.ok(lab.world.http.get(path, headers=other.owner))
        assert mine.branch not in str(shown) or path == "/v1/audit"  # it names what they asked for themselves
        assert lab.world.org_id not in str(shown)
    assert lab.tip(mine.branch) == pull_head(lab, pull["promotion_id"])


def pull_head(lab: Lab, id_: str) -> str:
    return lab.ok(lab.as_owner("GET", f"/v1/pulls/{id_}"))["head_sha"]


def test_two_credentials_must_be_of_one_organisation(lab: Lab) -> None:
    box, other = lab.open_sandbox(), lab.second_org("mixed")
    body = {"reuse_token": box.token, "path": "README.md"}
    lab.ok(lab.world.http.post("/system/fetch_files", json=body, headers=lab.world.owner))
    lab.problem(lab.world.http.post("/system/fetch_files", json=body, headers=other.owner), "token_invalid")
