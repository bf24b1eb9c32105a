"""From a line of code to the person who said yes: through the public doors, from commits, pushes and imports."""

from collections.abc import Iterator

import pytest

from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.world import Json, Sandbox, git, make_repository


@pytest.fixture(scope="module")
def lab(databases: Databases) -> Iterator[Lab]:
    with lab_in_temp(databases) as made:
        yield made


def why(lab: Lab, path: str, line: int, branch: str = "main", **params: object) -> Json:
    asked = {"repo_name": "lab", "path": path, "line": line, "branch": branch} | params
    return lab.ok(lab.as_owner("GET", "/v1/why", params=asked))


def provenance(lab: Lab, id_: str) -> Json:
    return lab.ok(lab.as_owner("GET", f"/v1/provenance/{id_}"))


def edges(reply: Json) -> set[tuple[str, str, str]]:
    return {(edge["subject"], edge["relation"], edge["object"]) for edge in reply["edges"]}


def promoted(lab: Lab, path: str, text: str) -> tuple[Sandbox, str, Json]:
    """A file brought into main with a comment: the sandbox, the commit, what the promotion said."""
    box = lab.open_sandbox()
    files = [{"path": path, "content": text}]
    made = box.post("/commit_and_log_output", files=files, message=f"Add {path}\n\nBecause.", agent_version="gpt-x",
                    task_id="2.1_parser")  # fmt: skip
    opened = box.post("/git/promote", title=f"Bring {path}")
    body = {"decision": "approve", "comment": "Reads well"}
    lab.ok(lab.as_owner("POST", f"/v1/approvals/{opened['approval_id']}", json=body))
    return box, made["commit_sha"], opened


def test_a_line_of_main_leads_to_its_commit_its_maker_and_who_approved_it(lab: Lab) -> None:
    box, sha, opened = promoted(lab, "src/story.py", "one = 1\ntwo = 2\nthree = 3\n")
    told = why(lab, "src/story.py", 2)
    assert (told["text"], told["commit"]["sha"], told["commit"]["branch"]) == ("two = 2", sha, box.branch)
    commit, act = told["commit"], told["commit"]["act"]
    line = lab.events(object=sha)[0]
    assert (commit["agent_version"], commit["task_id"], commit["author"]) == (
        "gpt-x",
        "2.1_parser",
        box.branch,
    )
    assert {k: act[k] for k in ("seq", "hash", "actor", "role", "door", "request_id", "rules")} == {
        k: line[k] for k in ("seq", "hash", "actor", "role", "door", "request_id", "rules")
    }
    assert act["tool"] == "commit_and_log@1"
    (step,) = told["promotions"]
    merge = lab.events(type="merge", branch="main")[0]
    assert (step["id"], step["target"], step["merge_sha"]) == (
        opened["promotion_id"],
        "main",
        merge["object"],
    )
    assert step["act"]["rules"] == merge["rules"]
    approval = step["approval"]
    decided = lab.events(type="approval.decided", object=approval["id"])[0]
    assert approval["state"] == "approved"
    assert approval["diff_hash"] == step["diff_hash"] == decided["payload"]["diff_hash"]
    assert [(d["name"], d["verdict"], d["comment"], d["who"]) for d in approval["decisions"]] == [
        ("owner", "approve", "Reads well", decided["actor"])
    ]
    story = " ".join(told["story"])
    for words in (sha[:10], "Add src/story.py", box.branch, "commit_and_log@1", "gpt-x", "2.1_parser", "sandbox-own",
                  "Bring src/story.py", "owner", "Reads well", f"line {line['seq']} of the ledger"):  # fmt: skip
        assert words in story, (words, story)


def test_the_edges_lead_from_commit_to_approver_without_a_gap(lab: Lab) -> None:
    _, sha, opened = promoted(lab, "src/edges.py", "x = 1\n")
    found = provenance(lab, sha)
    line = lab.events(object=sha)[0]
    call, promotion, approval = (
        f"call:{line['request_id']}", f"promotion:{opened['promotion_id']}", f"approval:{opened['approval_id']}",
    )  # fmt: skip
    owner = lab.events(type="approval.decided", object=opened["approval_id"])[0]["actor"]
    assert edges(found) >= {
        (f"commit:{sha}", "made_by", call), (call, "of_tool", "tool:commit_and_log@1"), (call, "through", "door:http"),
        (call, "by", f"actor:{line['actor']}"), (call, "allowed_by", "rule:sandbox-own"),
        (call, "recorded_as", f"line:{line['seq']}"), (f"commit:{sha}", "with_agent_version", "agent_version:gpt-x"),
        (f"commit:{sha}", "brought_by", promotion), (promotion, "needed", approval),
        (approval, "approved_by", f"actor:{owner}"),
        (promotion, "merged_as", f"commit:{found['promotions'][0]['merge_sha']}"),
    }  # fmt: skip
    for id_, kind in ((opened["promotion_id"], "promotion"), (opened["approval_id"], "approval")):
        other = provenance(lab, id_)
        assert other["kind"] == kind
        assert (promotion, "needed", approval) in edges(other)
    merge = provenance(lab, found["promotions"][0]["merge_sha"])
    assert merge["commit"]["act"]["type"] == "merge"
    assert merge["promotions"][0]["id"] == opened["promotion_id"]


