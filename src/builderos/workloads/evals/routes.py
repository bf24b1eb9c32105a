"""Operations on evals."""

from builderos.core.operations import Operations, Reply
from builderos.core.unit import Unit

from . import schema, verbs

routes = Operations("evals")


@routes.get("/v1/evals", "listEvals")
def list_evals(unit: Unit, body: schema.ListIn) -> schema.ResultList:
    """List results of suites, newest first."""
    return verbs.listed(unit, body)


@routes.post("/v1/evals/lint", "lintEval", effect="read")
def lint_eval(unit: Unit, body: schema.LintIn) -> schema.LintOut:
    """Look a suite over, ours or promptfoo's: every mistake with its line, and everything that is not supported."""
    return verbs.lint(unit, body)


@routes.post("/v1/evals/{suite}/run", "runEval", status=202, consequential=True)
def run_eval(unit: Unit, body: schema.RunIn) -> Reply[schema.RunOut]:
    """Try a suite of a branch, in a run."""
    return verbs.run(unit, body)


@routes.get("/v1/evals/{suite}/results", "showEvalResults")
def show_eval_results(unit: Unit, body: schema.ShowIn) -> schema.Shown:
    """Show what came of a suite: cases, shares with their intervals, what is flaky, what is worse than before."""
    return verbs.show(unit, body)
