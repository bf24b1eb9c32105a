"""Guarded doors: every operation × every kind of credential, held against a table that people have read.

`guards.txt` says for each operation which outcome each credential has; `ok` means that the call went through. An
operation without an entry fails. `BUILDEROS_WRITE_GUARDS=1` writes what the server does now, to be read before it is
committed.
"""

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builderos import app as root
from builderos.core.application import Application
from builderos.core.context import Context
from builderos.core.operations import Operation
from tests.support.databases import Databases
from tests.support.world import world_in_temp

from .calls import CALLS
from .scenes import CARRIERS, CREDENTIALS, ROLES, SAME, Grounds, Scene

TABLE = Path(__file__).with_name("guards.txt")
OPERATIONS = {o.name: o for o in Application(Context(), list(root.GROUPS)).operations()}
# What somebody without any credential may do. This list only shrinks: a new name in it needs a very good reason.
OPEN_TO_ALL = {
    "initSandbox": "anonymous mode: opens a workspace of one's own, and no other",
    "initBranch": "an older name of initSandbox",
    "getStarted": "an older name of initSandbox",
    "viewShared": "the address itself is the credential",
    "acceptInvite": "the invite itself is the credential",
}
NO_CREDENTIAL = ("none", "garbage", "malformed", "expired", "revoked", "suspended", "left", "foreign_cookie")
COLUMNS = (*CREDENTIALS, *CARRIERS)
# Whom the object belongs to although it is an outsider everywhere else.
INSIDE = {
    ("getOrg", "other_repo"), ("routeOrg", "other_org_owner"),
    # There is one registry of prompts in an organisation.
    ("showPrompt", "other_repo"), ("listPromptVersions", "other_repo"), ("diffPrompt", "other_repo"),
}  # fmt: skip
OUTSIDERS = (*NO_CREDENTIAL, "other_org", "other_org_owner", "other_org_admin", "other_repo")


def read_table() -> dict[str, dict[str, str]]:
    """Operation → credential → outcome."""
    return table_of(TABLE.stat().st_mtime_ns)


@functools.cache
def table_of(_changed: int) -> dict[str, dict[str, str]]:
    """The table as it was then: with `BUILDEROS_WRITE_GUARDS` it changes while it is read."""
    table: dict[str, dict[str, str]] = {}
    for line in TABLE.read_text().splitlines():
        if line.startswith("["):
            row = table.setdefault(line.strip("[]"), {})
        elif line.strip() and not line.startswith("#"):
            outcome, _, who = line.partition(":")
            row.update(dict.fromkeys(who.split(), outcome.strip()))
    return table


def outcome(response: Any) -> str:
    """`ok`, or the code of the problem."""
    if response.status_code < 300:
        return "ok"
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.json()["code"]


@pytest.fixture(scope="module")
def grounds(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    with databases.fresh() as database, world_in_temp(database) as world:
        yield Grounds(world, tmp_path_factory.mktemp("guards"))


def walk(grounds: Grounds, operation: Operation) -> dict[str, str]:
    """What every credential gets. The first call that changes something stays, and a new scene comes behind it."""
    found: dict[str, str] = {}
    scene, kept = Scene(grounds), True
    for credential in CREDENTIALS:
        response, sent = scene.call(operation, credential, kept=kept)
        found[credential] = outcome(response)
        if credential in (*OUTSIDERS, "other") and operation.name not in ("viewShared", "acceptInvite"):
            leaked = [w for w in scene.private(credential) if w in response.text and w not in sent]
            assert not leaked, (credential, response.text)
        if kept and found[credential] == "ok" and operation.effect == "write":
            scene, kept = Scene(grounds), False
    for carrier in (*CARRIERS, *SAME):
        found[carrier] = outcome(scene.call(operation, carrier, kept=False)[0])
    return found


def test_every_operation_has_a_row_and_a_call_and_no_row_outlives_its_operation() -> None:
    assert set(OPERATIONS) <= set(CALLS), set(OPERATIONS) - set(CALLS)
    assert set(read_table()) == set(OPERATIONS), set(read_table()) ^ set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_door_opens_for_whom_the_table_says(grounds: Grounds, name: str) -> None:
    assert name in CALLS, "write a valid call of this operation into calls.py"
    found = walk(grounds, OPERATIONS[name])
    carried = {carrier: found.pop(carrier) for carrier in SAME}
    assert carried == {carrier: found[role] for carrier, role in SAME.items()}
    if os.environ.get("BUILDEROS_WRITE_GUARDS"):
        write_row(name, found)
    expected = read_table().get(name, {})
    assert found == {credential: expected.get(credential) for credential in COLUMNS}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_table_keeps_the_rules_that_hold_for_every_door(name: str) -> None:
    """What must be true whatever the table says: nobody gets through a review by a typing error."""
    operation, row = OPERATIONS[name], read_table()[name]
    assert "internal" not in row.values()
    for credential in NO_CREDENTIAL:
        assert row[credential] != "ok" or name in OPEN_TO_ALL, credential
    if name in OPEN_TO_ALL:
        assert row["none"] == "ok", "no longer open: take it off the list"
    if operation.effect == "write" and name not in OPEN_TO_ALL:
        assert row["share"] != "ok", "a link is for reading"
        if operation.profile != "platform" or operation.consequential:
            assert row["key_read"] != "ok", "a key for reading writes nothing"
    for role in ROLES:
        if row[f"service_{role}"] == "ok":
            assert row[role] == "ok", "a program may do no more than a person of its role"
    if operation.method != "GET":
        assert row["bare_cookie"] == row["none"], "any page could make a browser send it"
    assert row["foreign_cookie"] == row["none"], "a page of another site sent it"
    if operation.profile == "standard":
        assert row["minimal"] == "tool_not_allowed"
    if operation.path_parameters and name not in OPEN_TO_ALL:
        for credential in OUTSIDERS:
            inside = (name, credential) in INSIDE
            assert row[credential] != "ok" or inside, f"{credential} reached another's object"


def write_row(name: str, found: dict[str, str]) -> None:
    """Replace one row of the table."""
    rows = {**read_table(), name: found} if TABLE.exists() else {name: found}
    lines = (
        [line for line in TABLE.read_text().splitlines() if line.startswith("#")] if TABLE.exists() else []
    )
    for operation in sorted(rows):
        lines += ["", f"[{operation}]"]
        outcomes = dict.fromkeys(["ok", *sorted(set(rows[operation].values()))])
        for one in outcomes:
            who = [c for c in COLUMNS if rows[operation].get(c) == one]
            lines += [f"{one}: {' '.join(who)}"] if who else []
    TABLE.write_text("\n".join(lines) + "\n")
