"""Two organisations, two repositories, every kind of credential, and one valid call of every operation."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

from builderos.core.actor import MemberRole, Profile, system_actor
from builderos.core.clock import utcnow
from builderos.core.ids import new_id
from builderos.core.operations import Operation
from builderos.core.unit import Call, Unit, as_system, perform
from builderos.interfaces.http.cookies import SESSION, Cookies
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices
from builderos.trust.orgs import service as orgs
from tests.support.world import Json, Sandbox, World, make_repository

from .calls import CALLS, numbers
from .works import Works

ROLES: tuple[MemberRole, ...] = ("org_owner", "admin", "builder", "reviewer", "viewer")
SCOPES = ("read", "write", "promote", "approve", "admin")
CREDENTIALS = (
    "none", "garbage", "own", "other", "minimal", "expired", "revoked", "other_org", "other_org_owner", "other_repo",
    "share", *(f"key_{scope}" for scope in SCOPES), "owner", *ROLES, "read_only_admin", "other_org_admin", "left",
)  # fmt: skip
# Other things that carry a credential; programs, whose tokens never approve.
CARRIERS = (
    "malformed", "suspended", "bare_cookie", "foreign_cookie", *(f"service_{role}" for role in ROLES),
)  # fmt: skip
# An access token and a cookie from a page of ours open what a personal token of the same role opens. How a credential
# is carried and what its role may do are decided apart from one another: every role is tried on one of the two.
SAME = {
    "access_admin": "admin", "access_builder": "builder", "access_viewer": "viewer",
    "cookie_admin": "admin", "cookie_org_owner": "org_owner", "cookie_reviewer": "reviewer",
}  # fmt: skip
SITE = "http://127.0.0.1"


class Grounds:
    """What all scenes share: the neighbours, whose things must stay out of reach, and the API keys."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.source = make_repository(folder / "annex")
        world.import_repo(self.source, "annex")
        self.foreign_org = new_id("org")
        call = Call(actor=system_actor(self.foreign_org), request_id=new_id("req"), door="test")
        perform(
            world.context, call, lambda unit: identity.create_org(unit, "globex", "Globex", anonymous=True)
        )
        perform(world.context, call, lambda unit: ledger.record(unit, "org.created", self.foreign_org, {}))
        self.foreign_owner = self.issue("owner", org_id=self.foreign_org, profile="full")
        world.ok(self.post("/v1/repos/import", self.foreign_owner, source=str(self.source), name="lab"))
        self.foreign_sandbox = world.open_sandbox("lab", org_slug="globex")
        self.other = world.open_sandbox()
        self.other_repo = world.open_sandbox("annex")
        self.keys = {scope: self.issue("api_key", profile="full", scopes=(scope,)) for scope in SCOPES}
        for org_id in (world.org_id, self.foreign_org):
            ledger.extend_all(world.context, org_id)
        self.people: dict[str, identity.members.Member] = {}
        self.members = {role: self.member(role) for role in ROLES}
        self.carried = {name: self.carry(name, self.people[role]) for name, role in SAME.items()}
        self.programs = {f"service_{role}": self.program(role) for role in ROLES}
        self.read_only_admin = self.member("admin", scopes=("read",))
        self.foreign_admin = self.member("admin", org_id=self.foreign_org)
        self.left = self.member("admin", left=True)
        repos = world.ok(world.as_owner("GET", "/v1/repos"))["items"]
        self.repo_id = next(repo["id"] for repo in repos if repo["repo_name"] == "lab")

    def webhook_id(self) -> str:
        """A webhook; those of scenes before are gone, because an organisation has only a few."""
        as_owner = self.world.as_owner
        for old in self.world.ok(as_owner("GET", "/v1/webhooks"))["items"]:
            self.world.ok(as_owner("DELETE", f"/v1/webhooks/{old['id']}"))
        body = {"url": "https://hooks.example.com/", "events": ["none"]}
        return self.world.ok(as_owner("POST", "/v1/webhooks", json=body), 201)["id"]

    def sink_id(self) -> str:
        """A sink, likewise."""
        as_owner = self.world.as_owner
        for old in self.world.ok(as_owner("GET", "/v1/audit/sinks"))["items"]:
            self.world.ok(as_owner("DELETE", f"/v1/audit/sinks/{old['id']}"))
        body = {"name": f"scene-{next(numbers)}", "file": {}}
        return self.world.ok(as_owner("POST", "/v1/audit/sinks", json=body), 201)["id"]

    def post(self, path: str, token: str, **body: Any) -> Any:
        """A call with a credential."""
        return self.world.http.post(path, json=body, headers={"Authorization": f"Bearer {token}"})

    def member(
        self, role: MemberRole, *, org_id: str | None = None, scopes: tuple[str, ...] = identity.EVERY_SCOPE,
        left: bool = False,
    ) -> str:  # fmt: skip
        """A personal token of a new member; of one who has left since, where that is asked for."""

        def make(unit: Unit) -> str:
            member = identity.members.add(unit, role)
            self.people.setdefault(role, member)
            made = identity.issue(
                unit, "personal", actor_name=member.label, actor_id=member.id, profile="full", scopes=scopes,
                member_id=member.id,
            )  # fmt: skip
            if left:
                identity.members.remove(unit, member)
            return made.secret

        return as_system(self.world.context, org_id or self.world.org_id, make)

    def carry(self, name: str, member: identity.members.Member) -> str:
        """The access token or the cookie of a session of a member."""

        def make(unit: Unit) -> str:
            kind: Any = name.partition("_")[0]
            session = orgs.sessions.open_(unit, member, "link")
            made = identity.issue(
                unit, kind, actor_name=member.label, actor_id=member.id, profile="full", scopes=identity.EVERY_SCOPE,
                member_id=member.id, session_id=session,
            )  # fmt: skip
            return made.secret

        return as_system(self.world.context, self.world.org_id, make)

    def program(self, role: MemberRole) -> str:
        """The token of a service account, with all that a program can be given."""

        def make(unit: Unit) -> str:
            account = identity.members.add(unit, role, label=f"program-{role}")
            scopes = tuple(scope for scope in identity.EVERY_SCOPE if scope != "approve")
            made = identity.issue(
                unit, "service", actor_name=account.label, actor_id=account.id, profile="full", scopes=scopes,
                member_id=account.id,
            )  # fmt: skip
            return made.secret

        return as_system(self.world.context, self.world.org_id, make)

    def issue(
        self, kind: identity.CredentialKind, *, org_id: str | None = None, profile: Profile = "standard",
        revoked: bool = False, suspended: bool = False, **bound: Any,
    ) -> str:  # fmt: skip
        """A credential as the server itself would make it; returns its secret."""

        def make(unit: Unit) -> str:
            made = identity.issue(unit, kind, actor_name=f"test-{kind}", profile=profile, **bound)
            if revoked:
                identity.revoke(unit, credential_id=made.id)
            if suspended:
                identity.suspend(unit, made.id)
            return made.secret

        return as_system(self.world.context, org_id or self.world.org_id, make)


