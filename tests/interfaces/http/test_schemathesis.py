"""The whole contract under generated calls, as everybody: never a fault of ours, never a reply that is not declared.

Short in every run; `BUILDEROS_SOAK=1` asks twenty times as much.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import SkipTest

import httpx2
import hypothesis.strategies as st
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks

from tests.support.databases import Databases
from tests.support.world import Json, world_in_temp

from .scenes import Grounds, Scene

SOAK = bool(os.environ.get("BUILDEROS_SOAK"))
EXAMPLES = 40 if SOAK else 2
ROLES = ("anonymous", "sandbox user", "owner")
CHECKS = (
    checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_headers_conformance, checks.response_schema_conformance, checks.negative_data_rejection,
)  # fmt: skip
KNOWN = ("repo_name", "branch", "commit_sha", "id", "share_token", "reuse_token")
DOCUMENT: Json = json.loads((Path(__file__).parents[3] / "openapi.json").read_text())
NAMES = sorted(op["operationId"] for methods in DOCUMENT["paths"].values() for op in methods.values())


class Asked:
    """A server with something in it, and the values that lead there."""

    def __init__(self, grounds: Grounds) -> None:
        self.grounds = grounds
        self.world = grounds.world
        document = self.world.http.get("/openapi.json").json()
        for methods in document["paths"].values():
            for operation in methods.values():
                operation.pop("security", None)  # the role says which credential is sent
        found = schemathesis.openapi.from_dict(document).get_all_operations()
        self.operations = {op.definition.raw["operationId"]: op for op in (result.ok() for result in found)}
        self.renew()

    def renew(self) -> None:
        """A sandbox that is there: an earlier example may have ended the last one."""
        self.scene = Scene(self.grounds)

    def token(self, role: str) -> str | None:
        """The credential of a role."""
        return {"anonymous": None, "sandbox user": self.scene.sandbox.token, "owner": self.world.owner_token}[
            role
        ]

    def known(self, operation: str) -> Json:
        """Values with which a call arrives somewhere."""
        scene = self.scene
        ids = {"id": scene.sandbox_id, "share_token": scene.share["share_token"]}
        if "Pull" in operation:
            ids["id"] = scene.promotion["promotion_id"]
        if "Approval" in operation:
            ids["id"] = scene.promotion["approval_id"]
        if operation == "restoreBackup":
            ids["id"] = scene.backup_id
        if operation in ("getRepo", "createDevBranch", "protectRepo"):
            ids["id"] = self.grounds.repo_id
        here = {
            "repo_name": "lab",
            "branch": scene.sandbox.branch,
            "commit_sha": scene.commit_sha,
            "reuse_token": None,
        }
        return {**here, **ids}


@pytest.fixture(scope="module")
def asked(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with databases.fresh() as database, world_in_temp(database) as world:
        yield Asked(Grounds(world, tmp_path_factory.mktemp("schemathesis")))


def aim(case: Any, known: Json, chosen: set[str]) -> None:
    """Put values that exist into a call that fits the contract."""
    for part in (case.body, case.path_parameters, case.query):
        if isinstance(part, dict):
            for name in chosen & set(known) & set(part):
                part[name] = known[name]


def one_call(asked: Asked, name: str, role: str, case: Any, chosen: set[str]) -> None:
    """Send one generated call and hold the reply against the contract."""
    if chosen:
        aim(case, asked.known(name), chosen)
    if name == "importRepo" and isinstance(case.body, dict) and ":" in str(case.body.get("source")):
        case.body["source"] = str(asked.grounds.source)  # no test asks another machine
    if name == "followAll" and (case.query or {}).get("stream", True) in (True, "true", "1"):
        case.query = {
            **(case.query or {}),
            "stream": False,
        }  # a stream of real topics goes on until the server ends
    token = asked.token(role)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    sent = case.as_transport_kwargs(base_url="http://127.0.0.1", headers=headers)
    try:
        response = asked.world.http.request(
            sent["method"], sent["url"], params=sent.get("params"), json=sent.get("json"), content=sent.get("data"),
            headers=dict(sent["headers"]),
        )  # fmt: skip
    except httpx2.InvalidURL:  # longer than what this client makes an address of: nothing was asked
        return
    case.validate_response(schemathesis.Response.from_any(response), checks=list(CHECKS))
    if response.status_code < 300 and case.operation.method.upper() != "GET":
        asked.renew()


@pytest.mark.soak
@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", NAMES)
def test_no_call_finds_a_fault_or_a_reply_that_is_not_declared(
    asked: Asked, name: str, mode: GenerationMode
) -> None:
    """Every role sends the same calls: making them up takes longer than answering them."""
    operation = asked.operations[name]

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=not SOAK, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode), chosen=st.sets(st.sampled_from(KNOWN)))
    def run(case: Any, chosen: set[str]) -> None:
        for role in ROLES:
            try:
                one_call(asked, name, role, case, chosen if mode == GenerationMode.POSITIVE else set())
            except Exception as error:
                error.add_note(f"as {role}")
                raise

    try:
        run()
    except (Unsatisfiable, SkipTest):
        assert mode == GenerationMode.NEGATIVE, "nothing about this operation can be wrong"
