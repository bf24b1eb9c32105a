"""A server whose clock somebody else turns: `python -m tests.support.shifted`.

The file that SHIFTED_CLOCK names holds seconds; they are added to what this process takes for the time of day, from
one moment to the next, as when somebody sets a machine's clock. What measures intervals is left alone, as it is there.
"""

import datetime as real
import os
import sys
import time
from pathlib import Path
from typing import Any


def shift(file: Path) -> None:
    """Turn the clock of this process by what stands in the file, whenever it is looked at."""
    true_ns = time.time_ns

    def ahead_ns() -> int:
        try:
            return round(float(file.read_text() or 0) * 1e9)
        except (FileNotFoundError, ValueError):
            return 0

    def time_ns() -> int:
        return true_ns() + ahead_ns()

    class Shifted(real.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real.datetime.fromtimestamp(time_ns() / 1e9, tz)

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9
    from builderos.core import clock

    clock.datetime = Shifted  # type: ignore[attr-defined, misc]


if __name__ == "__main__":
    shift(Path(os.environ["SHIFTED_CLOCK"]))
    from builderos.app import main

    sys.exit(main())
