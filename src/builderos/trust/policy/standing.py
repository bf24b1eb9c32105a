"""Whose yes still stands: a yes counts as long as whoever gave it may give it."""

from collections.abc import Mapping, Sequence
from typing import Any

from builderos.core.unit import Unit
from builderos.trust.identity.service import roles

from .document import APPROVERS
from .terms import in_favour

ROLE_NAMES = {"owner": "Owner", "org_owner": "Owner", "admin": "Admin", "reviewer": "Reviewer"}
_LOST = "the right to approve ended"


def standing(
    unit: Unit, approval_id: str, required: Mapping[str, Any], decisions: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The decisions, where a yes is void of which the member has another role by now, there where the request belongs.

    Looked at whenever somebody decides, so that it holds whatever took the role: a change, a grant that ended, a
    repository that went elsewhere.
    """
    asked = set(required.get("from", APPROVERS))
    givers = {who for who in in_favour(decisions) if who.startswith("usr_")}
    if not givers:
        return list(decisions)
    rows = unit.ask("ops.repository_of_approval", approval_id)
    repo_id = str(rows[0][0]) if rows and rows[0][0] is not None else None
    places = roles.home_of(unit, repo_id).places(unit.org_id, repo_id) if repo_id else (unit.org_id,)
    lost = {who for who in givers if ROLE_NAMES.get(roles.role_of(unit, who, places) or "") not in asked}
    return [{**d, "void": _LOST} if d["who"] in lost and "void" not in d else d for d in decisions]