def test_each_line_has_the_story_of_its_own_commit(lab: Lab) -> None:
    box = lab.open_sandbox()
    first = box.commit({"mixed.py": "a\nb\nc\n"})["commit_sha"]
    second = box.commit({"mixed.py": "a\nB\nc\n"})["commit_sha"]
    shas = [why(lab, "mixed.py", n, box.branch)["commit"]["sha"] for n in (1, 2, 3)]
    assert shas == [first, second, first]
    told = why(lab, "mixed.py", 2, box.branch)
    assert told["promotions"] == []
    expected = git("blame", "-l", "-s", "-L2,2", box.branch, "--", "mixed.py",
                   cwd=lab.world.home / "repos" / store_of(lab, box))  # fmt: skip
    assert expected.startswith(second)


def store_of(lab: Lab, box: Sandbox) -> str:
    return str(lab.sql("select store from ops.branches where name = %s", box.branch)[0][0])


def test_a_line_of_a_second_workspace_names_both_promotions_separately(lab: Lab) -> None:
    _, first, opened = promoted(lab, "shared.py", "one\n")
    box = lab.open_sandbox()
    second = box.commit({"shared.py": "one\ntwo\n"})["commit_sha"]
    lab.merged(box, "The second")
    told = [why(lab, "shared.py", n) for n in (1, 2)]
    assert [t["commit"]["sha"] for t in told] == [first, second]
    assert [t["promotions"][0]["title"] for t in told] == ["Bring shared.py", "The second"]
    assert [len(t["promotions"]) for t in told] == [1, 1]
    assert told[0]["promotions"][0]["id"] == opened["promotion_id"]


def test_a_line_that_was_there_before_the_import_says_so(lab: Lab) -> None:
    told = why(lab, "README.md", 1)
    assert told["commit"]["act"] is None
    assert told["commit"]["author"] == "git:t"
    assert "before the repository came here" in " ".join(told["story"])
    lab.problem(lab.as_owner("GET", f"/v1/provenance/{told['commit']['sha']}"), "not_found")


def test_what_is_not_there_is_said_plainly(lab: Lab) -> None:
    for params, code in (
        ({"path": "nothing.py", "line": 1}, "not_found"), ({"path": "src", "line": 1}, "not_found"),
        ({"path": "README.md", "line": 99}, "validation_failed"),
        ({"path": "README.md", "line": 0}, "validation_failed"),
        ({"path": "../etc/passwd", "line": 1}, "not_found"), ({"path": "--help", "line": 1}, "not_found"),
        ({"path": "README.md", "line": 1, "branch": "sandbox-no-such"}, "not_found"),
        ({"path": "README.md", "line": 1, "repo_name": "nothing"}, "not_found"),
    ):  # fmt: skip
        lab.problem(lab.as_owner("GET", "/v1/why", params={"repo_name": "lab"} | params), code)
    for id_ in (
        "0" * 40,
        "pul_01HZZZZZZZZZZZZZZZZZZZZZZZ",
        "apr_01HZZZZZZZZZZZZZZZZZZZZZZZ",
        "x",
        "HEAD",
        "0" * 39,
    ):
        lab.problem(lab.as_owner("GET", f"/v1/provenance/{id_}"), "not_found")


def test_a_workspace_reads_its_own_story_and_mains_but_no_other(lab: Lab) -> None:
    box, sha, _ = promoted(lab, "src/mine.py", "mine = 1\n")
    stranger = lab.open_sandbox()
    hidden = stranger.commit({"theirs.py": "x\n"})["commit_sha"]
    http = lab.world.http
    told = lab.ok(http.get("/v1/why?path=src/mine.py&line=1", headers=box.headers))
    assert (told["commit"]["sha"], told["branch"]) == (sha, box.branch)
    on_main = lab.ok(http.get("/v1/why?path=src/mine.py&line=1&branch=main", headers=stranger.headers))
    decision = on_main["promotions"][0]["approval"]["decisions"][0]
    assert (decision["name"], decision["comment"]) == ("owner", None)
    assert lab.ok(http.get(f"/v1/provenance/{sha}", headers=stranger.headers))["commit"]["sha"] == sha
    lab.problem(http.get(f"/v1/provenance/{hidden}", headers=box.headers), "not_found")
    params = {"path": "theirs.py", "line": 1, "branch": stranger.branch}
    lab.problem(http.get("/v1/why", params=params, headers=box.headers), "forbidden_branch")