class Scene(Works):
    """One sandbox with everything that hangs on it; made anew once a call has changed it."""

    def __init__(self, grounds: Grounds) -> None:
        self.grounds = grounds
        self.world = grounds.world
        self.sandbox: Sandbox = self.world.open_sandbox()
        self.commit_sha = self.sandbox.commit({f"src/s{next(numbers)}.py": "x\n"}, "Add")["commit_sha"]
        self._bodies: dict[str, Json] = {}

    def _bound(self, **more: Any) -> Json:
        return {"sandbox_id": self.sandbox_id, "repo_id": self.grounds.repo_id, **more}

    def secret(self, credential: str) -> str | None:
        """The secret of one kind of credential, None for none."""
        grounds, issue = self.grounds, self.grounds.issue
        past = utcnow() - timedelta(hours=1)
        makers: dict[str, Callable[[], str | None]] = {
            "none": lambda: None,
            "garbage": lambda: "bos_rt_" + "0" * 43,
            "own": lambda: self.sandbox.token,
            "other": lambda: grounds.other.token,
            "minimal": lambda: issue("reuse_token", profile="minimal", **self._bound()),
            "expired": lambda: issue("reuse_token", **self._bound(expires_at=past)),
            "revoked": lambda: issue("reuse_token", revoked=True, **self._bound()),
            "suspended": lambda: issue("reuse_token", suspended=True, **self._bound()),
            "malformed": lambda: "this is \u00e4 token",
            **{name: lambda name=name: grounds.programs[name] for name in grounds.programs},
            **{name: lambda name=name: grounds.carried[name] for name in grounds.carried},
            "other_org": lambda: grounds.foreign_sandbox.token,
            "other_org_owner": lambda: grounds.foreign_owner,
            "other_repo": lambda: grounds.other_repo.token,
            "share": lambda: issue("share", **self._bound()),
            "owner": lambda: self.world.owner_token,
            **{role: lambda role=role: grounds.members[role] for role in ROLES},
            "read_only_admin": lambda: grounds.read_only_admin,
            "other_org_admin": lambda: grounds.foreign_admin,
            "left": lambda: grounds.left,
        }
        scope = credential.removeprefix("key_")
        return grounds.keys[scope] if credential.startswith("key_") else makers[credential]()

    @cached_property
    def backup_id(self) -> str:
        return self.sandbox.post("/system/backup")["backup_id"]

    @cached_property
    def promotion(self) -> Json:
        return self.world.ok(self.sandbox.try_post("/git/promote", title="A scene"))

    @cached_property
    def share(self) -> Json:
        answer = self.world.as_owner("POST", f"/v1/sandboxes/{self.sandbox_id}/share", json={})
        return self.world.ok(answer)

    @cached_property
    def key_id(self) -> str:
        body = {"label": "of a scene", "scopes": ["read"]}
        return self.world.ok(self.world.as_owner("POST", "/v1/api-keys", json=body))["id"]

    @cached_property
    def member_id(self) -> str:
        body = {"label": "of a scene", "role": "builder"}
        return self.world.ok(self.world.as_owner("POST", "/v1/service-accounts", json=body))["id"]

    @cached_property
    def project(self) -> Json:
        name = f"scene-{next(numbers)}"
        place = self.world.ok(self.world.as_owner("POST", "/v1/workspaces", json={"name": name}))
        body = {"workspace_id": place["id"], "name": name}
        return self.world.ok(self.world.as_owner("POST", "/v1/projects", json=body))

    @cached_property
    def grant_id(self) -> str:
        body = {"member_id": self.member_id, "role": "viewer", "place": self.project["id"]}
        return self.world.ok(self.world.as_owner("POST", "/v1/grants", json=body))["id"]

    @cached_property
    def invite(self) -> Json:
        body = {"email": f"n{next(numbers)}@scene.example", "role": "viewer"}
        return self.world.ok(self.world.as_owner("POST", "/v1/invites", json=body))

    @cached_property
    def token_id(self) -> str:
        body = {"label": "of a scene", "scopes": ["read"], "service_account": self.member_id}
        return self.world.ok(self.world.as_owner("POST", "/v1/tokens", json=body))["id"]

    @cached_property
    def session_id(self) -> str:
        joined = self.world.http.post(
            "/v1/invites/accept", json={"invite_token": self.invite["invite_token"]}
        )
        return self.world.ok(joined)["session_id"]

    @cached_property
    def suspended_id(self) -> str:
        def suspend(unit: Unit) -> str:
            made = identity.issue(unit, "api_key", actor_name="crowd", scopes=("read",))
            identity.suspend(unit, made.id)
            return made.id

        return as_system(self.world.context, self.world.org_id, suspend)

    @cached_property
    def secret_id(self) -> str:
        body = {"key_name": f"SCENE_{next(numbers)}", "value": "the value of a scene"}
        return self.world.ok(self.world.as_owner("POST", "/v1/secrets", json=body), 201)["id"]

    @cached_property
    def fingerprint(self) -> str:
        file = {"path": f"f{next(numbers)}.py", "content": self.sandbox.token}
        refused = self.sandbox.try_post("/commit_and_log_output", files=[file], message="x")
        return self.world.problem(refused, "policy_denied")["findings"][0]["fingerprint"]

    @cached_property
    def webhook_id(self) -> str:
        return self.grounds.webhook_id()

    @cached_property
    def sink_id(self) -> str:
        return self.grounds.sink_id()

    @cached_property
    def hold_id(self) -> str:
        body = {"subject": "usr_nobody", "reason": "x"}
        return self.world.ok(self.world.as_owner("POST", "/v1/audit/holds", json=body), 201)["id"]

    @cached_property
    def delivery_id(self) -> str:
        pinged = self.world.as_owner("POST", f"/v1/webhooks/{self.webhook_id}/ping", json={})
        return self.world.ok(pinged)["id"]

    @cached_property
    def alert_id(self) -> str:
        def raise_one(unit: Unit) -> None:
            notices.raise_alert(unit, "tool_failed", self.sandbox_id, {})

        as_system(self.world.context, self.world.org_id, raise_one)
        items = self.world.ok(self.world.as_owner("GET", "/v1/alerts?limit=200"))["items"]
        return next(item["id"] for item in items if item["object"] == self.sandbox_id)

    @property
    def here(self) -> Json:
        """Where a tool is asked to work."""
        return {"repo_name": "lab", "branch": self.sandbox.branch}

    def private(self, credential: str) -> list[str]:
        """Words that nobody else gets to read; the id of the repository is known to all who work in it."""
        words = [self.sandbox.branch, self.sandbox_id, self.commit_sha, self.sandbox.token]
        return words if credential == "other" else [*words, self.grounds.repo_id]

    def headers(self, credential: str) -> dict[str, str | bytes]:
        """How the credential travels: in a header of its own, or as a cookie with or without proof of its page."""
        if "cookie" not in credential:
            secret = self.secret(credential)
            return {"Authorization": f"Bearer {secret}".encode("latin-1")} if secret else {}
        bare = credential in ("bare_cookie", "foreign_cookie")
        secret = self.grounds.carried["cookie_admin" if bare else credential]
        cookie = {"cookie": f"{SESSION}={secret}"}
        if credential == "bare_cookie":
            return cookie
        if bare:
            return {**cookie, "origin": "https://evil.example", "sec-fetch-site": "same-origin"}
        token = self.world.context.get(Cookies).csrf(secret)
        return {**cookie, "origin": SITE, "x-csrf-token": token}

    def body(self, name: str) -> Json:
        """The words of one valid call. They last as long as the scene: what is refused or not kept changes nothing."""
        if name not in self._bodies:
            self._bodies[name] = CALLS[name](self)
        return self._bodies[name]

    def call(self, operation: Operation, credential: str, *, kept: bool = True) -> tuple[Any, str]:
        """Call the operation on this scene with one kind of credential: the response, and what was sent.

        A call that is not `kept` runs to its end, and nothing of it stays: many of them can be made of one scene.
        """
        body = {**self.body(operation.name)}
        sent = str(body)
        path = operation.path.format(**{name: body.pop(name) for name in operation.path_parameters})
        headers = self.headers(credential)
        wire: Json = {"params": body} if operation.method in ("GET", "DELETE") else {"json": body}
        with nullcontext() if kept else mock.patch.object(Unit, "commit"):
            return self.world.http.request(operation.method, path, headers=headers, **wire), sent
