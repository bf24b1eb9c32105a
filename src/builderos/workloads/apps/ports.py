"""What apps need of others: the addresses of the door that people reach them at."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Addresses:
    """`origin_of`: scheme, host and port of what goes by an id; empty where there is no door (yet)."""

    origin_of: Callable[[str], str]

    def of(self, id_: str) -> str:
        """The origin of an app; empty where apps have none of their own.

        Pages of one app must not act in another, so an app is never served at an address that it shares.
        """
        origin = self.origin_of(id_)
        return origin if origin != self.origin_of("another") else ""
