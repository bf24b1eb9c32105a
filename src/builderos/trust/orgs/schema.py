"""Words of organisations, members, invites, tokens and sessions."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from builderos.core.actor import MemberRole
from builderos.core.schema import In, Instant, Line, Out, WriteIn

Scope = Literal["read", "write", "promote", "approve", "admin"]
ServiceRole = Literal["admin", "builder", "viewer"]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


def _address(text: str) -> str:
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain or any(c.isspace() or c in '<>,;:"()[]\\' for c in text):
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
        list[Scope], Field(description="How much of the role this token carries.", min_length=1)
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
    """One sign-in of one's own."""

    id: str
    method: Literal["invite", "link", "oidc"]
    created_at: datetime
    used_at: datetime
    expires_at: datetime


class SessionList(Out):
    """One's own sign-ins that have not ended."""

    items: list[Session]
    next_cursor: str | None = None
