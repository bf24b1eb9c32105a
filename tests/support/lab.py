"""A world for a whole test module, with a hand on its clock, its database and a second organisation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest import mock

import psycopg

from builderos.core.actor import system_actor
from builderos.core.clock import utcnow
from builderos.core.ids import new_id
from builderos.core.unit import Call, Unit, perform
from builderos.trust.identity import service as identity

from .databases import Databases, FreshDatabase
from .world import Json, Sandbox, World, world_in_temp


@dataclass
class Org:
    """Another organisation of the same server."""

    lab: "Lab"
    id: str
    slug: str
    owner: dict[str, str]

    def open_sandbox(self, repo_name: str) -> Sandbox:
        """Open an anonymous sandbox in it."""
        reply = self.lab.ok(
            self.lab.world.http.post("/sandbox/init", json={"org_slug": self.slug, "repo_name": repo_name})
        )
        return Sandbox(self.lab.world, repo_name, reply["branch"], reply["reuse_token"])


class Lab:
    """One server that the tests of a module share: each opens sandboxes of its own."""

    def __init__(self, world: World, database: FreshDatabase) -> None:
        self.world = world
        self.database = database
        self.ok = world.ok
        self.problem = world.problem
        self.as_owner = world.as_owner
        self.open_sandbox = world.open_sandbox

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows as the superuser sees them; past every rule."""
        with psycopg.connect(self.database.superuser_conninfo, autocommit=True) as connection:
            cursor = connection.execute(query, values)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def later(self, **delta: float) -> Iterator[None]:
        """Let the server's clock run ahead by `timedelta(**delta)`."""
        ahead = timedelta(**delta)
        shifted = mock.Mock(side_effect=lambda: utcnow() + ahead)
        with (
            mock.patch("builderos.core.unit.utcnow", shifted),
            mock.patch("builderos.trust.identity.service.utcnow", shifted),
        ):
            yield

    def sandbox_id(self, sandbox: Sandbox) -> str:
        """The id behind a branch name."""
        return self.sql("select id from ops.sandboxes where name = %s", sandbox.branch)[0][0]

    def init(self, token: str | None = None, **body: Any) -> Any:
        """The response of an init, with the token in the body."""
        more = {} if token is None else {"reuse_token": token}
        return self.world.http.post("/sandbox/init", json={"repo_name": "lab", **more, **body})

    def change_token(self, sandbox: Sandbox, action: str) -> Any:
        """Rotate, revoke or renew as the owner."""
        path = f"/v1/sandboxes/{self.sandbox_id(sandbox)}/token"
        return self.as_owner("POST", path, json={"action": action})

    def key(self, *scopes: str, **body: Any) -> dict[str, str]:
        """Headers of a new API key."""
        made = self.ok(
            self.as_owner("POST", "/v1/api-keys", json={"label": "test", "scopes": list(scopes), **body}), 201
        )
        return {"Authorization": f"Bearer {made['api_key']}"}

    def alerts(self, rule: str) -> list[Json]:
        """Alerts of a rule, newest first."""
        return self.ok(self.as_owner("GET", "/v1/alerts", params={"rule": rule}))["items"]

    def events(self, **filters: Any) -> list[Json]:
        """Lines of the ledger, newest first."""
        return self.ok(self.as_owner("GET", "/v1/audit", params={"limit": 200, **filters}))["items"]

    def tip(self, branch: str, repo: str = "lab") -> str:
        """The tip of a branch as the database has it."""
        return self.sql(
            "select b.tip from ops.branches b join ops.repositories r on r.id = b.repo_id "
            "where b.name = %s and r.name = %s",
            branch, repo,
        )[0][0]  # fmt: skip

    def merged(self, sandbox: Sandbox, title: str = "Bring it") -> Json:
        """Promote into main and approve."""
        opened = sandbox.post("/git/promote", title=title)
        assert opened["approval_id"], opened
        return self.ok(
            self.as_owner("POST", f"/v1/approvals/{opened['approval_id']}", json={"decision": "approve"})
        )

    def second_org(self, slug: str = "other") -> Org:
        """Another organisation with an owner."""
        org_id = new_id("org")
        call = Call(actor=system_actor(org_id), request_id=new_id("req"), door="start")

        def create(unit: Unit) -> str:
            identity.create_org(unit, slug, slug.title(), anonymous=True)
            return identity.issue(unit, "owner", actor_name="owner", profile="full").secret

        secret = perform(self.world.context, call, create)
        return Org(self, org_id, slug, {"Authorization": f"Bearer {secret}"})


@contextmanager
def lab_in_temp(databases: Databases, **settings: Any) -> Iterator[Lab]:
    """A lab with a database and a home of its own, and one imported repository `lab`."""
    with databases.fresh() as database, world_in_temp(database, **settings) as world:
        yield Lab(world, database)
