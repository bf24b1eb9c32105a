"""Promotion with dev branches, API keys of every scope, PRBot, pushed entries and rotated changelogs."""

from collections.abc import Iterator

import pytest
import yaml

from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.world import Json, Sandbox, git

PROTECTED = [
    "builderos.yaml", "builderos.policy.yaml", ".env", ".env.local", "deploy/server.pem", "id_ed25519", ".npmrc",
    "requirements.txt", "requirements-dev.txt", "uv.lock", "package.json", "pnpm-lock.yaml", "pyproject.toml",
    "sub/Cargo.toml", "go.mod", "Dockerfile", "Makefile", "CODEOWNERS", ".gitattributes", ".gitmodules", ".gitignore",
    ".github/workflows/ci.yml", ".gitlab-ci.yml", ".ci/run", "ship/x/pipeline.yaml", "policies/a.cedar",
]  # fmt: skip


def with_dev(lab: Lab) -> None:
    repo = lab.sql("select id from ops.repositories where name = 'lab'")[0][0]
    lab.ok(lab.as_owner("POST", f"/v1/repos/{repo}/branches", json={"branch": "dev"}), 201)


@pytest.fixture(scope="module")
def plain(databases: Databases) -> Iterator[Lab]:
    """A server with a dev branch, PRBot off."""
    with lab_in_temp(databases) as made:
        with_dev(made)
        yield made


@pytest.fixture(scope="module")
def bot(databases: Databases) -> Iterator[Lab]:
    """A server with a dev branch and PRBot."""
    with lab_in_temp(databases, prbot=True) as made:
        with_dev(made)
        yield made


def promote(box: Sandbox, **body: object) -> Json:
    return box.post("/git/promote", **{"title": "Bring it", **body})


def on(lab: Lab, branch: str, path: str) -> str | None:
    body = {"repo_name": "lab", "branch": branch, "path": path}
    files = lab.ok(lab.as_owner("POST", "/system/fetch_files", json=body))["files"]
    return files[0]["content"] if files else None


def changelog(lab: Lab, branch: str) -> list[Json]:
    """All entries, of rotated blocks too."""
    store = lab.sql("select store from ops.branches where name = %s", branch)[0][0]
    folder = lab.world.home / "repos" / store
    tree = git("ls-tree", "-r", "--name-only", lab.tip(branch), cwd=folder).split()
    texts = [
        git("show", f"{lab.tip(branch)}:{p}", cwd=folder) for p in tree if p.startswith("project/changelog")
    ]
    return [entry for text in texts for entry in yaml.safe_load(text) or []]


def test_an_owner_merges_into_dev_without_an_approval(plain: Lab) -> None:
    box = plain.open_sandbox()
    box.commit({f"{box.branch}.txt": "1\n"})
    opened = promote(box, target="dev")
    assert (opened["state"], opened["approval_id"]) == ("open", None)
    path = f"/v1/pulls/{opened['promotion_id']}/merge"
    plain.problem(plain.world.http.post(path, json={}, headers=box.headers), "policy_denied")
    merged = plain.ok(plain.as_owner("POST", path, json={}))
    assert (merged["state"], merged["merge_sha"]) == ("merged", plain.tip("dev"))
    assert on(plain, "dev", f"{box.branch}.txt") == "1\n"
    assert on(plain, "main", f"{box.branch}.txt") is None
    plain.problem(plain.as_owner("POST", path, json={}), "illegal_transition")


def test_dev_is_promoted_into_main_with_an_approval(plain: Lab) -> None:
    body = {"repo_name": "lab", "branch": "dev", "file_path": "team.txt", "content": "1\n", "message": "m"}
    plain.ok(plain.world.http.post("/commit_and_log_output", json=body, headers=plain.key("write")))
    sent = {"repo_name": "lab", "branch": "dev", "title": "Team"}
    opened = plain.ok(
        plain.world.http.post("/git/promote", json=sent, headers=plain.key("promote", "read")), 202
    )
    path = f"/v1/approvals/{opened['approval_id']}"
    for scopes in (("read",), ("write",), ("promote",), ("admin",)):
        response = plain.world.http.post(path, json={"decision": "approve"}, headers=plain.key(*scopes))
        plain.problem(response, "policy_denied")
    decided = plain.world.http.post(path, json={"decision": "approve"}, headers=plain.key("approve"))
    assert plain.ok(decided)["state"] == "approved"
    assert on(plain, "main", "team.txt") == "1\n"


