"""What other rooms may use of the policy room."""

from .actions import ACTIONS, Action
from .decision import Refused, decide, org_resource, require
from .loading import Rule
from .rules import Policy, request_digest

__all__ = [
    "ACTIONS",
    "Action",
    "Policy",
    "Refused",
    "Rule",
    "decide",
    "org_resource",
    "request_digest",
    "require",
]
