"""The adapters and stores of one running server, found by their type: built once in `app.py`, read by verbs."""

from typing import Any, TypeVar

T = TypeVar("T")


class Context:
    """A type-keyed bag. Verbs say `unit.get(RepositoryStore)`; nobody imports an adapter."""

    def __init__(self) -> None:
        self._items: dict[type[Any], Any] = {}

    def put(self, kind: type[T], item: T) -> None:
        """Enrol the one instance of `kind`."""
        self._items[kind] = item

    def get(self, kind: type[T]) -> T:
        """The instance of `kind`; raises `KeyError` when the composition root did not build it."""
        return self._items[kind]

    def __contains__(self, kind: type[Any]) -> bool:
        return kind in self._items
