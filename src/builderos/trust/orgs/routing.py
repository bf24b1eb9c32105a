"""How an organisation is found: by its slug, by a credential, or by the names of its repositories."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.core.actor import system_actor
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import org_schema as schema
from .place_model import repo_patterns


def route(unit: Unit, body: schema.RoutingIn) -> schema.Routing:
    """Say how an organisation is found. The owner of the server alone does: a name could be somebody else's.

    Raises `conflict` for a slug or a pattern that another organisation has, `not_found` for an unknown organisation.
    """
    decision = policy.require(unit, "org.create", policy.org_resource(unit))
    found = identity.find_org(unit.get(Database), body.id)
    org_id = found[0] if found is not None else body.id
    if not org_id.startswith("org_") or not org_id.replace("_", "").isalnum():
        raise Problem("not_found", "there is no such organisation", hint="Check its slug.")
    if org_id != unit.org_id and identity.org_slug(unit) != identity.DEFAULT_ORG_SLUG:
        raise Problem("not_found", "there is no such organisation", hint="Check its slug.")
    with unit.within(system_actor(org_id)) as inside:
        before = identity.own_org(inside)
        if body.slug is not None and body.slug != before.slug:
            if before.slug == identity.DEFAULT_ORG_SLUG:
                raise Problem(
                    "conflict", "the server finds its own organisation by this slug", hint="Keep it."
                )
            identity.change_org(inside, slug=body.slug)
        if body.patterns is not None:
            _set_patterns(inside, list(dict.fromkeys(body.patterns)))
        after = schema.Routing(id=org_id, slug=identity.org_slug(inside), patterns=_patterns(inside))
        payload = {"slug": after.slug, "patterns": after.patterns}
        ledger.record(inside, "org.routed", org_id, payload)
    ledger.record(unit, "org.routed", org_id, payload, rules=decision.rules)
    return after


def _set_patterns(inside: Unit, wanted: list[str]) -> None:
    c = repo_patterns.c
    inside.execute(sa.delete(repo_patterns).where(c.pattern.not_in(wanted)))
    for pattern in wanted:
        values = {"pattern": pattern, "org_id": inside.org_id, "created_at": inside.now}
        taken = insert(repo_patterns).values(values).on_conflict_do_nothing(index_elements=["pattern"])
        inside.execute(taken)
    missing = set(wanted) - set(_patterns(inside))
    if missing:
        raise Problem(
            "conflict", f"{', '.join(sorted(missing))} belongs to another organisation",
            hint="Take it from there first.",
        )  # fmt: skip


def _patterns(inside: Unit) -> list[str]:
    return list(
        inside.execute(sa.select(repo_patterns.c.pattern).order_by(repo_patterns.c.pattern)).scalars()
    )
