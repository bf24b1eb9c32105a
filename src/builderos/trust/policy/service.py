"""What other rooms may use of the policy room."""

from .actions import ACTIONS, Action
from .decision import Refused, decide, require
from .loading import Rule
from .rules import Policy, request_digest

__all__ = ["ACTIONS", "Action", "Policy", "Refused", "Rule", "decide", "request_digest", "require"]
