"""Promotion into main: checks, the approval and what it is bound to, merges that lose nothing, releases."""

import itertools

import pytest
import yaml

from tests.support.lab import Lab
from tests.support.world import Json, Sandbox, git

KEY_TEXT = (
    "aws = " + "AKIA" + "QWER7TZUIOP2ASDF" + "\n"
)  # put together here, so that no scanner takes this file for a leak
numbers = itertools.count()


@pytest.fixture
def box(lab: Lab) -> Sandbox:
    sandbox = lab.open_sandbox()
    sandbox.commit({f"feature-{next(numbers)}.txt": "1\n"}, "Add feature")
    return sandbox


def promote(box: Sandbox, **body: object) -> Json:
    return box.post("/git/promote", **{"title": "Bring it", **body})


def decide(lab: Lab, approval_id: str, decision: str = "approve", **body: object) -> object:
    return lab.as_owner("POST", f"/v1/approvals/{approval_id}", json={"decision": decision, **body})


def pull(lab: Lab, id_: str) -> Json:
    return lab.ok(lab.as_owner("GET", f"/v1/pulls/{id_}"))


def failing(reply: Json) -> dict[str, str]:
    return {c["name"]: c["detail"] for c in reply["checks"] if not c["ok"]}


def base_store(lab: Lab) -> str:
    return str(
        lab.world.home / "repos" / lab.sql("select store from ops.branches where kind = 'main' limit 1")[0][0]
    )


def on_main(lab: Lab, path: str) -> str:
    return git("show", f"{lab.tip('main')}:{path}", cwd=base_store(lab))


def changelog(lab: Lab) -> list[Json]:
    """All entries of main's changelog, rotated ones included."""
    tree = git("ls-tree", "-r", "--name-only", lab.tip("main"), cwd=base_store(lab)).split()
    blocks = [p for p in tree if p.startswith("project/changelog")]
    return [e for p in blocks for e in yaml.safe_load(on_main(lab, p)) or []]


def test_a_promotion_waits_for_an_approval_and_then_merges(lab: Lab, box: Sandbox) -> None:
    before = lab.tip("main")
    response = box.try_post("/git/promote", title="Bring it")
    assert response.status_code == 202
    opened = lab.ok(response)
    assert (opened["state"], failing(opened), opened["merge_sha"]) == ("open", {}, None)
    assert opened["pr_url"].endswith(opened["promotion_id"])
    assert lab.tip("main") == before
    approval = lab.ok(lab.as_owner("GET", f"/v1/approvals/{opened['approval_id']}"))
    assert (approval["state"], approval["risk"], approval["object"]) == (
        "pending",
        "high",
        opened["promotion_id"],
    )
    assert "Add feature" in approval["diff"]
    assert lab.ok(decide(lab, opened["approval_id"], comment="fine"))["state"] == "approved"
    merged = pull(lab, opened["promotion_id"])
    assert (merged["state"], merged["merge_sha"]) == ("merged", lab.tip("main"))
    assert git("log", "-1", "--format=%P", lab.tip("main"), cwd=base_store(lab)).split() == [
        before,
        lab.tip(box.branch),
    ]
    assert (
        git("rev-parse", "refs/heads/main", "refs/heads/sandbox", cwd=base_store(lab)).split()
        == [lab.tip("main")] * 2
    )
    assert git("fsck", "--strict", "--no-dangling", cwd=base_store(lab)) == ""


def test_a_sandbox_opened_afterwards_contains_the_merge(lab: Lab, box: Sandbox) -> None:
    name = box.post("/git/diff")["files"][0]["path"]
    lab.merged(box)
    assert lab.tip("sandbox") == lab.tip("main")
    assert lab.open_sandbox().post("/system/fetch_files", path=name)["files"]


