"""What code in a notebook calls of the server that it runs on: with the session's own token, what was named for it."""

import sqlalchemy as sa

from builderos.core.unit import as_system
from builderos.trust.identity.model import credentials
from tests.support.inward import doubled_endpoint, open_inward
from tests.support.notebooks import Desk, cell

CODE = """
import os, urllib.error, urllib.request
for name in ("iris", "other"):
    to = os.environ["BUILDEROS_CALL_URL"] + "/v1/endpoints/" + name + "/invoke"
    shown = {"Authorization": "Bearer " + os.environ["BUILDEROS_CALL_TOKEN"], "Content-Type": "application/json"}
    try:
        print(urllib.request.urlopen(urllib.request.Request(to, b"{}", shown)).read().decode())
    except urllib.error.HTTPError as error:
        print(error.code)
"""


def test_a_notebook_calls_the_endpoint_that_was_named_for_it_as_itself_until_it_ends(desk: Desk) -> None:
    world, box = desk.ship.world, desk.ship.box
    for name in ("iris", "other"):
        doubled_endpoint(world, name)
    body = {"repo_name": box.repo_name, "branch": box.branch, "runtime": "py", "endpoints": ["iris"]}
    with open_inward(world):
        made = world.ok(world.as_owner("POST", "/v1/sessions", json=body), 202)
        assert made["endpoints"] == ["iris"]
        desk.until(made["id"], "running", "idle")
        assert cell(desk, made["id"], CODE) == '{"predictions": ["mdp_iris"]}\n403\n'
    read = world.as_owner(
        "GET", "/v1/audit/access", params={"object": "enp_iris", "action": "endpoint.invoke"}
    )
    assert world.ok(read)["items"][0]["actor"] == made["id"]
    desk.post(f"/v1/sessions/{made['id']}/stop")
    desk.until(made["id"], "stopped")
    own = sa.select(credentials.c.revoked_at).where(credentials.c.actor_id == made["id"])
    revoked = as_system(world.context, world.org_id, lambda unit: unit.execute(own).scalars().all())
    assert len(revoked) == 1
    assert revoked[0] is not None


def test_a_workspace_that_nobody_signed_in_for_hands_on_no_endpoint_and_no_model(desk: Desk) -> None:
    for named in ({"endpoints": ["iris"]}, {"models": ["default"]}):
        reply = desk.try_post("/v1/sessions", runtime="py", **named)
        desk.ship.world.problem(reply, "policy_denied")
