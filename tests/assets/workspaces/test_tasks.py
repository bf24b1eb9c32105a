"""Delivery tasks through HTTP: the state table, the graph, notes, hand-offs, failures, broken files."""

import itertools

import pytest
import yaml

from builderos.assets.workspaces.taskboard import MOVES, STATUSES

WAYS = {
    "backlog": [],
    "ready": ["activate"],
    "in_progress": ["activate", "start"],
    "blocked": ["activate", "start", "block"],
    "done": ["activate", "start", "complete"],
    "failed": ["activate", "start", "fail"],
}


@pytest.fixture
def sandbox(world):
    return world.open_sandbox()


def go(sandbox, action, task_id="t1", **more):
    extra = {"block": {"reason": "waits"}, "fail": {"reason": "red", "check": "unit"}}.get(action, {})
    return sandbox.post("/tasks/lifecycle", action=action, task_id=task_id, **{**extra, **more})


def create(sandbox, task_id="t1", **more):
    return go(sandbox, "create", task_id, **{"title": f"Do {task_id}", **more})


def task_file(sandbox):
    files = sandbox.post("/system/fetch_files", mode="batch", paths=["project/task.yaml"])["files"]
    return yaml.safe_load(files[0]["content"])["tasks"]


def commits(sandbox):
    return len(sandbox.post("/git/log")["items"])


def test_the_state_table_holds_for_every_move_from_every_state(world, sandbox):
    for number, (status, way) in enumerate(WAYS.items()):
        for move in MOVES:
            id_ = f"t{number}_{move}"
            create(sandbox, id_)
            for step in way:
                go(sandbox, step, id_)
            extra = {"block": {"reason": "x"}, "fail": {"reason": "x", "check": "c"}}.get(move, {})
            reply = sandbox.try_post("/tasks/lifecycle", action=move, task_id=id_, **extra)
            if status in MOVES[move][0]:
                assert world.ok(reply)["task"]["status"] == MOVES[move][1]
            else:
                problem = world.problem(reply, "illegal_transition")
                assert problem["allowed"] == [m for m, (states, _) in MOVES.items() if status in states]
                assert task_file(sandbox)[id_]["status"] == status
    assert set(WAYS) == set(STATUSES)


def test_every_change_is_one_commit_with_the_task_line_and_its_entry(sandbox):
    before = commits(sandbox)
    reply = create(sandbox, phase="build", outputs=["src/a.py"], assigned_pod="builder")
    assert commits(sandbox) == before + 1
    assert "Keep your token" in reply["message"]
    newest = sandbox.post("/git/log")["items"][0]
    assert (newest["sha"], newest["task_id"], newest["tool"]) == (
        reply["commit_sha"],
        "t1",
        "taskLifecycle@1",
    )
    assert reply["task"]["status"] == "backlog"
    stored = task_file(sandbox)["t1"]
    assert (stored["phase"], stored["outputs"], stored["assigned_pod"]) == ("build", ["src/a.py"], "builder")
    delta = sandbox.post("/git/diff")["changelog_delta"]
    assert delta[-1]["paths"] == ["project/task.yaml"]


def test_a_task_is_done_only_when_its_outputs_exist(world, sandbox):
    create(sandbox, outputs=["src/new.py"])
    for action in ("activate", "start"):
        go(sandbox, action)
    for path, body in (
        ("/tasks/complete", {"task_id": "t1", "reasoning": "because"}),
        ("/tasks/lifecycle", {"task_id": "t1", "action": "complete"}),
    ):
        problem = world.problem(sandbox.try_post(path, **body), "conflict")
        assert (problem["status"], problem["missing"]) == (409, ["src/new.py"])
    assert task_file(sandbox)["t1"]["status"] == "in_progress"
    sandbox.commit({"src/new.py": "x = 1\n", "docs/n.md": "n"}, task_id="t1")
    reply = sandbox.post(
        "/tasks/complete",
        task_id="t1",
        reasoning="it works",
        outputs=["docs/n.md"],
        handoff_note="look at it",
    )
    assert reply["task"]["status"] == "done"
    assert reply["task"]["outputs"] == ["src/new.py", "docs/n.md"]
    assert sandbox.branch in reply["message"]
    assert "lab" in reply["message"]
    notes = sandbox.post("/tasks/query", mode="get", task_id="t1")["notes"]
    assert {(n["kind"], n["text"] or n["reason"]) for n in notes} == {
        ("decision", "it works"),
        ("handoff", "look at it"),
    }


