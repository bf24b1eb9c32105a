"""Words of organisations, members, invites, tokens, sessions, programs and providers."""

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from builderos.core.actor import MemberRole
from builderos.core.schema import In, Instant, Line, Out, WriteIn

Scope = Literal["read", "write", "promote", "approve", "admin"]
ServiceRole = Literal["admin", "builder", "viewer"]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


def is_slug(text: str) -> bool:
    """Whether an organisation could be called that."""
    return re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", text) is not None


def is_address(text: str) -> bool:
    """Whether this reads as one e-mail address, and as nothing else."""
    local, at, domain = text.rpartition("@")
    return (
        bool(at and local and domain)
        and "@" not in local
        and not any(c.isspace() or c in '<>,;:"()[]\\' for c in text)
    )


def _address(text: str) -> str:
    if not is_address(text):
        raise ValueError("must be an e-mail address")
    return text.lower()


Email = Annotated[Line, StringConstraints(max_length=254), AfterValidator(_address)]
PersonName = Annotated[Line, StringConstraints(max_length=200)]


class OrgIn(WriteIn):
    """A new organisation and who owns it first."""

    slug: Annotated[Slug, Field(description="Short name in addresses, e.g. acme.")]
    name: Annotated[Line, Field(description="Name for people.", min_length=1)]
    owner_email: Annotated[Email, Field(description="Address of the first owner, who gets the invite.")]
    anonymous: Annotated[
        bool, Field(description="Whether somebody without a credential may open a workspace in it.")
    ] = False


class NewOrg(Out):
    """A fresh organisation; `invite_token` is shown only here."""

    id: str
    slug: str
    name: str
    anonymous: bool
    invite_id: str
    invite_token: str
    invite_expires_at: datetime
    message: str


class InviteIn(WriteIn):
    """Who is asked to join, and as what."""

    email: Annotated[Email, Field(description="Address of the person.")]
    role: Annotated[MemberRole, Field(description="What the person may do.")]


class NewInvite(Out):
    """A fresh invite; `invite_token` is shown only here."""

    id: str
    invite_token: str
    email: str
    role: MemberRole
    expires_at: datetime
    message: str


class Invite(Out):
    """An invite without its secret. Whoever may not manage members sees no address."""

    id: str
    email: str | None
    role: MemberRole
    created_at: datetime
    expires_at: datetime


class InviteList(Out):
    """The invites that can still be accepted."""

    items: list[Invite]
    next_cursor: str | None = None


class AcceptIn(In):
    """The invite, and how the person wants to be called."""

    invite_token: Annotated[
        Line | None, Field(description="The invite (bos_in_…), unless sent as Authorization: Bearer.")
    ] = None
    name: Annotated[PersonName, Field(description="Your name; members of the organisation see it.")] = ""


class Tokens(Out):
    """A session: the access token acts, the refresh token gets the next pair. Both are shown only here."""

    session_id: str
    access_token: str
    expires_in_s: int
    refresh_token: str
    member_id: str
    role: MemberRole
    org_slug: str
    message: str


class Member(Out):
    """A person or a service account. Addresses are for those who manage members."""

    id: str
    kind: Literal["person", "service"]
    role: MemberRole
    label: str
    name: str | None
    email: str | None
    created_at: datetime


class MemberList(Out):
    """All members."""

    items: list[Member]
    next_cursor: str | None = None


class Nothing(In):
    """Nothing to filter: they are few."""


class MemberIn(WriteIn):
    """Which member, and the new role."""

    id: Line
    role: Annotated[MemberRole, Field(description="What the member may do from now on.")]


class HandOverIn(WriteIn):
    """Who owns the organisation from now on."""

    id: Annotated[Line, Field(description="The member who becomes an owner; you become an admin.")]


class Leaving(In):
    """Which organisation: it is you who leaves."""

    confirm: Annotated[Line, Field(description="The organisation's slug: everything of yours in it ends.")]


class Which(In):
    """Which one."""

    id: Line


class Gone(Out):
    """What has ended."""

    id: str
    message: str


class ServiceIn(WriteIn):
    """A service account for a program."""

    label: Annotated[Line, Field(description="What it is for.", min_length=1, max_length=100)]
    role: Annotated[ServiceRole, Field(description="What it may do; programs approve nothing.")]


class TokenIn(WriteIn):
    """A token of one's own, or of a service account."""

    label: Annotated[Line, Field(description="What it is for.", min_length=1)]
    scopes: Annotated[
        list[Scope],
        Field(description="How much of the role this token carries.", min_length=1, max_length=20),
    ]
    expires_at: Annotated[
        Instant | None, Field(description="When it ends; 90 days from now when unsaid.")
    ] = None
    service_account: Annotated[
        Line | None, Field(description="Id of a service account whose token it shall be.")
    ] = None


