"""A session's server of Jupyter, and what it says that it does: that server is in a stranger's hands."""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from .editors import PATIENCE_S, PLACE, PORT, SHELL, Doing, headers

if TYPE_CHECKING:
    from builderos.execution.serving.service import Inside

PROGRAM: Final = "jupyter-server"
_RUNTIME: Final = "/tmp/jupyter"  # noqa: S108  in the jail; paths of sockets must be short


def argv(base: str, root: str) -> tuple[str, ...]:
    """The server of Jupyter, for notebooks and shells. Its port is fixed: else it would take another one in silence."""
    return (
        *SHELL, PROGRAM, "--no-browser", f"--ServerApp.ip={PLACE}", f"--ServerApp.port={PORT}",
        "--ServerApp.port_retries=0", f"--ServerApp.base_url={base}", f"--ServerApp.root_dir={root}",
        "--ServerApp.allow_remote_access=True", "--ServerApp.quit_button=False",
        "--FileContentsManager.delete_to_trash=False", "--ServerApp.allow_unauthenticated_access=False",
        "--KernelManager.transport=ipc",  # no port of the jail is spent on them
    )  # fmt: skip


def environment(secret: str) -> dict[str, str]:
    """Of that server."""
    return {
        "JUPYTER_TOKEN": secret,
        "JUPYTER_PLATFORM_DIRS": "1",
        "JUPYTER_RUNTIME_DIR": _RUNTIME,
        "SHELL": "/bin/bash",
    }


async def is_up(inside: "Inside", base: str, secret: str) -> bool:
    """Whether it answers. Raises `aiohttp.ClientError`, `TimeoutError`, `OSError`."""
    status, _ = await inside.ask(f"{base}api/status", PATIENCE_S, headers(secret))
    return status == 200


async def doing(inside: "Inside", base: str, secret: str, folder: Path) -> Doing:
    """What kernels and terminals do. Raises `aiohttp.ClientError`, `TimeoutError`, `OSError`, `ValueError`."""
    del folder
    kernels = await _listed(inside, f"{base}api/kernels", secret)
    terminals = await _listed(inside, f"{base}api/terminals", secret)
    busy = any(kernel.get("execution_state") == "busy" for kernel in kernels)
    moments = [moment for item in (*kernels, *terminals) if (moment := _moment(item.get("last_activity")))]
    return Doing(busy, max(moments, default=None))


async def _listed(inside: "Inside", path: str, secret: str) -> list[dict[str, Any]]:
    status, body = await inside.ask(path, PATIENCE_S, headers(secret))
    if status == 404:
        return []
    if status != 200:
        raise ValueError(f"{path} answered {status}")
    said = json.loads(body)
    if not isinstance(said, list):
        raise ValueError(f"{path} is no list")
    return [cast("dict[str, Any]", item) for item in cast("list[Any]", said) if isinstance(item, dict)]


def _moment(text: Any) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
