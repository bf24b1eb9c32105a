"""What ended here, and whose end the database forgot.

Ends are not waited for until they are on the disk. A database that crashed comes back without the last ones: as far as
it knows, this process still carries them out, so nobody else would.
"""

import time
from typing import Final

from .library import do_again, forgotten

_DOUBT_S: Final = 60.0
_SURE_S: Final = 1.0


class Forgotten:
    """Finds and repeats such work of one executor, for a while after its database was away. For one thread."""

    def __init__(self, executor_id: str) -> None:
        self._executor_id = executor_id
        self._doubt_until = 0.0
        self._since: dict[str, float] = {}

    @property
    def pause_s(self) -> float | None:
        """Seconds until the next look should be taken; None where there is no doubt."""
        return _SURE_S if time.monotonic() <= self._doubt_until else None

    def doubt(self) -> None:
        """The database was away. From any thread."""
        self._doubt_until = time.monotonic() + _DOUBT_S

    def resume(self) -> None:
        """Do again what is unfinished and not carried out here, unless there is no doubt.

        Found twice, because an end that is being written down looks like a forgotten one.
        """
        now = time.monotonic()
        if now > self._doubt_until:
            return
        self._since = {id_: self._since.get(id_, now) for id_ in forgotten(self._executor_id)}
        for id_, since in self._since.items():
            if now - since >= _SURE_S:
                do_again(id_, self._executor_id)
