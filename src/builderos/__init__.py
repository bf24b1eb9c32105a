"""BuilderOS: a safe place to build, a factory and a workbench around it.

Deliberately near empty: importing the package must cost nothing (`builderos --help` starts in milliseconds). Scripts
and notebooks log to experiments with `builderos.start_run` and `builderos.sync` (`client/logging.py`), which are loaded
when they are first asked for.
"""

VERSION = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in ("dataset", "params", "start_run", "sync"):
        raise AttributeError(f"module 'builderos' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("builderos.client.logging"), name)
