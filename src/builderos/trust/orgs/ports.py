"""What this room needs from others: a provider that says who somebody is, and objects to ask permissions about."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from builderos.core.registry import Registry
from builderos.core.unit import Unit
from builderos.trust.policy.schema import Resource


@dataclass(frozen=True)
class Person:
    """Whom a provider has signed in. `email` is None unless the provider says that it is verified."""

    issuer: str
    subject: str
    email: str | None
    name: str


@dataclass(frozen=True)
class Errand:
    """One browser's way to the provider and back: what has to come back, and what proves that we asked."""

    state: str
    nonce: str
    verifier: str


class IdentityProvider(Protocol):
    """An OpenID Connect provider."""

    def address(self, errand: Errand, redirect_uri: str) -> str:
        """Where the browser goes. Raises `upstream_failed`."""
        ...

    def exchange(self, errand: Errand, redirect_uri: str, code: str, issuer: str | None) -> Person:
        """The person behind a code; `issuer` as the answer named it. Raises `token_invalid`, `upstream_failed`."""
        ...


@dataclass(frozen=True)
class Providers:
    """The provider of this server; None where none is configured."""

    provider: IdentityProvider | None = None


class Subjects(Registry[Callable[[Unit, str], Resource]]):
    """Objects as the policy sees them: prefix of an id → who finds the object. It raises `not_found`."""

    def __init__(self) -> None:
        super().__init__("subject of policy questions")