def test_nothing_to_promote_is_a_conflict(lab: Lab) -> None:
    box = lab.open_sandbox()
    lab.problem(box.try_post("/git/promote", title="x"), "conflict")
    box.commit({"once.txt": f"{box.branch}\n"})
    lab.merged(box)
    lab.problem(box.try_post("/git/promote", title="x"), "conflict")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"title": ""}, "validation_failed"), ({"title": None}, "validation_failed"),
        ({"title": "a\nb"}, "validation_failed"),
        ({"mode": "release"}, "validation_failed"), ({"version": "1.0.0"}, "validation_failed"),
        ({"mode": "merge"}, "validation_failed"), ({"target": "nowhere"}, "not_found"),
        ({"target": "sandbox"}, "protected_branch"), ({"mode": "release", "version": "v1"}, "validation_failed"),
        ({"mode": "release", "version": "1.0.0-a..b"}, "validation_failed"),
        ({"mode": "release", "version": "1.0.0-x.lock"}, "validation_failed"),
        ({"mode": "release", "version": "01.0.0"}, "validation_failed"),
    ],
)  # fmt: skip
def test_a_malformed_promotion_is_refused(lab: Lab, box: Sandbox, body: dict[str, object], code: str) -> None:
    lab.problem(box.try_post("/git/promote", **{"title": "x", **body}), code)


def test_a_branch_is_not_promoted_into_itself_or_another_sandbox(lab: Lab, box: Sandbox) -> None:
    lab.problem(box.try_post("/git/promote", title="x", target=box.branch), "conflict")
    other = lab.open_sandbox()
    lab.problem(box.try_post("/git/promote", title="x", target=other.branch), "forbidden_branch")


def test_a_conflict_with_main_fails_its_check_and_asks_for_no_approval(lab: Lab) -> None:
    first, second = lab.open_sandbox(), lab.open_sandbox()
    first.commit({"clash.txt": "a\n"})
    second.commit({"clash.txt": "b\n"})
    lab.merged(first)
    reply = promote(second)
    assert (list(failing(reply)), reply["approval_id"]) == (["merges_cleanly"], None)
    assert "clash.txt" in failing(reply)["merges_cleanly"]
    lab.problem(lab.as_owner("POST", f"/v1/pulls/{reply['promotion_id']}/merge", json={}), "conflict")


def test_a_conflict_is_settled_by_promoting_again_with_the_files_as_they_shall_be(lab: Lab) -> None:
    first, second = lab.open_sandbox(), lab.open_sandbox()
    first.commit({"settle.txt": "a\n", "news.txt": "n\n"})
    second.commit({"settle.txt": "b\n"})
    lab.merged(first)
    assert "resolutions" in promote(second)["message"]
    before = lab.tip(second.branch)
    settled = [{"path": "settle.txt", "content": "a and b\n"}]
    wrong = {"title": "x", "target": second.branch, "resolutions": settled}
    lab.problem(second.try_post("/git/promote", **wrong), "validation_failed")
    other = [{"path": "other.txt", "content": "o\n"}]
    problem = lab.problem(second.try_post("/git/promote", title="x", resolutions=other), "conflict")
    assert [c["path"] for c in problem["conflicts"]] == ["settle.txt"]
    assert lab.tip(second.branch) == before
    reply = promote(second, resolutions=settled)
    assert (failing(reply), reply["approval_id"] is not None) == ({}, True)
    files = second.post("/system/fetch_files", mode="batch", paths=["settle.txt", "news.txt"])["files"]
    assert [f["content"] for f in files] == ["a and b\n", "n\n"]
    assert lab.ok(decide(lab, reply["approval_id"]))["state"] == "approved"


@pytest.mark.parametrize(
    ("files", "check"),
    [
        ({"project/task.yaml": "tasks: [unclosed\n"}, "delivery_files_valid"),
    ],
)
def test_a_failing_check_stops_a_promotion_until_it_is_mended(
    lab: Lab, files: dict[str, str], check: str
) -> None:
    box = lab.open_sandbox()
    box.commit({"fine.txt": f"{box.branch}\n", **files})
    reply = promote(box)
    assert (list(failing(reply)), reply["approval_id"]) == ([check], None)
    path = next(iter(files))
    box.commit({path: "tasks: {}\n" if path.endswith("yaml") else None})
    assert (failing(promote(box)), promote(box)["approval_id"] is not None) == ({}, True)


