"""Doors of the delivery tasks, and of the numbers that tell how far they are."""

from builderos.core.operations import Download, Operations
from builderos.core.unit import Unit

from . import commit, metrics, taskquery, tasks, tasktalk

routes = Operations("tasks")


@routes.post("/tasks/lifecycle", "taskLifecycle", profile="standard")
def task_lifecycle(unit: Unit, body: tasks.LifecycleIn) -> tasks.TaskReply:
    """Create a task, move it (activate, start, block, complete, fail, reopen), clone it, or ask which one is next."""
    return tasks.lifecycle(unit, body)


@routes.post("/tasks/complete", "completeTask", profile="standard")
def complete_task(unit: Unit, body: tasks.CompleteIn) -> tasks.TaskReply:
    """Finish a task: its outputs must be on the branch; say what was done and why."""
    return tasks.complete(unit, body)


@routes.post("/tasks/handoff", "handoff", profile="standard")
def handoff(unit: Unit, body: tasktalk.HandoffIn) -> tasktalk.HandoffOut:
    """Hand a task to an agent or a person, or read how it was handed over."""
    return tasktalk.handoff(unit, body)


@routes.post("/tasks/log_reasoning", "logReasoning", profile="standard")
def log_reasoning(unit: Unit, body: tasktalk.ReasoningIn) -> tasktalk.ReasoningOut:
    """Keep a thought, decision, issue, lesson or question with a task."""
    return tasktalk.log_reasoning(unit, body)


@routes.post("/tasks/query", "taskQuery", effect="read", profile="standard")
def task_query(unit: Unit, body: taskquery.QueryIn) -> taskquery.QueryOut:
    """List the tasks of a branch, read one with its notes, or see the graph of what waits for what."""
    return taskquery.query(unit, body)


@routes.post(
    "/system/metrics",
    "systemMetrics",
    effect="read",
    profile="standard",
    media_types=("text/csv", "application/zip"),
)
def system_metrics(unit: Unit, body: metrics.MetricsIn) -> metrics.MetricsOut | Download:
    """Show the numbers of a branch, or export its whole trace as JSON, CSV or zip."""
    return metrics.metrics(unit, body)


@routes.post("/tasks/commit_and_log_output", "commitAndLogOutput", deprecated=True)
def commit_and_log_output(unit: Unit, body: commit.CommitIn) -> commit.CommitOut:
    """Save files to your branch as one commit (the same as commit_and_log)."""
    return commit.commit_and_log(unit, body)
