"""What other rooms may use of the policy room."""

from . import approvals
from .actions import ACTIONS, Action
from .approvals import Approval, Verdicts
from .decision import Refused, decide, org_resource, require
from .loading import Rule
from .rules import Policy, request_digest

__all__ = [
    "ACTIONS",
    "Action",
    "Approval",
    "Policy",
    "Refused",
    "Rule",
    "Verdicts",
    "approvals",
    "decide",
    "org_resource",
    "request_digest",
    "require",
]
