"""What other rooms may use of the policy room."""

from . import approvals, parting, proposing, waiting, witness
from .actions import ACTIONS, Action
from .applying import actions_on
from .approvals import Approval, Verdicts
from .decision import (
    Refused,
    acting,
    decide,
    may_reach,
    may_use_secret,
    named_by_file,
    org_resource,
    places_of,
    require,
    require_paths,
)
from .force import InForce
from .loading import Rule
from .looking_away import push_lists
from .proposing import document_in_force
from .risk import assess
from .rules import Policy, request_digest
from .schema import Decision

__all__ = [
    "ACTIONS",
    "Action",
    "Approval",
    "Decision",
    "InForce",
    "Policy",
    "Refused",
    "Rule",
    "Verdicts",
    "acting",
    "actions_on",
    "approvals",
    "assess",
    "decide",
    "document_in_force",
    "may_reach",
    "may_use_secret",
    "named_by_file",
    "org_resource",
    "parting",
    "places_of",
    "proposing",
    "push_lists",
    "request_digest",
    "require",
    "require_paths",
    "waiting",
    "witness",
]
