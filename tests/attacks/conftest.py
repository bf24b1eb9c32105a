"""One server on a real port for each module, attacked through its public doors alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.live import live as serving
from tests.support.teams import Person, Team
from tests.support.world import Json, Sandbox


@dataclass
class Target:
    """What is attacked: a server, one workspace in it, and a second organisation."""

    lab: Lab
    url: str
    box: Sandbox
    team: Team
    wire: httpx.Client

    def post(self, path: str, token: str | None = None, /, **body: Any) -> httpx.Response:
        """A call over the socket, as anybody can make it."""
        return self.send("POST", path, token, json=body)

    def send(self, method: str, path: str, token: str | None = None, **more: Any) -> httpx.Response:
        """A request over the socket."""
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **more.pop("headers", {})}
        return self.wire.request(method, self.url + path, headers=headers, **more)

    def refused(self, response: Any, *codes: str) -> Json:
        """The problem of a refusal: of ours, of one of these codes, and never a fault of ours."""
        assert response.status_code >= 400, response.text
        assert response.headers["content-type"] == "application/problem+json", response.text
        body: Json = response.json()
        assert body["code"] in codes, body
        return body

    def lines(self) -> int:
        """How many lines the record has, of all organisations."""
        return self.lab.sql("select count(*) from ops.ledger")[0][0]

    def member(self, role: str) -> Person:
        """A new member of the second organisation."""
        return self.team.join(role)


@pytest.fixture(scope="module")
def target(databases: Databases) -> Iterator[Target]:
    with lab_in_temp(databases) as lab, serving(lab.world.asgi) as url, httpx.Client(timeout=120) as wire:
        team = Team(lab)
        lab.ok(team.owner.call("POST", "/v1/repos", name="shop"), 201)
        box = lab.open_sandbox()
        box.commit({"a.txt": "a\n"})
        yield Target(lab, url, box, team, wire)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A file that exists once something was carried out that should not have been."""
    return tmp_path / "sprung"