def test_a_credential_whose_exception_has_lapsed_stops_a_promotion(lab: Lab) -> None:
    box = lab.open_sandbox()
    file = {"path": f"{box.branch}.py", "content": KEY_TEXT}
    found = lab.problem(box.try_post("/commit_and_log_output", files=[file], message="Add"), "policy_denied")
    path = f"/v1/secret-findings/{found['findings'][0]['fingerprint']}"
    lab.ok(lab.as_owner("POST", path, json={"decision": "allow", "reason": "For a look.", "hours": 1}))
    box.post("/commit_and_log_output", files=[file], message="Add")
    assert failing(promote(box)) == {}
    with lab.later(hours=2):
        reply = promote(box)
        assert (list(failing(reply)), reply["approval_id"]) == (["no_credentials"], None)
        assert "AKIA" not in str(reply)
        box.commit({file["path"]: None})
        assert (failing(promote(box)), promote(box)["approval_id"] is not None) == ({}, True)


def test_a_path_or_size_that_came_around_the_rules_fails_its_check(lab: Lab, box: Sandbox) -> None:
    from builderos.assets.repositories import service as repositories
    from builderos.assets.workspaces.checks import run_checks
    from builderos.assets.workspaces.merging import preview
    from builderos.core.unit import as_system

    box.commit({"large.txt": "x" * 2000})

    def look(unit: object) -> dict[str, bool]:
        repo = repositories.find_repository(unit, "lab")  # type: ignore[arg-type]
        source = repositories.find_branch(unit, repo.id, box.branch)  # type: ignore[arg-type]
        found = preview(unit, source, repositories.main_branch(unit, repo.id))  # type: ignore[arg-type]
        found.files.append(("aux.txt", "", "0" * 40))
        return {c.name: c.ok for c in run_checks(unit, found)}  # type: ignore[arg-type]

    assert as_system(lab.world.context, lab.world.org_id, look)["paths_and_sizes"] is False  # type: ignore[arg-type]


def test_a_new_commit_voids_the_approval(lab: Lab, box: Sandbox) -> None:
    opened = promote(box)
    box.commit({"sneaked-in.txt": "x\n"})
    before = lab.tip("main")
    lab.problem(decide(lab, opened["approval_id"]), "conflict")
    assert lab.tip("main") == before
    assert lab.ok(lab.as_owner("GET", f"/v1/approvals/{opened['approval_id']}"))["state"] == "cancelled"
    again = promote(box)
    assert again["promotion_id"] == opened["promotion_id"]
    assert again["approval_id"] != opened["approval_id"]
    lab.problem(decide(lab, opened["approval_id"]), "illegal_transition")
    lab.ok(decide(lab, again["approval_id"]))
    assert on_main(lab, "sneaked-in.txt") == "x"


def test_another_title_or_mode_voids_the_approval_too(lab: Lab, box: Sandbox) -> None:
    first = promote(box, title="Harmless")["approval_id"]
    assert promote(box, title="Harmless")["approval_id"] == first
    second = promote(box, title="Release it", mode="release", version="7.0.0")["approval_id"]
    assert second != first
    lab.problem(decide(lab, first), "illegal_transition")
    shown = lab.ok(lab.as_owner("GET", f"/v1/approvals/{second}"))
    assert "Release it" in shown["reason"]


def test_main_moving_elsewhere_does_not_void_an_approval(lab: Lab, box: Sandbox) -> None:
    opened, other = promote(box), lab.open_sandbox()
    other.commit({f"{other.branch}.txt": "1\n"})
    lab.merged(other)
    lab.ok(decide(lab, opened["approval_id"]))
    assert pull(lab, opened["promotion_id"])["state"] == "merged"


