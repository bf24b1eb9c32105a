"""A deployment's row as a release: its files laid out, its hosts and secrets as the policy grants them now."""

import functools
import os
import stat
from pathlib import Path
from typing import Any, Final

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.service import Scratch
from builderos.core.context import Context
from builderos.core.unit import Call, Unit, perform
from builderos.execution.compute.schema import Secret
from builderos.execution.runs import service as runs
from builderos.trust.policy import service as policy
from builderos.trust.vault import service as vault

from . import rows
from .manifest import Manifest
from .ports import Release

FOLDER: Final = "deployments"


def release_of(context: Context, call: Call, id_: str) -> Release:
    """What the provider is given. Blocks. Raises `policy_denied`, `not_found` for a secret, `unavailable`."""
    row, release, below = perform(context, call, functools.partial(_read, id_))
    scratch = Scratch.of(context, row.org_id, row.repo_id, below)
    lay_out(scratch, row.built_tree or row.tree, Path(release.folder))
    return release


def folder_of(unit: Unit, row: rows.Row) -> Path:
    """Where the files of a version lie."""
    return rows.state_of(unit, row) / FOLDER / row.id / "tree"


def lay_out(scratch: Scratch, tree: str, folder: Path) -> None:
    """Write the files, readable for the account that their command gets: the folders above keep all others out."""
    if runs.workspace.marker_of(folder).exists():
        return
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    runs.workspace.lay_out(scratch, tree, folder)
    for place, _, files in os.walk(folder):
        Path(place).chmod(0o755)
        for name in files:
            path = Path(place, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                path.chmod(0o755 if mode & 0o100 else 0o644)


def _read(id_: str, unit: Unit) -> tuple[rows.Row, Release, str]:
    row = rows.find(unit, id_)
    manifest, place = Manifest.from_json(row.manifest), rows.place_of(unit, row.place_id)
    branch = repositories.branch_by_id(unit, row.branch_id)
    repositories.ready(unit, branch)
    where = rows.repo_resource(unit, row)
    hosts, events = _granted(unit, manifest, where)
    if events:
        known = [event for event in row.policy_events if not event["what"].startswith("network ")]
        rows.change(unit, id_, policy_events=[*known, *events])
    values: dict[str, str] = {}
    if manifest.secrets:
        values = vault.release(unit, manifest.secrets, f"deployment {id_} in {row.env}", where)
    redactor, path = unit.get(vault.Known).of(unit), rows.state_of(unit, row) / row.logs_ref
    return row, Release(
        ref=id_, place=f"{row.org_id}/{row.place_id}", environment=row.env, folder=str(folder_of(unit, row)),
        site=manifest.site, command=manifest.command, env=tuple(manifest.env.items()),
        secrets=tuple(Secret(name, value) for name, value in values.items()), hosts=hosts, check=manifest.check,
        limits=manifest.limits, address=place.url or "", log=lambda: runs.Sink(path, redactor),
    ), branch.store  # fmt: skip


def _granted(unit: Unit, manifest: Manifest, where: Any) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """The hosts of those asked for that the policy grants; and what was said to each."""
    granted: list[str] = []
    events: list[dict[str, str]] = []
    for host in dict.fromkeys(manifest.network):
        decision = policy.may_reach(unit, host.partition(":")[0], where)
        if decision.verdict == "allow":
            granted.append(host)
        rule = decision.rules[0] if decision.rules else ""
        events.append({"rule": rule, "decision": decision.verdict, "what": f"network {host}"})
    return tuple(granted), events
