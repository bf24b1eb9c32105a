"""A session's server of marimo, and what it says that it does: that server is in a stranger's hands.

It tells whether a notebook runs a cell now, not when it last did. But it writes: notebooks as they are edited, and what
their cells have said into `__marimo__` beside them. So the newest of these files tells.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from builderos.execution.compute import service as compute

from .editors import PATIENCE_S, PLACE, PORT, Doing, headers

if TYPE_CHECKING:
    from builderos.execution.serving.service import Inside

PROGRAM: Final = "marimo"
_FED: Final = ("/bin/sh", "-c", 'told=$MARIMO_TOKEN; unset MARIMO_TOKEN; printf %s "$told" | "$@"', "sh")
_MOST: Final = 100  # notebooks that are open at once
_KEPT: Final = "__marimo__/session"


def argv(base: str, root: str) -> tuple[str, ...]:
    """It looks for no newer version of itself, and asks for no other environment than its own."""
    return (
        *_FED, PROGRAM, "--yes", "--quiet", "edit", root, "--headless", f"--host={PLACE}", f"--port={PORT}",
        f"--base-url={base.rstrip('/')}", "--skip-update-check", "--no-sandbox", "--token-password-file=-",
    )  # fmt: skip


def environment(secret: str) -> dict[str, str]:
    """Of that server."""
    return {"SHELL": "/bin/bash", "MARIMO_TOKEN": secret}


async def is_up(inside: "Inside", base: str, secret: str) -> bool:
    """See `Editor`."""
    status, _ = await inside.ask(f"{base}api/status/connections", PATIENCE_S, headers(secret))
    return status == 200


async def doing(inside: "Inside", base: str, secret: str, folder: Path) -> Doing:
    """See `Editor`."""
    status, body = await inside.ask(f"{base}api/sessions", PATIENCE_S, headers(secret))
    said = json.loads(body) if status == 200 else None
    if not isinstance(said, dict):
        raise ValueError(f"its notebooks are not told: {status}")
    busy, paths = False, list[str]()
    for id_, notebook in list(cast("dict[str, Any]", said).items())[:_MOST]:
        asked = {**headers(secret), "Marimo-Session-Id": id_}
        status, body = await inside.ask(f"{base}api/kernel/status", PATIENCE_S, asked)
        busy = busy or (status == 200 and json.loads(body).get("state") == "running")
        if isinstance(notebook, dict) and isinstance(
            path := cast("dict[str, Any]", notebook).get("path"), str
        ):
            paths.append(path)
    return Doing(busy, _written(folder, paths))


def _written(folder: Path, paths: list[str]) -> datetime | None:
    """When one of these notebooks, or what is kept of its answers, was written last."""
    moments: list[float] = []
    with compute.Beneath(folder) as beneath:
        for path in paths:
            name = path.removeprefix(f"{compute.WORKSPACE}/")
            parent, _, own = name.rpartition("/")
            beside = "/".join(filter(None, (parent, _KEPT, f"{own}.json")))
            moments += [moment for each in (name, beside) if (moment := beneath.written(each)) is not None]
    return datetime.fromtimestamp(max(moments), UTC) if moments else None
