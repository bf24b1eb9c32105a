"""Files of runs and of logged models: a name below their owner, and the artifact that holds the bytes."""

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from builderos.assets.artifacts import service as kept
from builderos.core.paths import check_path
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.audit import service as audit
from builderos.trust.ledger import service as ledger

from .limits import invalid
from .logging import gone
from .model import artifacts, logged_models, traces
from .reach import Act, experiment, spot

MODEL: Final = re.compile(r"m-[0-9a-f]{32}\Z")
TRACE: Final = re.compile(r"tr-[0-9a-f]{32}\Z")
MAX_FILES: Final = 100_000
_ROUNDS: Final = 4


@dataclass(frozen=True, slots=True)
class File:
    """A file, or a folder (without `size` and `artifact_id`)."""

    path: str
    size: int | None = None
    artifact_id: str | None = None


def check(path: str) -> str:
    """The path as it was sent, when it leads nowhere else. Raises `invalid_path`.

    What a browser or a client takes for something else than a name (a fragment, a query, an encoded dot) is refused in
    each form that decoding it once more could give.
    """
    spelled = path
    for _ in range(_ROUNDS):
        if "#" in spelled or "?" in spelled:
            raise Problem("invalid_path", "Invalid path", hint="Take names without # and ?.", path=path[:200])
        check_path(spelled)
        decoded = unquote(spelled)
        if decoded == spelled:
            return path
        spelled = decoded
    raise Problem("invalid_path", "Invalid path", hint="Encode it once.", path=path[:200])


def owned(unit: Unit, owner: str, act: Act) -> None:
    """Ask whether the actor may read or write files of a run or of a logged model. Raises `not_found`, `Refused`."""
    if TRACE.match(owner):
        of_trace = sa.select(traces.c.experiment_id).where(traces.c.id == owner)
        experiment(
            unit, unit.execute(of_trace).scalar_one_or_none() or "", act, gone=act == "experiment.read"
        )
        return
    if not MODEL.match(owner):
        if not spot(unit, owner, act).active and act == "experiment.write":
            raise gone(owner)
        return
    c = logged_models.c
    found = unit.execute(sa.select(c.experiment_id).where(c.id == owner)).scalar_one_or_none()
    if found is None:
        experiment(unit, "", act)
    experiment(unit, found or "", act, gone=act == "experiment.read")


def put(unit: Unit, owner: str, path: str, content: kept.Prepared) -> File:
    """Keep a file; one that was there under this name is replaced. Raises `not_found`, `invalid_path`."""
    check(path)
    owned(unit, owner, "experiment.write")
    c = artifacts.c
    above = ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 1)]
    clash = sa.select(c.path).where(
        c.owner == owner, sa.or_(c.path.in_(above), sa.and_(c.path > f"{path}/", c.path < f"{path}0"))
    )
    if unit.execute(clash.limit(1)).one_or_none() is not None:
        raise invalid(f"'{path[:200]}' is a folder, or lies in what is a file", hint="Take another name.")
    made = kept.keep(unit, content, path=path, run_id=owner, type_="experiment")
    row = insert(artifacts).values(
        org_id=unit.org_id, owner=owner, path=path, artifact_id=made.id, size=made.size
    )  # fmt: skip
    same = ["org_id", "owner", "path"]
    unit.execute(
        row.on_conflict_do_update(index_elements=same, set_={"artifact_id": made.id, "size": made.size})
    )
    return File(path, made.size, made.id)


def listed(unit: Unit, owner: str, folder: str = "") -> list[File]:
    """What lies directly in a folder; of a file, the file itself. Raises `not_found` for an owner that is none."""
    if folder:
        check(folder)
    owned(unit, owner, "experiment.read")
    c = artifacts.c
    prefix = f"{folder}/" if folder else ""
    wanted = (
        sa.select(c.path, c.size, c.artifact_id).where(c.owner == owner).order_by(c.path).limit(MAX_FILES)
    )
    if folder:
        # Whatever begins with the folder's name: `0` is the character behind `/`.
        below = sa.and_(c.path >= prefix, c.path < f"{folder}0")
        wanted = wanted.where(sa.or_(below, c.path == folder))
    found: dict[str, File] = {}
    for row in unit.execute(wanted):
        name, slash, _ = row.path.removeprefix(prefix).partition("/")
        whole = f"{prefix}{name}" if row.path != folder else folder
        found[whole] = File(whole) if slash else File(whole, row.size, row.artifact_id)
    return list(found.values())


def below(unit: Unit, owner: str, folder: str = "") -> list[File]:
    """Every file below a folder, for other rooms that have asked the policy themselves."""
    c = artifacts.c
    wanted = sa.select(c.path, c.size, c.artifact_id).where(c.owner == owner).order_by(c.path)
    if folder:
        wanted = wanted.where(sa.or_(c.path == folder, sa.and_(c.path > f"{folder}/", c.path < f"{folder}0")))
    return [File(row.path, row.size, row.artifact_id) for row in unit.execute(wanted)]


def opened(unit: Unit, owner: str, path: str) -> tuple[File, Any]:
    """A file, and what reads it when the transaction has ended. Raises `not_found`, `invalid_path`."""
    check(path)
    owned(unit, owner, "experiment.read")
    c = artifacts.c
    row = unit.execute(
        sa.select(c.path, c.size, c.artifact_id).where(c.owner == owner, c.path == path)
    ).one_or_none()
    if row is None:
        raise Problem("not_found", f"No such artifact: '{path[:500]}'", hint="List the folder.", what="file")
    handle = kept.reading.handle_of(unit, row.artifact_id)
    audit.access.note(unit, "experiment_file.read", owner, paths=[path])
    return File(row.path, row.size, row.artifact_id), handle


def remove(unit: Unit, owner: str, path: str) -> int:
    """Take a file away, or a folder with all that is in it; how many files. Their artifacts stay on record."""
    check(path)
    owned(unit, owner, "experiment.write")
    c = artifacts.c
    inside = sa.or_(c.path == path, sa.and_(c.path > f"{path}/", c.path < f"{path}0"))
    gone_ = unit.execute(sa.delete(artifacts).where(c.owner == owner, inside)).rowcount
    if gone_:
        ledger.record(unit, "experiment_file.removed", owner, {"path": path, "files": gone_})
    return gone_


def experiment_of(unit: Unit, run_id: str) -> str:
    """The experiment of a run whose files the actor may read. Raises `not_found`."""
    return spot(unit, run_id, "experiment.read").experiment_id
