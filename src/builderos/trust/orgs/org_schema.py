"""Words of organisations."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from builderos.core.schema import In, Line, Out, WriteIn

from .schema import Slug

RepoPattern = Annotated[
    str,
    StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99}/\*|[A-Za-z0-9][A-Za-z0-9._-]{0,98}-\*)$"),
]


class Org(Out):
    """An organisation as its members see it."""

    id: str
    slug: str
    name: str
    anonymous: bool
    created_at: datetime
    closing_at: datetime | None
    erase_at: datetime | None


class WhichOrg(In):
    """Which organisation."""

    id: Annotated[Line, Field(description="Id or slug of your organisation.")]


class OrgChangeIn(WriteIn):
    """What is to change; what is left out stays."""

    id: Annotated[Line, Field(description="Id or slug of your organisation.")]
    name: Annotated[Line | None, Field(description="Name for people.", min_length=1)] = None
    anonymous: Annotated[
        bool | None, Field(description="Whether somebody without a credential may open a workspace in it.")
    ] = None


class CloseIn(WriteIn):
    """Which organisation, typed twice."""

    id: Annotated[Line, Field(description="Id or slug of your organisation.")]
    confirm: Annotated[Line, Field(description="Its slug again: everything in it will be gone.")]


class RoutingIn(WriteIn):
    """How an organisation is found; what is left out stays."""

    id: Annotated[Line, Field(description="Id or slug of any organisation of the server.")]
    slug: Annotated[Slug | None, Field(description="Another short name; the former one is free then.")] = None
    patterns: Annotated[
        list[RepoPattern] | None,
        Field(
            description="Repositories that are its own by name: acme/* by owner, acme-* by the beginning.",
            max_length=20,
        ),
    ] = None


class Routing(Out):
    """How an organisation is found."""

    id: str
    slug: str
    patterns: list[str]
