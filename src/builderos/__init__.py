"""BuilderOS: a safe place to build, a factory and a workbench around it.

Deliberately near empty: importing the package must cost nothing (`builderos --help` starts in milliseconds). Scripts
and notebooks log to experiments with `builderos.start_run`, which is loaded when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from builderos.client.logging import start_run, sync

__all__ = ["VERSION", "start_run", "sync"]

VERSION = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in ("start_run", "sync"):
        raise AttributeError(f"module 'builderos' has no attribute {name!r}")
    from builderos.client import logging

    return getattr(logging, name)
