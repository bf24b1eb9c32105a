"""Starting a suite, looking one over, and looking at what came of it."""

from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.workspaces import service as workspaces
from builderos.core.operations import Reply
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.tables import as_dict
from builderos.core.unit import Unit
from builderos.core.yamlwords import error_of
from builderos.execution.runs import service as runs
from builderos.trust.policy import service as policy

from .model import evals
from .opening import suite_at
from .reading import read
from .results import junit, markdown
from .running import cells_of
from .schema import (
    LintError,
    LintIn,
    LintOut,
    ListIn,
    Result,
    ResultList,
    RunIn,
    RunOut,
    ShowIn,
    Shown,
)

PIPELINE: Final = """\
name: eval
version: 1.0.0
description: Try one suite of the branch.
params:
  suite: {type: string, required: true}
  prompt: {type: string, default: ""}
  baseline: {type: string, default: ""}
  repeats: {type: integer, default: 0}
  models: {type: list, default: []}
timeout: 6h
steps:
  - id: evaluate
    title: Try the suite
    action: eval
    timeout: 5h
    retries: 2
    inputs:
      suite: "${{ params.suite }}"
      prompt: "${{ params.prompt }}"
      baseline: "${{ params.baseline }}"
      repeats: "${{ params.repeats }}"
      models: "${{ params.models }}"
"""


def run(unit: Unit, body: RunIn) -> Reply[RunOut]:
    """Start a run that tries a suite of a branch.

    Raises `not_found`, `validation_failed` with the line of every mistake, and what `locate` raises.
    """
    branch = workspaces.locate(unit, body, "run.start").branch
    suite_at(workspaces.tip_of(unit, branch), body.suite)
    definition = runs.parse(PIPELINE)
    params: dict[str, Any] = {
        "suite": body.suite, "prompt": body.prompt, "baseline": body.baseline, "repeats": body.repeats,
        "models": body.models,
    }  # fmt: skip
    given = {name: value for name, value in params.items() if value}
    run_id = runs.begin(unit, definition, given, branch, {"type": "manual", "by": unit.actor.id})
    message = f"{body.suite} is tried on {branch.name} of {branch.repo_name} as {run_id}."
    return Reply(202, RunOut(run_id=run_id, suite=body.suite, message=message))


def lint(unit: Unit, body: LintIn) -> LintOut:
    """Every mistake of a suite with its line, and everything in it that is not supported; nothing is kept."""
    policy.require(unit, "eval.read", policy.org_resource(unit))
    suite, issues = read(body.content, name=body.suite, read_file=body.files.get)
    return LintOut(
        valid=suite is not None, format=suite.source if suite is not None else None,
        cases=len(suite.cases) if suite is not None else 0,
        tries=len(cells_of(suite)) * suite.repeats if suite is not None else 0,
        errors=[LintError(**error_of(issue)) for issue in issues],
    )  # fmt: skip


def listed(unit: Unit, body: ListIn) -> ResultList:
    """Results that the actor may see, newest first."""
    key = list_key("evals", suite=body.suite, prompt=body.prompt)
    after = decode_cursor(key, body.cursor)
    c = evals.c
    wanted = _seen(unit).order_by(c.id.desc()).limit(body.limit + 1)
    for column, value in ((c.suite, body.suite), (c.prompt, body.prompt)):
        wanted = wanted.where(column == value) if value is not None else wanted
    rows = unit.execute(wanted.where(c.id < str(after[0])) if after else wanted).all()
    items = [_result(row) for row in rows[: body.limit]]
    more = len(rows) > body.limit
    return ResultList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def show(unit: Unit, body: ShowIn) -> Shown:
    """One result with its document. Raises `not_found`."""
    c = evals.c
    wanted = _seen(unit).where(c.suite == body.suite).order_by(c.id.desc()).limit(1)
    for column, value in ((c.version, body.version), (c.run_id, body.run_id)):
        wanted = wanted.where(column == value) if value is not None else wanted
    row = unit.execute(wanted).one_or_none()
    if row is None:
        raise Problem(
            "not_found",
            f"the suite {body.suite[:80]!r} has no such result",
            hint="builderos eval list shows them.",
        )
    form = {"junit": junit, "markdown": markdown}.get(body.format)
    return Shown(
        result=_result(row), document=row.document, text=form(row.document) if form is not None else None
    )


def of_run(unit: Unit, run_id: str) -> list[dict[str, Any]]:
    """Suites that were tried in a run with their verdicts, for another room, which has asked the policy itself."""
    c = evals.c
    wanted = sa.select(c.suite, c.verdict, c.pass_rate, c.cases).where(c.run_id == run_id).order_by(c.id)
    return [as_dict(row) for row in unit.execute(wanted)]


def _seen(unit: Unit) -> sa.Select[Any]:
    """Results that the actor may see: whoever has a workspace alone, those of its branch."""
    policy.require(unit, "eval.read", policy.org_resource(unit))
    wanted = sa.select(evals)
    if unit.actor.sandbox_id is not None:
        wanted = wanted.where(evals.c.branch_id == "br_" + unit.actor.sandbox_id.removeprefix("sbx_"))
    return wanted


def _result(row: sa.Row[Any]) -> Result:
    return Result(
        id=row.id, suite=row.suite, prompt=row.prompt, version=row.version, run_id=row.run_id, repo_name=row.repo_name,
        branch=row.branch, counts=row.counts, verdict=row.verdict, pass_rate=row.pass_rate, cases=row.cases,
        regressions=len(row.document["regressions"]), flaky=len(row.document["flaky"]), created_by=row.created_by,
        created_at=row.created_at,
    )  # fmt: skip