def test_a_key_promotes_only_with_its_scope_and_never_a_sandbox(plain: Lab) -> None:
    box = plain.open_sandbox()
    box.commit({f"{box.branch}.txt": "1\n"})
    post = plain.world.http.post
    for branch, scopes, code in (
        (box.branch, ("read", "promote"), "forbidden_branch"), ("dev", ("read", "write"), "policy_denied"),
        ("dev", ("approve", "admin", "read"), "policy_denied"),
    ):  # fmt: skip
        sent = {"repo_name": "lab", "branch": branch, "title": "x"}
        plain.problem(post("/git/promote", json=sent, headers=plain.key(*scopes)), code)


def tools_of(lab: Lab, bearer: dict[str, str]) -> set[str]:
    listed = lab.ok(lab.world.http.post("/actions/list", json={}, headers=bearer))["tools"]
    return {tool["name"] for tool in listed}


def test_a_workspace_promotes_only_if_whoever_opened_it_may(plain: Lab) -> None:
    post, rule = plain.world.http.post, "workspace-of-a-limited-token"
    opened = plain.ok(post("/sandbox/init", json={"repo_name": "lab"}, headers=plain.key("read", "write")))
    limited = {"Authorization": f"Bearer {opened['reuse_token']}"}
    again = plain.ok(post("/sandbox/init", json={"repo_name": "lab", "force_new": True}, headers=limited))
    ways = [opened["reuse_token"], again["reuse_token"]]
    sandbox_id = plain.sql("select sandbox_id from ops.credentials where actor_name = %s", opened["branch"])
    path = f"/v1/sandboxes/{sandbox_id[0][0]}/token"
    for token in ways:
        bearer = {"Authorization": f"Bearer {token}"}
        change = {"message": "m", "file_path": "limited.txt", "content": "x\n"}
        plain.ok(post("/commit_and_log_output", json=change, headers=bearer))
        for target in ("main", "dev"):
            sent = {"title": "x", "target": target}
            refused = plain.problem(post("/git/promote", json=sent, headers=bearer), "policy_denied")
            assert refused["policy_rule"] == rule
    rotated = plain.ok(post(path, json={"action": "rotate"}, headers=limited))["reuse_token"]
    bearer = {"Authorization": f"Bearer {rotated}"}
    refused = plain.problem(post("/git/promote", json={"title": "x"}, headers=bearer), "policy_denied")
    assert refused["policy_rule"] == rule
    key = plain.key("read", "write", "promote")
    assert "promote" not in tools_of(plain, bearer)
    full = plain.ok(post("/sandbox/init", json={"repo_name": "lab"}, headers=key))["reuse_token"]
    bearer = {"Authorization": f"Bearer {full}"}
    assert "promote" in tools_of(plain, bearer)
    change = {"message": "m", "file_path": "full.txt", "content": "x\n"}
    plain.ok(post("/commit_and_log_output", json=change, headers=bearer))
    plain.ok(post("/git/promote", json={"title": "x"}, headers=bearer), 202)


def test_without_prbot_a_tiny_change_waits_for_a_person(plain: Lab) -> None:
    box = plain.open_sandbox()
    box.commit({f"{box.branch}.txt": "1\n"})
    opened = promote(box, target="dev")
    assert opened["state"] == "open"
    shown = plain.ok(plain.as_owner("GET", f"/v1/pulls/{opened['promotion_id']}"))
    assert shown["comments"] == []


@pytest.mark.parametrize(("lines", "merged"), [(1, True), (4, True), (5, False), (40, False)])
def test_prbot_merges_four_lines_into_dev_and_not_five(bot: Lab, lines: int, merged: bool) -> None:
    box = bot.open_sandbox()
    name = f"{box.branch}.txt"
    box.commit({name: "x\n" * lines})
    opened = promote(box, target="dev")
    assert (opened["state"] == "merged") is merged
    assert (on(bot, "dev", name) is not None) is merged
    shown = bot.ok(bot.as_owner("GET", f"/v1/pulls/{opened['promotion_id']}"))
    assert [c["by"] for c in shown["comments"]] == ["PRBot"]
    assert ("A person should look" in shown["comments"][0]["text"]) is not merged


