"""What memory needs of others: something that makes vectors of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from builderos.core.context import Context
from builderos.core.unit import Call

from . import ngrams


class Embedder(Protocol):
    """Makes vectors that are compared by their angle, of one model.

    `name` tells whose vectors they are: those of two names are never compared. What is less similar than `floor` is
    not given back. `local`: it answers at once, without leaving this process.
    """

    name: str
    floor: float
    local: bool

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


@dataclass(frozen=True)
class Embedding:
    """The server's embedder, as the composition root chose it."""

    embedder: Embedder
