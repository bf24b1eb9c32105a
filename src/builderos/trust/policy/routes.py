"""Doors of the approvals."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import approvals

routes = Operations("approvals")


@routes.get("/v1/approvals", "listApprovals")
def list_approvals(unit: Unit, body: approvals.ApprovalListIn) -> approvals.ApprovalList:
    """List what waits for a decision, newest first."""
    return approvals.listed(unit, body)


@routes.get("/v1/approvals/{id}", "getApproval")
def get_approval(unit: Unit, body: approvals.ApprovalIn) -> approvals.Approval:
    """Show one approval with exactly the diff that it is about."""
    return approvals.show(unit, body)


@routes.post("/v1/approvals/{id}", "decideApproval", consequential=True)
def decide_approval(unit: Unit, body: approvals.DecideIn) -> approvals.Approval:
    """Approve or deny, with a comment."""
    return approvals.decide_on(unit, body)