def test_another_organisation_sees_none_of_it(lab: Lab) -> None:
    _, sha, opened = promoted(lab, "src/private.py", "x\n")
    other = lab.second_org("elsewhere")
    for id_ in (sha, opened["promotion_id"], opened["approval_id"]):
        lab.problem(lab.world.http.get(f"/v1/provenance/{id_}", headers=other.owner), "not_found")
    source = make_repository(lab.world.home / "theirs")
    body = {"source": str(source), "name": "lab"}
    lab.ok(lab.world.http.post("/v1/repos/import", json=body, headers=other.owner), 201)
    params = {"repo_name": "lab", "path": "src/private.py", "line": 1}
    lab.problem(lab.world.http.get("/v1/why", params=params, headers=other.owner), "not_found")


def test_a_prompt_that_a_commit_names_is_an_edge_a_trailer_and_part_of_the_story(lab: Lab) -> None:
    box = lab.open_sandbox()
    version = "planner@1.3.0#sha256:" + "a" * 64
    sha = box.commit({"prompted.py": "x\n"}, metadata={"prompt_version": version})["commit_sha"]
    found = provenance(lab, sha)
    assert found["commit"]["prompt_version"] == version
    assert (f"commit:{sha}", "with_prompt_version", f"prompt_version:{version}") in edges(found)
    assert f"prompt {version}" in " ".join(why(lab, "prompted.py", 1, box.branch)["story"])
    folder = lab.world.home / "repos" / store_of(lab, box)
    assert f"BuilderOS-Prompt-Version: {version}" in git("log", "-1", "--format=%B", sha, cwd=folder)


@pytest.mark.parametrize("told", ["two\nlines", "x" * 201, 7, ["a"], {"a": 1}, ""])
def test_what_is_no_version_of_a_prompt_is_none(lab: Lab, told: object) -> None:
    box = lab.open_sandbox()
    sha = box.commit({"odd.py": f"{told}\n"}, metadata={"prompt_version": told})["commit_sha"]
    folder = lab.world.home / "repos" / store_of(lab, box)
    assert "Prompt-Version" not in git("log", "-1", "--format=%B", sha, cwd=folder)
    version = provenance(lab, sha)["commit"]["prompt_version"]
    assert version is None or len(version) <= 200


def test_a_line_that_an_undo_brought_back_leads_to_who_wrote_it(lab: Lab) -> None:
    box = lab.open_sandbox()
    first = box.commit({"back.py": "a\nkeep me\nz\n"})["commit_sha"]
    bad = box.commit({"back.py": "a\nz\nmore\n"})["commit_sha"]
    undo = box.post("/git/rollback_commit", commit_sha=bad, reason="It was needed")["new_sha"]
    told = why(lab, "back.py", 2, box.branch)
    assert told["commit"]["sha"] == undo
    assert [(step["undid"], step["commit"]["sha"]) for step in told["earlier"]] == [(bad, first)]
    found = {(edge["subject"], edge["relation"], edge["object"]) for edge in told["edges"]}
    assert {
        (f"commit:{undo}", "undid", f"commit:{bad}"),
        (f"commit:{undo}", "restored_from", f"commit:{first}"),
    } <= found
    story = " ".join(told["story"])
    assert f"commit {first[:10]}" in story
    assert "brought it back" in story
    again = box.post("/git/rollback_commit", commit_sha=undo, reason="Not so")["new_sha"]
    box.post("/git/rollback_commit", commit_sha=again, reason="After all")
    assert [step["commit"]["sha"] for step in why(lab, "back.py", 2, box.branch)["earlier"]] == [undo, first]
    assert why(lab, "back.py", 1, box.branch)["earlier"] == []


def test_a_line_that_a_reset_or_a_restore_brought_back_does_so_too(lab: Lab) -> None:
    box = lab.open_sandbox()
    first = box.commit({"deep.py": "one of a kind\n", "other.py": "1\n"})["commit_sha"]
    kept = box.post("/system/backup")["backup_id"]
    gone = box.commit({"deep.py": "another\n"})["commit_sha"]
    box.post(f"/system/backup/{kept}/restore")
    told = why(lab, "deep.py", 1, box.branch)
    assert told["commit"]["act"]["type"] == "restore"
    assert [(step["undid"], step["commit"]["sha"]) for step in told["earlier"]] == [(gone, first)]
    box.commit({"deep.py": "a third\n"})
    path = f"/v1/sandboxes/{lab.sandbox_id(box)}/reset"
    lab.ok(lab.world.http.post(path, json={"to": first}, headers=box.headers))
    told = why(lab, "deep.py", 1, box.branch)
    assert told["commit"]["act"]["type"] == "reset"
    assert told["earlier"][-1]["commit"]["sha"] == first