def test_next_is_the_first_ready_task_whose_dependencies_are_done(world, sandbox):
    create(sandbox, "a")
    create(sandbox, "b", depends_on=["a"], assigned_pod="tester")
    create(sandbox, "c")
    ask = {"action": "next"}
    assert sandbox.post("/tasks/lifecycle", **ask)["task"] is None
    for id_ in ("b", "a", "c"):
        go(sandbox, "activate", id_)
    before = commits(sandbox)
    assert sandbox.post("/tasks/lifecycle", **ask)["task"]["id"] == "a"
    assert sandbox.post("/tasks/lifecycle", **ask, assigned_pod="tester")["task"] is None
    assert commits(sandbox) == before
    problem = world.problem(
        sandbox.try_post("/tasks/lifecycle", action="start", task_id="b"), "illegal_transition"
    )
    assert problem["waiting_for"] == ["a"]
    assert "start" not in problem["allowed"]
    go(sandbox, "start", "a")
    done = go(sandbox, "complete", "a")
    assert done["next_task"]["id"] == "b"
    assert "Next is b" in done["message"]


def test_a_cycle_is_refused_and_named(world, sandbox):
    create(sandbox, "a")
    create(sandbox, "b", depends_on=["a"])
    create(sandbox, "c", depends_on=["b"])
    before = commits(sandbox)
    reply = sandbox.try_post("/tasks/lifecycle", action="activate", task_id="a", depends_on=["c"])
    assert world.problem(reply, "conflict")["cycle"] == ["a", "c", "b", "a"]
    reply = sandbox.try_post("/tasks/lifecycle", action="create", task_id="d", title="D", depends_on=["d"])
    assert world.problem(reply, "conflict")["cycle"] == ["d", "d"]
    reply = sandbox.try_post(
        "/tasks/lifecycle", action="create", task_id="d", title="D", depends_on=["nobody"]
    )
    world.problem(reply, "not_found")
    assert commits(sandbox) == before


def test_a_clone_copies_what_is_to_be_done_and_starts_in_the_backlog(sandbox):
    create(sandbox, outputs=["a.txt"], assigned_pod="builder")
    for action in ("activate", "start"):
        go(sandbox, action)
    first = go(sandbox, "clone")["task"]
    second = go(sandbox, "clone", new_task_id="again", assigned_pod="tester")["task"]
    assert (first["id"], first["status"], first["outputs"]) == ("t1_2", "backlog", ["a.txt"])
    assert (second["id"], second["assigned_pod"]) == ("again", "tester")
    assert task_file(sandbox)["again"]["cloned_from"] == "t1"


def test_block_and_fail_need_their_reasons(world, sandbox):
    create(sandbox)
    for action in ("activate", "start"):
        go(sandbox, action)
    for body in (
        {"action": "block"},
        {"action": "fail", "check": "unit"},
        {"action": "fail", "reason": "red"},
    ):
        world.problem(sandbox.try_post("/tasks/lifecycle", task_id="t1", **body), "validation_failed")
    assert go(sandbox, "block", reason="no data")["task"]["reason"] == "no data"
    assert go(sandbox, "start")["task"]["reason"] is None


def test_a_failed_check_undoes_the_tasks_own_commit_and_nothing_else(world, sandbox):
    create(sandbox, check="unit")
    for action in ("activate", "start"):
        go(sandbox, action)
    own = sandbox.commit({"src/app.py": "broken(\n"}, task_id="t1")["commit_sha"]
    other = sandbox.commit({"keep.txt": "kept"})["commit_sha"]
    before = commits(sandbox)
    refused = sandbox.try_post(
        "/tasks/lifecycle", action="fail", task_id="t1", reason="red", commit_sha=other
    )
    world.problem(refused, "validation_failed")
    reply = go(sandbox, "fail", check=None, commit_sha=own, reason="does not compile")
    assert reply["task"]["status"] == "failed"
    assert reply["task"]["check"] == "unit"
    assert commits(sandbox) == before + 1
    files = sandbox.post(
        "/system/fetch_files", mode="batch", paths=["src/app.py", "keep.txt", ".logs/reverted_commits.yaml"]
    )
    assert [f["content"] for f in files["files"][:2]] == ["print(1)\n", "kept"]
    assert own in files["files"][2]["content"]
    assert sandbox.post("/git/diff")["changelog_delta"][-1]["reverts"] == own
    assert go(sandbox, "reopen")["task"]["status"] == "in_progress"