class NewToken(Out):
    """A fresh token; `token` is shown only here."""

    id: str
    token: str
    label: str
    scopes: list[str]
    expires_at: datetime
    message: str


class Token(Out):
    """A token without its secret."""

    id: str
    kind: Literal["personal", "service"]
    label: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None


class TokenList(Out):
    """The caller's own tokens, and those of service accounts for whoever manages these."""

    items: list[Token]
    next_cursor: str | None = None


class Session(Out):
    """One sign-in of one's own, or of a program that one let act in the own name."""

    id: str
    method: Literal["invite", "link", "oidc", "code", "device", "open"]
    created_at: datetime
    used_at: datetime
    expires_at: datetime
    client_id: str | None
    scopes: list[str] | None


class SessionList(Out):
    """One's own sign-ins that have not ended."""

    items: list[Session]
    next_cursor: str | None = None


RedirectUris = Annotated[
    list[Annotated[str, StringConstraints(max_length=500)]],
    Field(description="Where it may be sent back to; exactly these.", min_length=1, max_length=10),
]


class ClientIn(WriteIn):
    """A program whose users sign in here, e.g. the action of a chat model."""

    name: Annotated[
        Line, Field(description="What members read when they are asked.", min_length=1, max_length=100)
    ]
    redirect_uris: RedirectUris
    confidential: Annotated[
        bool, Field(description="Whether it can keep a secret; else it proves itself by PKCE alone.")
    ] = True


class ClientChangeIn(WriteIn):
    """Which program, and where it may be sent back to from now on."""

    id: Line
    redirect_uris: RedirectUris


class NewClient(Out):
    """A fresh program; `client_secret` is shown only here."""

    id: str
    client_secret: str | None
    name: str
    redirect_uris: list[str]
    message: str


class OAuthClient(Out):
    """A program without its secret."""

    id: str
    name: str
    redirect_uris: list[str]
    confidential: bool
    created_at: datetime


class ClientList(Out):
    """The programs of the organisation."""

    items: list[OAuthClient]
    next_cursor: str | None = None


JoinRole = Literal["builder", "reviewer", "viewer"]
Domain = Annotated[
    str,
    StringConstraints(max_length=253, pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$"),
]


class ProviderIn(WriteIn):
    """An OpenID Connect provider at which members sign in."""

    label: Annotated[Line, Field(description="Name on the button, e.g. Acme.", min_length=1, max_length=60)]
    issuer: Annotated[Line, Field(description="Its issuer, e.g. https://id.acme.example.", min_length=1)]
    client_id: Annotated[Line, Field(description="Our client id there.", min_length=1)]
    client_secret: Annotated[
        Line | None, Field(description="Our client secret there; PKCE alone when unsaid.")
    ] = None
    domains: Annotated[
        list[Domain], Field(description="Domains of addresses that count; all when empty.", max_length=20)
    ] = []
    join_role: Annotated[
        JoinRole | None,
        Field(
            description="Role of whoever signs in with such an address and is no member yet; none: an invite first."
        ),
    ] = None
    listed: Annotated[bool, Field(description="Whether the page of signing in shows it to everybody.")] = (
        False
    )


class ProviderChangeIn(WriteIn):
    """Which provider, and what becomes of it; what is left out stays."""

    id: Line
    label: Annotated[Line | None, Field(description="Name on the button.", min_length=1, max_length=60)] = (
        None
    )
    client_id: Annotated[Line | None, Field(description="Our client id there.", min_length=1)] = None
    client_secret: Annotated[Line | None, Field(description="Our new client secret there.", min_length=1)] = (
        None
    )
    domains: Annotated[
        list[Domain] | None,
        Field(description="Domains of addresses that count; all when empty.", max_length=20),
    ] = None
    join_role: Annotated[
        JoinRole | None, Field(description="Role of whoever joins by such an address; null: an invite first.")
    ] = None
    listed: Annotated[
        bool | None, Field(description="Whether everybody sees it on the page of signing in.")
    ] = None


class Provider(Out):
    """A provider without its secret; members sign in at `sign_in_url`."""

    id: str
    label: str
    issuer: str
    client_id: str
    domains: list[str]
    join_role: JoinRole | None
    listed: bool
    sign_in_url: str
    created_at: datetime


class ProviderList(Out):
    """The providers of the organisation."""

    items: list[Provider]
    next_cursor: str | None = None
