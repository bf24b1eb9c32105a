"""Branches that can be deployed, and what is deployed of them."""

from typing import Any

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