def test_a_hand_off_changes_the_pod_and_is_read_back_newest_first(world, sandbox):
    create(sandbox)
    sandbox.post("/tasks/handoff", action="append", task_id="t1", to="tester", reason="built")
    reply = sandbox.post(
        "/tasks/handoff", action="append", task_id="t1", to="ada", reason="needs a human", next_prompt="Is it right?",
        reference_files=["README.md", "gone.md"],
    )  # fmt: skip
    assert reply["warnings"] == ["gone.md is not on the branch yet"]
    assert task_file(sandbox)["t1"]["assigned_pod"] == "ada"
    found = sandbox.post("/tasks/handoff", action="fetch", task_id="t1")
    assert [h["to"] for h in found["handoffs"]] == ["ada", "tester"]
    assert found["handoffs"][0]["next_prompt"] == "Is it right?"
    world.problem(
        sandbox.try_post("/tasks/handoff", action="append", task_id="t1", to="x"), "validation_failed"
    )
    world.problem(sandbox.try_post("/tasks/handoff", action="fetch", task_id="t9"), "not_found")


def test_notes_rotate_and_none_is_lost(sandbox, world, monkeypatch):
    monkeypatch.setattr("builderos.assets.workspaces.delivery.lines.BLOCK_ITEMS", 5)
    create(sandbox)
    for number in range(12):
        sandbox.post("/tasks/log_reasoning", task_id="t1", kind="thought", text=f"n{number}", tags=["x"])
    found = sandbox.post("/tasks/query", mode="get", task_id="t1")
    assert [n["text"] for n in found["notes"]] == [f"n{number}" for number in reversed(range(12))]
    kept = sandbox.post("/system/fetch_files", mode="batch", paths=[
        f".logs/tasks/t1/{sandbox.branch}.yaml", f".logs/tasks/t1/{sandbox.branch}/000001.yaml",
    ])  # fmt: skip
    assert [len(yaml.safe_load(f["content"])) for f in kept["files"]] == [2, 5]


def test_two_branches_write_notes_of_one_task_into_two_files(world):
    one, two = world.open_sandbox(), world.open_sandbox()
    paths = set()
    for sandbox in (one, two):
        create(sandbox)
        sandbox.post("/tasks/log_reasoning", task_id="t1", kind="lesson", text="hm")
        paths |= {
            f["path"] for f in sandbox.post("/git/diff")["files"] if f["path"].startswith(".logs/tasks/")
        }
    assert paths == {f".logs/tasks/t1/{s.branch}.yaml" for s in (one, two)}


def test_a_task_file_that_is_not_yaml_is_named_with_its_line_and_kept(world, sandbox):
    create(sandbox)
    broken = "version: 1\ntasks:\n  t1: {title: [}\n"
    warned = sandbox.commit({"project/task.yaml": broken})["warnings"]
    assert warned[0].startswith("project/task.yaml:3:")
    before = commits(sandbox)
    for path, body in (
        ("/tasks/lifecycle", {"action": "create", "task_id": "t2", "title": "x"}),
        ("/tasks/lifecycle", {"action": "next"}),
        ("/tasks/query", {}),
        ("/tasks/log_reasoning", {"task_id": "t1", "kind": "thought", "text": "x"}),
    ):
        problem = world.problem(sandbox.try_post(path, **body), "validation_failed")
        assert (problem["path"], problem["line"]) == ("project/task.yaml", 3)
    assert commits(sandbox) == before
    files = sandbox.post("/system/fetch_files", mode="batch", paths=["project/task.yaml"])["files"]
    assert files[0]["content"] == broken
    alerts = world.ok(world.as_owner("GET", "/v1/alerts", params={"rule": "memory_invalid"}))["items"]
    assert [(a["object"], a["count"]) for a in alerts] == [(sandbox.branch, 5)]


def test_what_people_wrote_by_hand_is_read_leniently_and_kept(sandbox):
    task = "    title: By hand\n    status: doing\n    mood: good\n    depends_on: t0\n"
    text = "# mine\nversion: 1\ntasks:\n  t1:\n" + task
    sandbox.commit({"project/task.yaml": text})
    found = sandbox.post("/tasks/query")
    assert found["items"][0]["status"] == "backlog"
    assert "unknown status 'doing'" in found["warnings"][0]
    go(sandbox, "activate")
    assert task_file(sandbox)["t1"]["mood"] == "good"


