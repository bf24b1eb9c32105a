"""What every provider of models does: it takes OpenAI's JSON and gives OpenAI's bytes, whatever it speaks itself."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from builderos.core.unit import Unit

from .schema import About, Json, Kind, Label


class NoAnswer(Exception):
    """Nothing of an answer came: the connection, the name, the time. `sent`: the request may have been worked on."""

    def __init__(self, why: str, *, sent: bool = True) -> None:
        super().__init__(why)
        self.sent = sent


class Unfit(Exception):
    """This provider cannot do what is asked, and never will: it says what in plain words."""


class Damaged(Exception):
    """What this provider answers from cannot be read, whoever asks for whatever: it says where in plain words."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `body` has the provider's own name of the model; `key` is the credential for this attempt.

    `first_s` until the answer begins, `idle_s` between its parts.
    """

    kind: Kind
    body: Json
    stream: bool
    key: str | None = None
    about: About = field(default_factory=About)
    first_s: float = 120.0
    idle_s: float = 120.0


class Answer(Protocol):
    """What came back, as OpenAI has it: JSON, or `data:` lines of Server-Sent Events where a stream was asked for.

    A status of 400 and more comes with JSON that says why. `close` ends what is still under way upstream.
    """

    status: int
    retry_after_s: float | None
    label: Label

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes as they come. Raises `NoAnswer` where they break off."""
        ...

    def close(self) -> None:
        """Let go of it; may be called more than once."""
        ...


@dataclass(frozen=True, slots=True)
class Limited:
    """What a budget can be for and who knows whether it is there: `run(unit, id)`, `agent(unit, name)`, of the unit's
    organisation.
    """

    run: Callable[[Unit, str], bool]
    agent: Callable[[Unit, str], bool]


class ModelProvider(Protocol):
    """A provider, for any number of requests at once, in any event loop."""

    async def send(self, ask: Ask) -> Answer:
        """Begin. Raises `NoAnswer`, `Unfit`, `Damaged`. Whoever is cancelled meanwhile leaves nothing open."""
        ...

    def keep(self) -> None:
        """From now on the running event loop keeps connections for the next request."""
        ...

    async def close(self) -> None:
        """End what was kept; in the same event loop."""
        ...
