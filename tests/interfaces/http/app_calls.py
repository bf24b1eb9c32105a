"""Valid calls of the operations on apps; rows say that releases are live, and no process serves them."""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from builderos.core.unit import as_system
from builderos.workloads.apps import rows
from builderos.workloads.sessions.ports import Address
from tests.support.world import Json

if TYPE_CHECKING:
    from .scenes import Scene

numbers = itertools.count()


def _body(s: "Scene") -> Json:
    return {"name": f"scene{next(numbers)}", "type": "static", "source": {"repo_name": s.here["repo_name"]}}


def fresh(s: "Scene", releases: int = 1) -> str:
    """An app with so many releases, of which the last one is live."""
    id_: str = s.world.ok(s.world.as_owner("POST", "/v1/apps", json=_body(s)), 201)["id"]
    for _ in range(releases):
        made = s.world.ok(s.world.as_owner("POST", f"/v1/apps/{id_}/releases", json={}), 202)
        as_system(s.world.context, s.world.org_id, lambda unit, one=str(made["id"]): rows.go_live(unit, one))
    return id_


def stopped(s: "Scene") -> str:
    """One that was stopped."""
    id_ = fresh(s)
    s.world.ok(s.world.as_owner("POST", f"/v1/apps/{id_}/stop", json={}))
    return id_


def app_id(s: "Scene") -> str:
    """One that stays."""
    found: str | None = s.__dict__.get("_app")
    if found is None:
        found = s.__dict__["_app"] = fresh(s)
    return found


def _at_an_address(s: "Scene") -> Json:
    """One that can be opened: its door is there, as far as this process knows."""
    s.world.context.get(Address).open("http://*.localhost:1")
    return {"id": app_id(s)}


APP_CALLS: "dict[str, Callable[[Scene], Json]]" = {
    "createApp": _body,
    "listApps": lambda s: {"limit": 1},
    "showApp": lambda s: {"id": app_id(s)},
    "changeApp": lambda s: {"id": app_id(s), "idle_timeout": 60},
    "deleteApp": lambda s: {"id": fresh(s)},
    "releaseApp": lambda s: {"id": app_id(s)},
    "listAppReleases": lambda s: {"id": app_id(s)},
    "rollBackApp": lambda s: {"id": fresh(s, 2)},
    "stopApp": lambda s: {"id": fresh(s)},
    "startApp": lambda s: {"id": stopped(s)},
    "openApp": _at_an_address,
    "appLogs": lambda s: {"id": app_id(s)},
}
