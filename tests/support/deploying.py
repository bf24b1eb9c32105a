"""Branches that can be deployed, and what is deployed of them."""

from typing import Any

import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.core.ids import new_id
from builderos.core.unit import Unit
from builderos.workloads.deployments.manifest import read_manifest
from builderos.workloads.deployments.model import deployments, places

from .deployers import SERVER, Got, get
from .runs import Ship
from .sandboxes import until
from .world import Json

COMMAND = "version: 1\ncommand: exec python3 server.py\nhealth: {path: /health, within: 20s}\n"
STATIC = "version: 1\nstatic: {folder: site}\n"
DEPLOY = "steps:\n  - {id: preview, action: deploy.preview}\n"


class Harbour:
    """A ship's branch with something to deploy."""

    def __init__(self, ship: Ship) -> None:
        self.ship = ship

    def server(self, word: str, manifest: str = COMMAND, **files: str | None) -> None:
        """Commit a server that says `word`."""
        self.ship.box.commit({"server.py": SERVER, "word.txt": word, "deploy.yaml": manifest, **files})

    def deploy(self, text: str = DEPLOY, **body: Any) -> Json:
        """Run a pipeline that deploys; the run once it is over."""
        return self.ship.done(text, **body)

    def deployment(self, run: Json) -> Json:
        """The deployment that a run made."""
        items = self.get(f"/v1/deployments?run_id={run['id']}")["items"]
        assert len(items) == 1, run
        return items[0]

    def get(self, path: str) -> Json:
        """What a door answers to the sandbox."""
        return self.ship.world.ok(self.ship.world.http.get(path, headers=self.ship.box.headers))

    def post(self, path: str, **body: Any) -> Any:
        """A call of the sandbox, whatever comes of it."""
        return self.ship.world.http.post(path, json=body, headers=self.ship.box.headers)

    def until_says(self, url: str, word: str) -> Got:
        """What is deployed, once it says this."""
        until(lambda: _says(url).startswith(word))
        return get(url)


def _says(url: str) -> str:
    try:
        return get(url).text
    except OSError:
        return ""


def stand(unit: Unit, branch_id: str) -> str:
    """Rows of a preview that is live, with one before it, and no process behind them; the id of the live one."""
    branch = repositories.branch_by_id(unit, branch_id)
    c = places.c
    place = unit.execute(sa.select(places).where(c.branch_id == branch_id)).one_or_none()
    place_id, number = (place.id, place.numbers) if place is not None else (new_id("plc"), 0)
    if place is None:
        unit.execute(sa.insert(places).values(
            id=place_id, org_id=unit.org_id, repo_id=branch.repo_id, env="preview", branch_id=branch_id,
            provider="local", machine="none", numbers=0, created_at=unit.now,
        ))  # fmt: skip
    elif place.current_id is not None:
        unit.execute(
            sa.update(deployments).where(deployments.c.id == place.current_id).values(status="superseded")
        )
    ids = [new_id("dep"), new_id("dep")]
    for at, id_ in enumerate(ids, 1):
        unit.execute(sa.insert(deployments).values(
            id=id_, org_id=unit.org_id, place_id=place_id, number=number + at, name=f"{id_}.preview.1",
            run_id=new_id("run"), step_id=new_id("stp"), repo_id=branch.repo_id, branch_id=branch_id,
            repo_name=branch.repo_name, branch=branch.name, provider="local", env="preview",
            status="live" if id_ == ids[-1] else "superseded", detail="",
            tree=repositories.EMPTY_TREE.hex(),
            manifest=read_manifest(STATIC, "preview").as_json(), logs_ref=f"logs/deployments/{id_}.log",
            policy_events=[], created_by="act_system", created_at=unit.now, live_at=unit.now,
        ))  # fmt: skip
    changed = {"numbers": number + 2, "current_id": ids[-1]}
    unit.execute(sa.update(places).where(c.id == place_id).values(**changed))
    return ids[-1]
