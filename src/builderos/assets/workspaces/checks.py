"""Gates of a promotion that always hold: merges cleanly, delivery files valid, path and size rules, no credentials."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from builderos.assets.repositories.service import check_path
from builderos.core.keys import ServerKeys
from builderos.core.problems import Problem
from builderos.core.schema import Out
from builderos.core.settings import Settings
from builderos.core.unit import Unit
from builderos.trust.vault import service as vault

from . import soundness
from .layout import layout_of
from .merging import Preview

MAX_PLACES: Final = 20


class Check(Out):
    """One gate: `detail` names the places that fail it."""

    name: str
    ok: bool
    detail: str


def run_checks(unit: Unit, found: Preview) -> list[Check]:
    """Every gate with its verdict; all of them are always run, so that one look shows everything."""
    gates: dict[str, Callable[[], list[str]]] = {
        "merges_cleanly": lambda: [f"{c.path} ({c.kind})" for c in found.conflicts],
        "delivery_files_valid": lambda: _delivery_faults(found),
        "paths_and_sizes": lambda: _path_faults(unit.settings, found),
        "no_credentials": lambda: _credentials(unit, found),
    }
    return [_check(name, gate()) for name, gate in gates.items()]


def _check(name: str, faults: list[str]) -> Check:
    shown = "; ".join(faults[:MAX_PLACES]) + (
        f" and {len(faults) - MAX_PLACES} more" if len(faults) > MAX_PLACES else ""
    )
    return Check(name=name, ok=not faults, detail=shown or "ok")


def _delivery_faults(found: Preview) -> list[str]:
    layout = layout_of(found.theirs)
    issues = soundness.issues_in(found.theirs, layout)
    return [f"{issue.path}:{issue.line}: {issue.message}" for issue in issues]


def _path_faults(settings: Settings, found: Preview) -> list[str]:
    faults: list[str] = []
    for path, _, new in found.files:
        if not new:
            continue
        try:
            check_path(path)
        except Problem as problem:
            faults.append(f"{path}: {problem.detail}")
        entry = found.theirs.entry(path)
        if (
            entry is not None
            and entry.is_file
            and len(found.batch.read(entry.oid)[1]) > settings.max_text_file
        ):
            faults.append(f"{path} is larger than {settings.max_text_file} bytes")
    return faults


def _credentials(unit: Unit, found: Preview) -> list[str]:
    """Places of credentials that the target does not hold already and nobody has allowed."""
    suspects: list[vault.Suspect] = []
    kept = unit.get(vault.Known).pair(unit).guarded
    for path, _, new in found.files:
        data = found.theirs.read(path) if new else None
        if data is not None:
            ours = partial(_of_target, found, path)
            suspects += vault.suspects(unit.get(ServerKeys), found.repo_id, path, data, ours, kept)
    return [f"{s.path}:{s.line}: {s.kind} ({s.fingerprint})" for s in vault.unallowed(unit, suspects)]


def _of_target(found: Preview, path: str) -> Iterator[bytes]:
    yield found.ours.read(path) or b""