def test_an_approval_may_name_the_diff_that_was_seen(lab: Lab, box: Sandbox) -> None:
    opened = promote(box)
    lab.problem(decide(lab, opened["approval_id"], diff_hash="sha256:0"), "conflict")
    seen = lab.ok(lab.as_owner("GET", f"/v1/approvals/{opened['approval_id']}"))["diff_hash"]
    lab.ok(decide(lab, opened["approval_id"], diff_hash=seen))


def test_a_denial_closes_the_promotion_and_a_new_one_can_be_opened(lab: Lab, box: Sandbox) -> None:
    opened, before = promote(box), lab.tip("main")
    assert lab.ok(decide(lab, opened["approval_id"], "deny", comment="no"))["state"] == "denied"
    assert (pull(lab, opened["promotion_id"])["state"], lab.tip("main")) == ("closed", before)
    lab.problem(decide(lab, opened["approval_id"]), "illegal_transition")
    lab.problem(
        lab.as_owner("POST", f"/v1/pulls/{opened['promotion_id']}/merge", json={}), "illegal_transition"
    )
    again = promote(box)
    assert again["promotion_id"] != opened["promotion_id"]
    lab.ok(decide(lab, again["approval_id"]))


def test_an_expired_approval_is_not_a_denial(lab: Lab, box: Sandbox) -> None:
    opened = promote(box)
    with lab.later(hours=25):
        shown = lab.ok(lab.as_owner("GET", f"/v1/approvals/{opened['approval_id']}"))
        assert shown["state"] == "expired"
        lab.problem(decide(lab, opened["approval_id"]), "illegal_transition")
        assert pull(lab, opened["promotion_id"])["state"] == "open"
        again = promote(box)
        assert again["approval_id"] != opened["approval_id"]
        lab.ok(decide(lab, again["approval_id"]))
    assert pull(lab, opened["promotion_id"])["state"] == "merged"


def test_who_approves_the_own_request_in_solo_mode_is_marked(lab: Lab, box: Sandbox) -> None:
    body = {"repo_name": "lab", "branch": box.branch, "title": "Mine"}
    own = lab.ok(lab.as_owner("POST", "/git/promote", json=body))
    assert lab.ok(decide(lab, own["approval_id"]))["self_approved"] is True
    other = lab.open_sandbox()
    other.commit({f"{other.branch}.txt": "1\n"})
    assert lab.ok(decide(lab, promote(other)["approval_id"]))["self_approved"] is False


def test_a_sandbox_user_neither_approves_nor_merges(lab: Lab, box: Sandbox) -> None:
    opened = promote(box)
    post, id_ = lab.world.http.post, opened["promotion_id"]
    for path, body in (
        (f"/v1/approvals/{opened['approval_id']}", {"decision": "approve"}),
        (f"/v1/pulls/{id_}/merge", {}), (f"/v1/pulls/{id_}/reviews", {"verdict": "approve"}),
    ):  # fmt: skip
        lab.problem(post(path, json=body, headers=box.headers), "policy_denied")
    assert lab.ok(lab.world.http.get(f"/v1/pulls/{id_}", headers=box.headers))["state"] == "open"
    stranger = lab.open_sandbox()
    lab.problem(lab.world.http.get(f"/v1/pulls/{id_}", headers=stranger.headers), "not_found")


def test_an_owner_merges_main_only_through_the_approval(lab: Lab, box: Sandbox) -> None:
    opened = promote(box)
    problem = lab.problem(
        lab.as_owner("POST", f"/v1/pulls/{opened['promotion_id']}/merge", json={}), "approval_required"
    )
    assert problem["status"] == 403


