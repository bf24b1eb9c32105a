"""What this room needs from others: a provider that says who somebody is, and objects to ask permissions about."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from builderos.core.actor import MemberRole
from builderos.core.context import Context
from builderos.core.registry import Registry
from builderos.core.unit import Unit
from builderos.trust.policy.schema import Resource

_KEPT: Final = 1000


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
class Connection:
    """A provider of one organisation: how we are known there, whose addresses count, and who joins by them."""

    id: str
    issuer: str
    client_id: str
    client_secret: str | None
    domains: tuple[str, ...] = ()
    join_role: MemberRole | None = None


class Providers:
    """The provider of this server (None where none is configured), and those of organisations, made as needed."""

    def __init__(
        self,
        provider: IdentityProvider | None = None,
        make: Callable[[Connection], IdentityProvider] | None = None,
    ) -> None:
        self.provider = provider
        self._make = make
        self._made: dict[Connection, IdentityProvider] = {}

    def of(self, connection: Connection) -> IdentityProvider:
        """The provider behind a connection. It keeps what the provider says of itself."""
        if self._make is None:
            raise LookupError("this server knows no providers of organisations")
        if connection not in self._made:
            if len(self._made) > _KEPT:
                self._made.clear()
            self._made[connection] = self._make(connection)
        return self._made[connection]


class Sound(Protocol):
    """Opens an alert that somebody of the organisation should see."""

    def __call__(
        self, unit: Unit, rule: Literal["token_abuse"], object_: str, detail: dict[str, Any]
    ) -> None:
        """`object_` is what it is about; repetitions count up."""
        ...


@dataclass(frozen=True)
class Alarm:
    """Who is told that a secret was stolen."""

    sound: Sound


class Elsewhere(Registry[Callable[[Context, str], None]]):
    """Who keeps files of organisations outside of the state folder: name → removes those of one; safe to repeat."""

    def __init__(self) -> None:
        super().__init__("files elsewhere")


class Holds(Registry[Callable[[Unit], str | None]]):
    """What keeps an organisation from being erased: each names what does, or None."""

    def __init__(self) -> None:
        super().__init__("hold")


class Subjects(Registry[Callable[[Unit, str], Resource]]):
    """Objects as the policy sees them: prefix of an id → who finds the object. It raises `not_found`."""

    def __init__(self) -> None:
        super().__init__("subject of policy questions")