def test_queries_filter_page_and_draw_the_graph(world, sandbox):
    for number in range(5):
        create(
            sandbox,
            f"t{number}",
            depends_on=[f"t{number - 1}"] if number else [],
            assigned_pod="ab"[number % 2],
        )
    go(sandbox, "activate", "t0")
    first = sandbox.post("/tasks/query", limit=2)
    assert first["counts"] == {"ready": 1, "backlog": 4}
    create(sandbox, "t9")
    second = sandbox.post("/tasks/query", limit=2, cursor=first["next_cursor"])
    third = sandbox.post("/tasks/query", limit=2, cursor=second["next_cursor"])
    seen = [t["id"] for t in itertools.chain(first["items"], second["items"], third["items"])]
    assert seen == ["t0", "t1", "t2", "t3", "t4", "t9"]
    assert third["next_cursor"] is None
    world.problem(
        sandbox.try_post("/tasks/query", limit=2, cursor=first["next_cursor"], status="ready"),
        "validation_failed",
    )
    assert [t["id"] for t in sandbox.post("/tasks/query", assigned_pod="b")["items"]] == ["t1", "t3"]
    graph = sandbox.post("/tasks/query", mode="graph")["graph"]
    assert graph["edges"] == [[f"t{n}", f"t{n + 1}"] for n in range(4)]
    assert [n["depth"] for n in graph["nodes"]] == [0, 1, 2, 3, 4, 0]
    assert graph["ready"] == ["t0"]
    world.problem(sandbox.try_post("/tasks/query", mode="get"), "validation_failed")


@pytest.mark.parametrize("task_id", ["", "a b", "../x", "-x", "x" * 65, "con", "ä"])
def test_an_id_that_no_file_could_have_is_refused(world, sandbox, task_id):
    reply = sandbox.try_post("/tasks/lifecycle", action="create", task_id=task_id, title="x")
    assert reply.json()["code"] in ("validation_failed", "invalid_path")
    assert commits(sandbox) == 1


def test_an_id_is_taken_in_every_spelling(world, sandbox):
    create(sandbox, "Parser")
    reply = sandbox.try_post("/tasks/lifecycle", action="create", task_id="parser", title="x")
    assert world.problem(reply, "conflict")["task_id"] == "Parser"


def test_a_minimal_token_and_another_branch_are_refused(database):
    from tests.support.world import world_in_temp

    with world_in_temp(database, token_profile="minimal") as world:
        sandbox, other = world.open_sandbox(), world.open_sandbox()
        world.problem(sandbox.try_post("/tasks/lifecycle", action="next"), "tool_not_allowed")
        reply = sandbox.try_post("/tasks/query", branch=other.branch)
        assert reply.status_code == 403


def test_the_older_tools_body_works_unchanged_and_needs_a_credential(world, sandbox):
    body = {
        "task_id": "2.1_parser", "file_path": "src/a.py", "content": "a = 1\n", "message": "Add parser",
        "committed_by": "GPT", "branch": sandbox.branch,
    }  # fmt: skip
    world.problem(world.http.post("/tasks/commit_and_log_output", json=body), "unauthenticated")
    reply = world.http.post("/tasks/commit_and_log_output", json=body, headers=sandbox.headers)
    assert reply.headers["deprecation"] == "true"
    made = world.ok(reply)
    assert (made["repo_name"], made["branch"], made["committed_by"]) == (
        "lab",
        sandbox.branch,
        sandbox.branch,
    )
    assert made["changelog_entry"]["claimed_by"] == "GPT"
    assert made["task_id"] == "2.1_parser"


def test_the_collaboration_loop_runs_to_its_end(world, sandbox):
    sandbox.post("/sandbox/init", mode="project", project_name="Parser", template="collaboration")
    walked = []
    while (task := sandbox.post("/tasks/lifecycle", action="next")["task"]) is not None:
        go(sandbox, "start", task["id"])
        if task["id"] == "loop.1_plan":
            sandbox.commit({"docs/plan.md": "# Plan\nAdd a parser.\n"}, task_id=task["id"])
        sandbox.post("/tasks/complete", task_id=task["id"], reasoning=f"said by {task['assigned_pod']}")
        walked.append(task["assigned_pod"])
    assert walked == ["assistant", "human", "assistant", "human", "assistant"]
