"""Words of the secrets API. A value goes in and never comes out."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from builderos.core.schema import In, Line, Out, Text, WriteIn

Fingerprint = Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="As the refusal names it.")]


class FindingListIn(In):
    """Filters of the list of credentials that were kept out of git."""

    open: Annotated[bool, Field(description="Only those that nobody has allowed.")] = False
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class SecretFinding(Out):
    """A credential that was kept out of a branch, or that may enter it. Its text is not kept."""

    fingerprint: str
    repo_id: str
    branch: str
    path: str
    line: int
    rule: str
    preview: str
    actor: str
    first_at: datetime
    last_at: datetime
    times: int
    allowed: bool
    allowed_by: str | None
    allowed_until: datetime | None
    reason: str | None


class SecretFindings(Out):
    """One page, the last found first."""

    items: list[SecretFinding]
    next_cursor: str | None = None


class FindingDecisionIn(WriteIn):
    """Whether a finding may enter the branch, and why."""

    fingerprint: Fingerprint
    decision: Annotated[Literal["allow", "forbid"], Field(description="forbid takes an allow back.")]
    reason: Annotated[Text, Field(description="Why, for the record.", min_length=3, max_length=1000)]
    hours: Annotated[int, Field(description="For how long it is allowed.", ge=1, le=2160)] = 168


ScopeKind = Literal["org", "project", "environment", "repository"]
State = Literal["active", "disabled"]
SecretName = Annotated[
    str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$", description="Name, e.g. SMTP_PASSWORD.")
]


class SecretIn(In):
    """A secret, or a new version of it. There is no idempotency key: its check would keep a trace of the value."""

    key_name: SecretName
    value: Annotated[
        str, Field(description="The value. It is never shown again.", repr=False, max_length=1_000_000)
    ]
    scope: Annotated[
        ScopeKind, Field(description="Whether it is for all of the organisation or for a part.")
    ] = "org"
    of: Annotated[
        Line, Field(description="Name of the project, environment or repository; empty for org.")
    ] = ""
    description: Annotated[Line, Field(description="What it is for.")] = ""
    expected_version: Annotated[
        int | None, Field(description="Refused with 409 unless this is its version; 0: it must be new.", ge=0)
    ] = None


class Secret(Out):
    """A secret without its value. `fingerprint` tells its versions apart and nothing of the value."""

    id: str
    provider: Literal["builderos"] = "builderos"
    key_name: str
    scope: ScopeKind
    never_log: Literal[True] = True
    of: str
    description: str
    state: State
    version: int
    fingerprint: str
    created_at: datetime
    changed_at: datetime
    last_used_at: datetime | None


class SecretList(Out):
    """Every secret of the organisation, by name."""

    items: list[Secret]
    next_cursor: str | None = None


class SecretListIn(In):
    """Nothing to filter: secrets are few."""


class SecretChangeIn(WriteIn):
    """Switch a secret off or on."""

    id: Line
    state: Annotated[State, Field(description="A disabled secret is released to nobody.")]


class SecretWhich(In):
    """Which secret."""

    id: Line


class SecretGone(Out):
    """A secret whose values were destroyed."""

    id: str
    key_name: str
    message: str


class RotateKeyIn(WriteIn):
    """Nothing to say: the organisation is the caller's own."""


class RotatedKey(Out):
    """A new key of the organisation's vault; the old one is gone."""

    key_version: int
    rewrapped: int
    message: str
