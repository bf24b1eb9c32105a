"""What runs in a session and what it does, as its own server says: that server is in a stranger's hands."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from builderos.execution.serving.service import Inside

PORT: Final = 8888
_PLACE: Final = "127.0.0.1"
_PATIENCE_S: Final = 5.0
_SHELL: Final = ("/bin/sh", "-c", 'exec "$@"', "sh")  # says so in the log where the runtime does not have it
MISSING: Final = 127
_RUNTIME: Final = "/tmp/jupyter"  # noqa: S108  in the jail; paths of sockets must be short


@dataclass(frozen=True, slots=True)
class Doing:
    """`busy`: a kernel works. `last`: when a kernel or terminal did something, where there are any. `kernels` and
    `terminals` that there are.
    """

    busy: bool
    last: datetime | None
    kernels: int = 0
    terminals: int = 0


def argv(base: str, root: str) -> tuple[str, ...]:
    """The server of Jupyter, for notebooks and shells. Its port is fixed: else it would take another one in silence."""
    return (
        *_SHELL, "jupyter-server", "--no-browser", f"--ServerApp.ip={_PLACE}", f"--ServerApp.port={PORT}",
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


def headers(secret: str) -> Mapping[str, str]:
    """What that server wants to see."""
    return {"Authorization": f"token {secret}"}


async def is_up(inside: "Inside", base: str, secret: str) -> bool:
    """Whether it answers. Raises `aiohttp.ClientError`, `TimeoutError`, `OSError`."""
    status, _ = await inside.ask(f"{base}api/status", _PATIENCE_S, headers(secret))
    return status == 200


async def doing(inside: "Inside", base: str, secret: str) -> Doing:
    """What kernels and terminals do. Raises `aiohttp.ClientError`, `TimeoutError`, `OSError`, `ValueError`."""
    kernels = await _listed(inside, f"{base}api/kernels", secret)
    terminals = await _listed(inside, f"{base}api/terminals", secret)
    busy = any(kernel.get("execution_state") == "busy" for kernel in kernels)
    moments = [moment for item in (*kernels, *terminals) if (moment := _moment(item.get("last_activity")))]
    return Doing(busy, max(moments, default=None), len(kernels), len(terminals))


async def _listed(inside: "Inside", path: str, secret: str) -> list[dict[str, Any]]:
    status, body = await inside.ask(path, _PATIENCE_S, headers(secret))
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
