"""Doors of the approvals and of the policy file."""

from builderos.core.operations import Operations, Reply
from builderos.core.unit import Unit

from . import approvals, asking, comparing, proposing, waiting

routes = Operations("approvals")


@routes.get("/v1/approvals", "listApprovals")
def list_approvals(unit: Unit, body: approvals.ApprovalListIn) -> approvals.ApprovalList:
    """List what waits for a decision, newest first."""
    return approvals.listed(unit, body)


@routes.get("/v1/approvals/{id}", "getApproval", deciding=True)
def get_approval(unit: Unit, body: approvals.ApprovalIn) -> waiting.ApprovalShown:
    """Show one approval with exactly the diff that it is about, how far it is, and whether you may decide."""
    return waiting.show(unit, body)


@routes.post("/v1/approvals/{id}", "decideApproval", consequential=True, deciding=True)
def decide_approval(unit: Unit, body: approvals.DecideIn) -> approvals.Approval:
    """Approve or deny, with a comment."""
    return approvals.decide_on(unit, body)


@routes.get("/v1/policies", "getPolicy")
def get_policy(unit: Unit, body: proposing.PolicyShowIn) -> proposing.PolicyOut:
    """Show the policy file in force, with who wrote it and who put it into force."""
    return proposing.show(unit, body)


@routes.route("PUT", "/v1/policies", "proposePolicy", effect="write", consequential=True, may_wait=True)
def propose_policy(unit: Unit, body: proposing.PolicyIn) -> Reply[proposing.PolicyProposal]:
    """Propose a policy file; it comes into force when an owner or admin approves exactly this change."""
    return proposing.propose(unit, body)


@routes.post("/v1/policies/explain", "explainPolicy", effect="read")
def explain_policy(unit: Unit, body: asking.ExplainIn) -> asking.Answer:
    """Say what would be decided about one act, by which rule, and why."""
    return asking.explain(unit, body)


@routes.post("/v1/policies/simulate", "simulatePolicy", effect="read")
def simulate_policy(unit: Unit, body: asking.SimulateIn) -> asking.Simulation:
    """Decide about a list of acts, and hold the answers against what was expected; nothing happens."""
    return asking.simulate(unit, body)


@routes.post("/v1/policies/diff", "diffPolicy", effect="read")
def diff_policy(unit: Unit, body: comparing.CompareIn) -> comparing.Comparison:
    """Show which decisions a new policy file would change: of the last days, and of all it speaks of."""
    return comparing.compare(unit, body)
