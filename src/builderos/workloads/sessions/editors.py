"""What serves the pages of a session: how it is started, whether it answers, what it does."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from builderos.execution.serving.service import Inside

PORT: Final = 8888
PLACE: Final = "127.0.0.1"
PATIENCE_S: Final = 5.0
SHELL: Final = ("/bin/sh", "-c", 'exec "$@"', "sh")  # says so in the log where the runtime does not have it
MISSING: Final = 127


@dataclass(frozen=True, slots=True)
class Doing:
    """`busy`: a kernel works. `last`: when a kernel or terminal did something, where that can be told."""

    busy: bool
    last: datetime | None


class Editor(Protocol):
    """A module per editor. `base`: the path that all of it lies below, with a slash at its end."""

    @property
    def PROGRAM(self) -> str:  # noqa: N802  a module's constant
        """What the runtime has to bring."""
        ...

    def argv(self, base: str, root: str) -> tuple[str, ...]:
        """Its command; `root` is the folder of the files."""
        ...

    def environment(self, secret: str) -> dict[str, str]:
        """Of that command."""
        ...

    async def is_up(self, inside: "Inside", base: str, secret: str) -> bool:
        """Whether it answers. Raises `aiohttp.ClientError`, `TimeoutError`, `OSError`."""
        ...

    async def doing(self, inside: "Inside", base: str, secret: str, folder: Path) -> Doing:
        """What it does. `folder`: where this server finds its files. Raises what `is_up` raises, and `ValueError`."""
        ...


def headers(secret: str) -> Mapping[str, str]:
    """What each of them wants to see."""
    return {"Authorization": f"Bearer {secret}"}
