"""`python -m tests.support.shipping [worker]`: a server or a worker whose runs can have an effect on the outside.

The outside world is the file `EFFECTS_LOG`: the action `outside` writes its key there, taking its time before and
after, so that a process can be killed at each point of it.
"""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builderos import app
from builderos.core.context import Context
from builderos.core.steps import Actions
from builderos.core.unit import Call
from builderos.execution.runs import effects
from builderos.execution.runs import service as execution

_PAUSE_S = 0.05


def _do(_context: Context, _call: Call, effect: effects.Effect) -> Mapping[str, Any]:
    time.sleep(_PAUSE_S)
    with Path(os.environ["EFFECTS_LOG"]).open("ab", buffering=0) as file:
        file.write(f"{effect.key}\n".encode())
    time.sleep(_PAUSE_S)
    return {"key": effect.key}


def _ask(_context: Context, _call: Call, effect: effects.Effect) -> effects.Found:
    log = Path(os.environ["EFFECTS_LOG"])
    return effects.Found(log.exists() and effect.key in log.read_text().splitlines(), {"key": effect.key})


def main() -> int:
    """As `builderos.app` does, with one more action."""
    assemble = app.assemble

    def assembled(*args: Any) -> Context:
        context = assemble(*args)
        context.get(Actions).enrol("outside", effects.action("outside"))
        context.get(execution.EffectHandlers).enrol("outside", effects.Handler(_do, _ask))
        return context

    app.assemble = assembled
    return app.main()


if __name__ == "__main__":
    sys.exit(main())
