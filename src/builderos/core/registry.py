"""Where rooms enrol what they lend to others, by name, from the composition root (no import goes upwards)."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
H = TypeVar("H", bound=Callable[..., object])


class Registry(Generic[T]):
    """Names to things; a second enrolment under one name is a programming error."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._items: dict[str, T] = {}

    def enrol(self, name: str, item: T) -> None:
        """Add `item`; raises `ValueError` when the name is taken."""
        if name in self._items:
            raise ValueError(f"{self._what} {name!r} is enrolled twice")
        self._items[name] = item

    def get(self, name: str) -> T:
        """The item; raises `KeyError` naming the registry."""
        if name not in self._items:
            raise KeyError(f"no {self._what} {name!r}")
        return self._items[name]

    def __contains__(self, name: str) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)