def test_prbot_counts_deleted_lines_as_well(bot: Lab) -> None:
    box = bot.open_sandbox()
    box.commit({"README.md": "one\ntwo\nthree\nfour\n"})
    assert promote(box, target="dev")["state"] == "open"


@pytest.mark.parametrize("path", PROTECTED)
def test_prbot_leaves_every_protected_path_to_a_person(bot: Lab, path: str) -> None:
    from builderos.assets.workspaces import prbot

    assert prbot._PROTECTED.search(path)
    assert prbot._PROTECTED.search(path.upper())
    if path.startswith(("builderos.yaml", "Makefile", ".ci")):  # the rest of the way once for some
        box = bot.open_sandbox()
        box.commit({path: "version: 1\n" if path.endswith("yaml") else "x\n"})
        assert promote(box, target="dev")["state"] == "open"


@pytest.mark.parametrize(
    "path", ["src/app.py", "docs/environment.md", "environment.txt", "keys.md", "src/shipping.py"]
)
def test_ordinary_paths_are_not_protected(path: str) -> None:
    from builderos.assets.workspaces import prbot

    assert not prbot._PROTECTED.search(path)


def test_prbot_leaves_binary_files_and_main_to_a_person(bot: Lab) -> None:
    box = bot.open_sandbox()
    files = [{"path": f"{box.branch}.bin", "content": "AAEC", "encoding": "base64"}]
    box.post("/commit_and_log_output", files=files, message="m")
    assert promote(box, target="dev")["state"] == "open"
    tiny = bot.open_sandbox()
    tiny.commit({f"{tiny.branch}.txt": "1\n"})
    opened = promote(tiny)
    assert (opened["state"], opened["approval_id"] is not None) == ("open", True)
    assert on(bot, "main", f"{tiny.branch}.txt") is None


def test_prbot_merges_nothing_whose_checks_fail(bot: Lab) -> None:
    box = bot.open_sandbox()
    box.commit({"project/task.yaml": "tasks: [\n"})
    assert promote(box, target="dev")["state"] == "open"


def test_pushed_entries_reach_main_once_however_often_their_branch_is_promoted(plain: Lab) -> None:
    box = plain.open_sandbox()
    branch_id = plain.sql("select id from ops.branches where name = %s", box.branch)[0][0]
    box.commit({f"{box.branch}.txt": "1\n"})
    plain.sql(
        "insert into ops.pending_delivery (org_id, branch_id, commit_sha, entry, memory) values (%s, %s, %s, %s, '[]')",
        plain.world.org_id, branch_id, "0" * 40,
        '{"id": "chg_01M7Y0000000000000000PUSH0", "timestamp": "2026-01-01T00:00:00Z", "paths": ["x"],'
        ' "message": "pushed",'
        ' "task_id": null, "committed_by": "x", "branch": "x", "tool": "git", "agent_version": null, "run_id": null,'
        ' "reverts": null}',
    )  # fmt: skip
    plain.sql("update ops.branches set pending = 1 where id = %s", branch_id)
    plain.merged(box)
    plain.problem(box.try_post("/git/promote", title="again"), "conflict")
    box.commit({f"{box.branch}.txt": "2\n"})
    plain.merged(box)
    assert [e["message"] for e in changelog(plain, "main")].count("pushed") == 1


def test_two_changelogs_that_both_rotated_are_merged_without_loss(plain: Lab) -> None:
    boxes = (plain.open_sandbox(), plain.open_sandbox())
    for box in boxes:
        for number in range(210):
            box.commit({f"{box.branch}.txt": f"{number}\n"}, f"{box.branch} {number}")
        assert len(changelog(plain, box.branch)) >= 210
    for box in boxes:
        plain.merged(box)
    found = changelog(plain, "main")
    assert len({e["id"] for e in found}) == len(found)
    messages = {e["message"] for e in found}
    assert {f"{box.branch} {number}" for box in boxes for number in range(210)} <= messages
