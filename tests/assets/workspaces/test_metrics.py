"""Numbers and traces of a branch through HTTP."""

import csv
import io
import json
import zipfile

import pytest


@pytest.fixture
def sandbox(world):
    made = world.open_sandbox()
    made.post("/sandbox/init", mode="project", project_name="Parser", project_description="Reads logs.")
    made.post("/tasks/lifecycle", action="start", task_id="1.1_goals")
    bad = made.commit({"src/a.py": "x\n"}, message="=cmd()", task_id="1.1_goals")["commit_sha"]
    made.post("/git/rollback_commit", commit_sha=bad, reason="wrong")
    made.post("/tasks/log_reasoning", task_id="1.1_goals", kind="decision", text="Use a table")
    world.problem(
        made.try_post("/commit_and_log_output", files=[], message="m", file_path="a/../b", content=""),
        "invalid_path",
    )
    world.problem(made.try_post("/git/log", branch="sandbox-of-another"), "forbidden_branch")
    return made


def metrics(sandbox, **more):
    return sandbox.post("/system/metrics", **more)


def test_the_summary_counts_what_happened(sandbox):
    found = metrics(sandbox)
    assert (found["commits"], found["rollbacks"], found["failed_calls"]) == (5, 1, 2)
    assert found["tasks"] == {"done": 1, "in_progress": 1, "backlog": 2}
    assert found["files"] == 3
    assert found["trace"] == []
    assert sandbox.branch in found["message"]


def test_nobody_elses_failures_are_counted(world, sandbox):
    other = world.open_sandbox()
    world.problem(
        other.try_post(
            "/commit_and_log_output", branch=sandbox.branch, files=[{"path": "a", "content": ""}], message="m"
        ),
        "forbidden_branch",
    )
    assert metrics(sandbox)["failed_calls"] == 2
    assert metrics(other)["failed_calls"] == 1


def test_a_span_of_time_bounds_the_numbers(sandbox):
    past = metrics(sandbox, to="2000-01-01T00:00:00Z")
    assert (past["commits"], past["rollbacks"], past["failed_calls"]) == (0, 0, 0)
    since = metrics(sandbox, **{"from": "2000-01-01T00:00:00Z"})
    assert (since["commits"], since["rollbacks"], since["failed_calls"]) == (5, 1, 2)
    assert sandbox.try_post("/system/metrics", to="yesterday").status_code == 422


def test_the_export_holds_the_whole_trace(world, sandbox):
    found = metrics(sandbox, mode="export")
    kinds = {item["kind"] for item in found["trace"]}
    assert kinds == {"prompt", "reasoning", "task", "commit", "rollback", "failed_call"}
    assert not found["truncated"]
    prompts = [item["text"] for item in found["trace"] if item["kind"] == "prompt"]
    assert "Reads logs." in prompts[0]
    assert any("Use a table" in item["text"] for item in found["trace"] if item["kind"] == "reasoning")
    log = {c["sha"] for c in sandbox.post("/git/log")["items"][:5]}
    assert {item["id"] for item in found["trace"] if item["kind"] == "commit"} == log


def test_approvals_are_part_of_the_trace(world, sandbox):
    sandbox.post("/git/promote", target="main", mode="pr", title="Take it")
    found = metrics(sandbox, mode="export")["trace"]
    assert [json.loads(i["text"])["type"] for i in found if i["kind"] == "approval"] == ["approval.requested"]


def test_the_table_is_safe_for_spreadsheets(sandbox):
    response = sandbox.try_post("/system/metrics", mode="export", format="csv")
    assert response.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    texts = [row["text"] for row in rows if row["kind"] == "commit"]
    assert any(text.startswith("'=cmd()") for text in texts)
    assert not any(cell[:1] in "=+-@\t\r" for row in rows for cell in row.values() if cell)


def test_the_archive_is_the_same_bytes_each_time(sandbox):
    first, second = (
        sandbox.try_post("/system/metrics", mode="export", format="zip").content for _ in range(2)
    )
    assert first == second
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.testzip() is None
        assert {"summary.json", "trace.json", "trace.csv", "commits.csv"} <= set(archive.namelist())
        assert json.loads(archive.read("summary.json"))["commits"] == 5


def test_a_credential_in_a_log_does_not_leave_with_it(sandbox):
    token = "ghp_" + "a1B2" * 9
    sandbox.post("/tasks/log_reasoning", task_id="1.1_goals", kind="thought", text=f"I saw {token}")
    for form in ("json", "csv"):
        assert token not in sandbox.try_post("/system/metrics", mode="export", format=form).text


def test_a_broken_task_file_costs_only_the_tasks(sandbox):
    sandbox.commit({"project/task.yaml": "tasks: [\n"})
    found = metrics(sandbox)
    assert found["tasks"] == {}
    assert found["commits"] == 6
    assert "project/task.yaml" in found["warnings"][0]


def test_main_is_measured_for_an_owner_who_names_no_branch(world):
    reply = world.ok(world.as_owner("POST", "/system/metrics", json={"repo_name": "lab"}))
    assert reply["branch"] == "main"


def test_a_summary_is_no_file_and_another_branch_is_private(world, sandbox):
    world.problem(sandbox.try_post("/system/metrics", format="zip"), "validation_failed")
    other = world.open_sandbox()
    assert other.try_post("/system/metrics", branch=sandbox.branch).status_code in (403, 404)
