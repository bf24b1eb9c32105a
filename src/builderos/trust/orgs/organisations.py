"""New organisations: made by the owner of the server, handed over by an invite."""

from sqlalchemy.exc import IntegrityError

from builderos.core.actor import system_actor
from builderos.core.database import Database
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import closing, invites, org_schema, schema


def create(unit: Unit, body: schema.OrgIn) -> schema.NewOrg:
    """Make an organisation and the invite of its first owner, in one transaction.

    Raises `conflict` for a taken slug.
    """
    decision = policy.require(unit, "org.create", policy.org_resource(unit))
    if identity.find_org(unit.get(Database), body.slug) is not None:
        raise _taken(body.slug)
    org_id = new_id("org")
    with unit.within(system_actor(org_id)) as inside:
        try:
            identity.create_org(inside, body.slug, body.name, anonymous=body.anonymous)
        except IntegrityError:  # a twin took the slug between the question and now
            raise _taken(body.slug) from None
        invite = invites.make(inside, body.owner_email, "org_owner")
        ledger.record(inside, "org.created", org_id, {"slug": body.slug})
        ledger.record(inside, "invite.created", invite.id, {"role": "org_owner"})
    ledger.record(unit, "org.created", org_id, {"slug": body.slug}, rules=decision.rules)
    return schema.NewOrg(
        id=org_id, slug=body.slug, name=body.name, anonymous=body.anonymous, invite_id=invite.id,
        invite_token=invite.secret, invite_expires_at=invite.expires_at,
        message=f"Give the invite to {body.owner_email}: it is not shown again.",
    )  # fmt: skip


def show(unit: Unit, body: org_schema.WhichOrg) -> org_schema.Org:
    """The caller's organisation. Raises `not_found` for every other one."""
    org = closing.own(unit, body.id)
    policy.require(unit, "me.read", policy.org_resource(unit))
    return closing.shown(org)


def change(unit: Unit, body: org_schema.OrgChangeIn) -> org_schema.Org:
    """Rename the organisation, or open it to people without a credential, or no longer."""
    org = closing.own(unit, body.id)
    decision = policy.require(unit, "org.manage", policy.org_resource(unit))
    wanted = {"name": body.name, "anonymous": body.anonymous}
    changes = {k: v for k, v in wanted.items() if v is not None and v != getattr(org, k)}
    if changes:
        identity.change_org(unit, **changes)
        ledger.record(unit, "org.changed", unit.org_id, changes, rules=decision.rules)
    return closing.shown(closing.own(unit, unit.org_id))


def _taken(slug: str) -> Problem:
    return Problem("conflict", f"there is an organisation {slug} already", hint="Choose another slug.")
