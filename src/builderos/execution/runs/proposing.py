"""The action `git.open_pr`: propose the run's branch, as anybody proposes it."""

from builderos.assets.workspaces import service as workspaces
from builderos.core.problems import Problem
from builderos.core.steps import Done, Work
from builderos.core.unit import Unit


def open_pr(unit: Unit, work: Work) -> Done:
    """Open a promotion of the run's branch, or bring the open one up to date. Fails where one of its checks does.

    Inputs: `title`, `target` (main by default). Raises what `promote` raises.
    """
    if work.branch_id is None:
        raise Problem("branch_required", "this run has no branch", hint="Start it with a branch.")
    body = workspaces.PromoteIn(
        repo_name=work.repo_name,
        branch=work.branch,
        target=str(work.node.inputs.get("target") or "main"),
        title=_line(str(work.node.inputs.get("title") or "")) or f"Run {work.run_id}: {work.name}",
    )
    found = workspaces.promote(unit, body).body
    red = [check.name for check in found.checks if not check.ok]
    result = {
        "promotion_id": found.promotion_id, "pr_url": found.pr_url, "state": found.state,
        "approval_id": found.approval_id,
    }  # fmt: skip
    if red:
        return Done("failed", "gate", f"the checks {', '.join(red)} failed", result=result, retry=False)
    return Done(result=result)


def _line(text: str) -> str:
    """The first line that says something, as a title may be."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return "".join(char for char in first.strip() if char.isprintable())[:200]
