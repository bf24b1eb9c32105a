"""`python -m builderos.interfaces.http.openapi` prints the contract; no server and no database is needed for that."""

import pkgutil
import sys
from typing import Final

from builderos.core.application import Application
from builderos.core.context import Context
from builderos.core.operations import Operations
from builderos.core.settings import Settings

from .contract import render
from .server import build_api

# Doors may not import the composition root, so the program names it, as one names an application to an ASGI server.
ROOT: Final = "builderos.app"


def generate(root: str = ROOT) -> str:
    """The text of `openapi.json` from the groups and extensions that the composition root names."""
    groups: list[Operations] = pkgutil.resolve_name(f"{root}:GROUPS")
    context = Context()
    context.put(Settings, Settings.model_construct())
    api = build_api(Application(context, list(groups)), pkgutil.resolve_name(f"{root}:EXTENSIONS"))
    return render(api.openapi())


if __name__ == "__main__":
    sys.stdout.write(generate())
