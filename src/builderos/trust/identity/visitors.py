"""Somebody without a credential: in which organisation, before any unit is open."""

import re
from dataclasses import dataclass
from typing import Final

from builderos.core.database import Database

_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
_MOST: Final = 20  # beginnings of a name that are looked for


@dataclass(frozen=True)
class Visited:
    """An organisation that a visitor named or is led to. `rival`: the slug of another one that the repository's name
    belongs to.
    """

    id: str
    open: bool
    rival: str | None


def organisation_for(
    database: Database, slug: str | None, owner: str | None, name: str | None
) -> Visited | None:
    """The organisation of a call without credential; None where the slug is nobody's. One question to the database."""
    if slug is not None and not _SLUG.match(slug):
        return None
    query = "select id, anonymous, rival from ops.org_for_visitor(%s, %s)"
    rows = database.ask(query, (slug, patterns_of(owner, name)))
    return Visited(*rows[0]) if rows else None


def patterns_of(owner: str | None, name: str | None) -> list[str]:
    """Every pattern that fits a repository: `acme/*` by its owner, `acme-*` and `acme-bots-*` by its name."""
    found = [] if owner is None else [f"{owner}/*"]
    ends = [at for at, letter in enumerate(name or "") if letter == "-"][:_MOST]
    return found + [f"{(name or '')[:at]}-*" for at in ends if at]