def test_a_second_promotion_after_the_first_keeps_every_entry_once(lab: Lab) -> None:
    first, second = lab.open_sandbox(), lab.open_sandbox()
    for box in (first, second):
        for number in range(3):
            box.commit({f"{box.branch}.txt": f"{number}\n"}, f"{box.branch} {number}")
    lab.merged(first)
    lab.merged(second)
    first.commit({f"{first.branch}.txt": "again\n"}, f"{first.branch} again")
    lab.merged(first)
    found = changelog(lab)
    assert len({e["id"] for e in found}) == len(found)
    messages = [e["message"] for e in found]
    for box in (first, second):
        assert [messages.count(f"{box.branch} {n}") for n in range(3)] == [1, 1, 1]
    assert messages.count(f"{first.branch} again") == 1


def test_a_release_is_tagged_and_its_version_is_taken(lab: Lab, box: Sandbox) -> None:
    opened = promote(box, mode="release", version="1.2.0-rc.1", title="First")
    other = lab.open_sandbox()
    other.commit({f"{other.branch}.txt": "1\n"})
    rival = promote(other, mode="release", version="1.2.0-rc.1")
    lab.ok(decide(lab, opened["approval_id"]))
    shown = pull(lab, opened["promotion_id"])
    assert (shown["tag"], shown["version"]) == ("v1.2.0-rc.1", "1.2.0-rc.1")
    assert git("rev-parse", "v1.2.0-rc.1^{commit}", cwd=base_store(lab)) == shown["merge_sha"]
    notes = git("cat-file", "tag", "v1.2.0-rc.1", cwd=base_store(lab))
    assert "Release 1.2.0-rc.1: First" in notes
    assert "feature-" in notes
    lab.problem(decide(lab, rival["approval_id"]), "version_exists")
    lab.problem(
        other.try_post("/git/promote", title="x", mode="release", version="1.2.0-rc.1"), "version_exists"
    )
    lab.ok(decide(lab, promote(other, mode="release", version="1.2.0")["approval_id"]))


def test_promotions_are_listed_reviewed_and_commented(lab: Lab, box: Sandbox) -> None:
    opened = promote(box, title="Look at this")
    path = f"/v1/pulls/{opened['promotion_id']}/reviews"
    shown = lab.ok(lab.as_owner("POST", path, json={"verdict": "comment", "comment": "hm"}))
    assert [(c["by"], c["text"]) for c in shown["comments"]] == [("owner", "hm")]
    lab.problem(lab.as_owner("POST", path, json={"verdict": "maybe"}), "validation_failed")
    lab.problem(lab.as_owner("POST", "/v1/pulls/pul_none/reviews", json={"verdict": "deny"}), "not_found")
    mine = lab.ok(lab.world.http.get("/v1/pulls", headers=box.headers))["items"]
    assert [p["title"] for p in mine] == ["Look at this"]
    query = {"repo_name": "lab", "branch": box.branch, "state": "open"}
    assert len(lab.ok(lab.as_owner("GET", "/v1/pulls", params=query))["items"]) == 1
    page = lab.ok(lab.as_owner("GET", "/v1/pulls", params={"limit": 1}))
    lab.problem(
        lab.as_owner("GET", "/v1/pulls", params={"cursor": page["next_cursor"], "state": "open"}),
        "validation_failed",
    )
    assert lab.ok(lab.as_owner("POST", path, json={"verdict": "approve"}))["state"] == "merged"
    lab.problem(lab.as_owner("POST", path, json={"verdict": "approve"}), "illegal_transition")


def test_an_approval_names_the_prompt_behind_the_newest_commit(lab: Lab) -> None:
    box = lab.open_sandbox()
    box.commit({"p.txt": "1\n"}, metadata={"prompt_version": "builder@1.2.0#sha256:ab"})
    shown = lab.ok(lab.as_owner("GET", f"/v1/approvals/{promote(box)['approval_id']}"))
    assert (shown["prompt_version"], shown["may_decide"]) == ("builder@1.2.0#sha256:ab", True)
    box.commit({"p.txt": "2\n"}, metadata={"prompt_version": ["not", "a", "text"]})
    shown = lab.ok(lab.as_owner("GET", f"/v1/approvals/{promote(box)['approval_id']}"))
    assert shown["prompt_version"] is None
