"""`mode: project` through HTTP."""

import yaml

from builderos.assets.workspaces import templating

SIX = [
    "project/task.yaml", "project/memory.yaml", "project/changelog.yaml", "project/goals.md",
    "outputs/project_init/reasoning_trace.md", "outputs/project_init/prompt_log.md",
]  # fmt: skip
ASK = {
    "mode": "project", "project_name": "Parser", "project_description": "Reads logs.", "goals": ["Read a file",
    "Zähle Wörter"],
}  # fmt: skip


def read(sandbox, path):
    found = sandbox.post("/system/fetch_files", mode="batch", paths=[path])["files"]
    return found[0]["content"] if found else None


def test_a_project_is_one_commit_with_the_six_files(world):
    sandbox = world.open_sandbox()
    reply = sandbox.post("/sandbox/init", **ASK)
    assert reply["created"] == SIX
    assert reply["kept"] == []
    assert "Keep your token" in reply["message"]
    assert sandbox.token not in reply["message"]
    assert (reply["repo_name"], reply["branch"]) == ("lab", sandbox.branch)
    log = sandbox.post("/git/log")["items"]
    assert [c["sha"] for c in log[:1]] == [reply["commit_sha"]]
    assert log[0]["task_id"] == "project_init"
    assert len(log) == 2
    assert "Read a file" in read(sandbox, "project/goals.md")
    assert "Reads logs." in read(sandbox, "outputs/project_init/prompt_log.md")
    tasks = yaml.safe_load(read(sandbox, "project/task.yaml"))["tasks"]
    assert tasks["project_init"]["status"] == "done"
    assert tasks["2.2_zahle_worter"]["title"] == "Zähle Wörter"
    assert tasks["3.1_review"]["depends_on"] == ["2.1_read_a_file", "2.2_zahle_worter"]
    entry = yaml.safe_load(read(sandbox, "project/changelog.yaml"))[-1]
    assert sorted(entry["paths"]) == sorted(SIX)


def test_a_second_call_changes_nothing(world):
    sandbox = world.open_sandbox()
    first = sandbox.post("/sandbox/init", **ASK)
    second = sandbox.post("/sandbox/init", **ASK)
    assert second["created"] == []
    assert second["kept"] == SIX
    assert second["commit_sha"] == first["commit_sha"]
    assert "nothing was changed" in second["message"]


def test_files_that_people_edited_are_kept_and_missing_ones_are_written(world):
    sandbox = world.open_sandbox()
    sandbox.post("/sandbox/init", **ASK)
    sandbox.commit({"project/goals.md": "# Mine\n", "outputs/project_init/prompt_log.md": None})
    reply = sandbox.post("/sandbox/init", **ASK)
    assert reply["created"] == ["outputs/project_init/prompt_log.md"]
    assert read(sandbox, "project/goals.md") == "# Mine\n"
    assert read(sandbox, "outputs/project_init/prompt_log.md")


def test_a_project_without_an_own_branch_is_refused(world):
    reply = world.http.post("/sandbox/init", json={"mode": "project", "repo_name": "lab"})
    assert world.problem(reply, "branch_required")["status"] == 400
    named = world.http.post(
        "/sandbox/init", json={"mode": "project", "repo_name": "lab", "branch": world.open_sandbox().branch}
    )
    world.problem(named, "branch_required")
    bad = {"mode": "project", "repo_name": "lab", "reuse_token": "bos_rt_" + "A" * 43}
    world.problem(world.http.post("/sandbox/init", json=bad), "token_invalid")


def test_another_sandbox_cannot_be_scaffolded(world):
    mine, other = world.open_sandbox(), world.open_sandbox()
    world.problem(mine.try_post("/sandbox/init", **ASK, branch=other.branch), "forbidden_branch")
    assert len(other.post("/git/log")["items"]) == 1


def test_an_unknown_template_is_refused_with_the_known_ones(world):
    sandbox = world.open_sandbox()
    problem = world.problem(sandbox.try_post("/sandbox/init", **ASK, template="collab"), "validation_failed")
    assert problem["known"] == list(templating.names())
    assert "collaboration" in problem["known"]


def test_the_collaboration_template_brings_its_loop_and_its_words(world):
    sandbox = world.open_sandbox()
    reply = sandbox.post("/sandbox/init", **ASK, template="collaboration")
    assert reply["created"] == [*SIX, "docs/collaboration.md", "docs/plan.md"]
    assert "# How we work together on Parser" in read(sandbox, "docs/collaboration.md")
    tasks = yaml.safe_load(read(sandbox, "project/task.yaml"))["tasks"]
    loop = [id_ for id_ in tasks if id_.startswith("loop.")]
    assert len(loop) == 5
    assert [tasks[id_].get("depends_on", []) for id_ in loop] == [[], *[[id_] for id_ in loop[:-1]]]
    assert {tasks[id_]["assigned_pod"] for id_ in loop} == {"assistant", "human"}
    assert tasks["loop.5_backlog"]["outputs"] == ["project/task.yaml"]
    assert tasks["goal.1_read_a_file"]["title"] == "Read a file"


def test_the_aliases_imply_their_mode(world):
    opened = world.ok(world.http.post("/sandbox/init_branch", json={"repo_name": "lab"}))
    assert opened["token_status"] == "new"
    started = world.http.post(
        "/get_started", json={"repo_name": "lab", "mode": "branch", "reuse_token": opened["reuse_token"]}
    )
    assert started.headers["deprecation"] == "true"
    assert world.ok(started)["branch"] == opened["branch"]
    project = {"repo_name": "lab", "reuse_token": opened["reuse_token"]}
    assert world.ok(world.http.post("/project/init_project", json=project))["created"] == SIX


def test_builderos_yaml_moves_the_delivery_files_and_warns_of_unknown_keys(world):
    sandbox = world.open_sandbox()
    text = "version: 1\npaths:\n  task: plan/tasks.yaml\nprojet: {name: x}\n"
    warned = sandbox.commit({"builderos.yaml": text})["warnings"]
    assert warned == ["builderos.yaml:4: unknown key 'projet'. Did you mean 'project'?"]
    reply = sandbox.post("/sandbox/init", **ASK)
    assert reply["created"][0] == "plan/tasks.yaml"
    assert reply["warnings"] == warned
    assert yaml.safe_load(read(sandbox, "plan/tasks.yaml"))["tasks"]
    assert read(sandbox, "project/task.yaml") is None


def test_a_broken_builderos_yaml_costs_no_commit(world):
    sandbox = world.open_sandbox()
    reply = sandbox.commit({"builderos.yaml": "paths: [\n"})
    assert any(w.startswith("builderos.yaml:") for w in reply["warnings"])
    assert sandbox.commit({"a.txt": "1"})["commit_sha"]
