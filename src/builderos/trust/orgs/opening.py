"""Taking a sign-in along into a browser: whoever has signed in at a command line gets a code for one browser.

The code is good for two minutes and one use. It stands behind the # of an address, which browsers send to nobody.
"""

import json
from datetime import timedelta
from typing import Any, Final

from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.secrets.service import Box

from . import sessions, signing_in

CODE: Final = "bos_bc_"
LIFE: Final = timedelta(minutes=2)
ANY_BROWSER: Final = ""


def code(unit: Unit) -> str:
    """A code for the actor: the owner of the server by its own credential, or a member who signed in.

    Raises `policy_denied` for every credential that was made for a program: a browser is a person.
    """
    actor = unit.actor
    person = actor.role == "owner" or (actor.member_id is not None and actor.session_id is not None)
    if not person:
        raise Problem(
            "policy_denied", "this credential is not a person who signed in",
            hint="Run `builderos login`, or sign in in the browser.", policy_rule="by-oneself",
        )  # fmt: skip
    sessions.by_oneself(unit)
    secret = CODE + identity.random_text()
    who = {"id": actor.id, "name": actor.name, "scopes": sorted(actor.scopes)}
    sealed = unit.get(Box).seal(json.dumps(who).encode(), f"open|{secret}")
    signing_in.remember(unit, "open", secret, ANY_BROWSER, LIFE, member_id=actor.member_id, sealed=sealed)
    return secret


def enter(unit: Unit, secret: str) -> signing_in.Begun:
    """Use a code up. Raises `token_invalid`, the same for a used, old or unknown one."""
    row = signing_in.take(unit, "open", secret, ANY_BROWSER)
    who: dict[str, Any] = json.loads(unit.get(Box).open(row.sealed, f"open|{secret}"))
    if row.member_id is not None:
        member = identity.members.find(unit, row.member_id)
        return signing_in.begin(unit, member, "open", tuple(who["scopes"]))
    cookie = identity.issue(
        unit, "owner", actor_name=who["name"], actor_id=who["id"], profile="full", label="browser",
        secret=identity.new_secret("cookie"), expires_at=unit.now + sessions.IDLE,
    )  # fmt: skip
    ledger.record(unit, "credential.created", cookie.id, {"kind": "owner", "label": "browser"})
    return signing_in.Begun(cookie.id, cookie.secret, who["id"], "owner")
