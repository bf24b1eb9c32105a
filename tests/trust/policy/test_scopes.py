"""Scopes of a policy file bind every act that has a place, by whatever id it is named."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from builderos import app as root
from builderos.core.application import Application
from builderos.core.context import Context
from builderos.trust.policy.document import read_document
from builderos.trust.policy.file_policy import FilePolicy
from builderos.trust.policy.force import InForce, Version
from tests.interfaces.http.calls import CALLS
from tests.interfaces.http.scenes import Grounds, Scene
from tests.support.databases import Databases
from tests.support.world import World, world_in_temp

OPERATIONS = {o.name: o for o in Application(Context(), list(root.GROUPS)).operations()}
# What decides about the policy itself is exempt, as is the question what one may do; an alert is the organisation's.
UNBOUND = {"getApproval", "decideApproval", "getPermissions", "ackAlert", "proposePolicy"}


@contextmanager
def in_force(world: World, text: str) -> Iterator[None]:
    """A file in force without its approval, which other tests are about."""
    force = world.context.get(InForce)
    before = force._fixed, force._ask
    force._fixed, force._ask = Version(1, "", "", FilePolicy(read_document(text))), False
    try:
        yield
    finally:
        force._fixed, force._ask = before


@pytest.fixture(scope="module")
def grounds(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    with databases.fresh() as database, world_in_temp(database) as world:
        yield Grounds(world, tmp_path_factory.mktemp("scopes"))


def has_place(sent: str, scene: Scene) -> bool:
    named = (
        "'lab'", scene.sandbox.branch, scene.sandbox_id, scene.grounds.repo_id, scene.commit_sha, "'pul_", "'shr_",
        "'name': 'import-", "'name': 'made-",
    )  # fmt: skip
    return any(word in sent for word in named)


def test_a_rule_for_a_project_binds_every_operation_that_has_a_place_in_one(grounds: Grounds) -> None:
    deny = "version: 1\nrules: [{id: closed, scope: {project: '*'}, deny: {tools: ['*']}}]\n"
    free: set[str] = set()
    bound, scene = 0, Scene(grounds)
    for operation in (OPERATIONS[name] for name in CALLS if name in OPERATIONS):
        body = {**CALLS[operation.name](scene)}
        if not has_place(str(body), scene):
            continue
        path = operation.path.format(**{name: body.pop(name) for name in operation.path_parameters})
        wire = {"params": body} if operation.method in ("GET", "DELETE") else {"json": body}
        with in_force(grounds.world, deny):
            response = grounds.world.as_owner(operation.method, path, **wire)
        if response.status_code == 403 and response.json().get("policy_rule") == "closed":
            bound += 1
        else:
            free.add(operation.name)
            scene = Scene(grounds)
    assert free <= UNBOUND
    assert bound >= 40
