"""Doors of usage, budgets and the owner's overview."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import budgets, overview, suspending, usage

routes = Operations("usage")


@routes.get("/v1/usage", "getUsage")
def get_usage(unit: Unit, body: usage.UsageIn) -> usage.Usage:
    """Show what your organisation used: requests, commits, refusals, per day or per actor."""
    return usage.show(unit, body)


@routes.get("/v1/budgets", "listBudgets")
def list_budgets(unit: Unit, body: budgets.BudgetListIn) -> budgets.BudgetList:
    """List the budgets of your organisation and of its projects, and where they stand."""
    return budgets.listed(unit, body)


@routes.route("PUT", "/v1/budgets", "setBudget", effect="write", consequential=True)
def set_budget(unit: Unit, body: budgets.BudgetIn) -> budgets.BudgetList:
    """Set or remove a budget of your organisation or of a project: told at 80 %, refused and stopped at 100 %."""
    return budgets.put(unit, body)


@routes.get("/v1/admin/overview", "getOverview")
def get_overview(unit: Unit, body: overview.OverviewIn) -> overview.Overview:
    """Show all organisations of this server in numbers: members, workspaces, tools, errors, use."""
    return overview.show(unit, body)


@routes.post("/v1/credentials/{id}/lift", "liftSuspension", consequential=True)
def lift_suspension(unit: Unit, body: suspending.LiftIn) -> suspending.Lifted:
    """Let a token work again that was suspended for abuse."""
    return suspending.lift(unit, body)
