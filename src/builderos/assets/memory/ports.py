"""What memory needs of others: something that makes vectors of texts."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from builderos.core.context import Context
from builderos.core.unit import Call

from . import ngrams

_KNOWN: Final = 500  # questions


class Embedder(Protocol):
    """Makes vectors that are compared by their angle, of one model.

    `name` tells whose vectors they are: those of two names are never compared. What is less similar than `floor` is
    not given back. `local`: it answers at once, without leaving this process.
    """

    @property
    def name(self) -> str:
        """Whose vectors they are."""
        ...

    @property
    def floor(self) -> float:
        """The least similarity that says anything."""
        ...

    @property
    def local(self) -> bool:
        """Whether it answers without leaving this process."""
        ...

    def embed(self, context: Context, call: Call, texts: Sequence[str]) -> list[list[float]]:
        """A vector of each text, all of one length (at most 3,072). Raises `upstream_failed`, `budget_exceeded`,
        `unavailable`.
        """
        ...


@dataclass(frozen=True)
class NGrams:
    """The one that comes along: hashed pieces of words, without a model and without a network."""

    name: str = ngrams.NAME
    floor: float = ngrams.FLOOR
    local: bool = True

    def embed(self, context: Context, call: Call, texts: Sequence[str]) -> list[list[float]]:  # noqa: ARG002
        """512 numbers for each."""
        return ngrams.vectors(texts)


Ask = Callable[[Context, Call, Sequence[str]], list[list[float]]]


@dataclass(frozen=True)
class Asked:
    """One that somebody else answers for: a model, through the gateway. What was asked lately is not asked again."""

    name: str
    ask: Ask
    floor: float = 0.25
    local: bool = False
    _known: OrderedDict[tuple[str, str], list[float]] = field(
        default_factory=OrderedDict[tuple[str, str], list[float]], compare=False
    )
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False)

    def embed(self, context: Context, call: Call, texts: Sequence[str]) -> list[list[float]]:
        """As the model makes them. Only single texts (questions) are kept at hand, per organisation."""
        key = (call.actor.org_id, texts[0]) if len(texts) == 1 else None
        if key is not None and (found := self._known.get(key)) is not None:
            return [found]
        made = self.ask(context, call, texts)
        if key is not None:
            with self._lock:
                self._known[key] = made[0]
                while len(self._known) > _KNOWN:
                    self._known.popitem(last=False)
        return made


@dataclass(frozen=True)
class Embedding:
    """The server's embedder, as the composition root chose it."""

    embedder: Embedder
