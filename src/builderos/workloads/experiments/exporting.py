"""An experiment as one file, written while it is read: however large it is, little of it is held at once."""

import hashlib
import io
import json
import stat
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import IO, Any, Final

import sqlalchemy as sa

from builderos.assets.artifacts import service as kept
from builderos.core.operations import Download
from builderos.core.unit import Unit, perform
from builderos.trust.audit import service as audit

from .archive import FORMAT, MANIFEST, MAX_ENTRIES, MAX_RUNS
from .comparing import number
from .files import below
from .limits import invalid
from .model import inputs, logged_models, metrics, params, run_models, runs, tags
from .reach import experiment
from .submit_schema import ExportIn

Row = sa.Row[Any]
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_POINTS: Final = 20_000
_RUNS: Final = 50
_PIECE: Final = 256 * 1024


def export(unit: Unit, body: ExportIn) -> Download:
    """The experiment with its runs that were not deleted, or some of them. Raises `not_found`, `validation_failed`."""
    home, _ = experiment(unit, body.id, "experiment.read", gone=True)
    c = runs.c
    wanted = sa.select(c.id).where(c.experiment_id == home.id, c.active).order_by(c.started_at, c.id)
    some = [part.strip() for part in body.runs.split(",") if part.strip()]
    if some:
        wanted = wanted.where(c.id.in_(some))
    ids = list(unit.execute(wanted.limit(MAX_RUNS + 1)).scalars())
    if len(ids) > MAX_RUNS or (some and len(ids) != len(set(some))):
        raise invalid(
            f"an export holds at most {MAX_RUNS} runs, all of this experiment", hint="Name fewer with runs."
        )
    m = logged_models.c
    of = sa.select(logged_models).where(m.experiment_id == home.id, m.active, m.run_id.in_(ids))
    models = unit.execute(of.order_by(m.id)).all()
    owned = [(owner, file) for owner in [*ids, *(row.id for row in models)] for file in below(unit, owner)]
    if len(owned) + 2 * len(ids) + len(models) > MAX_ENTRIES - 1:
        raise invalid(f"an export holds at most {MAX_ENTRIES} files", hint="Name fewer runs.")
    files = [
        (f"files/{owner}/{file.path}", kept.reading.handle_of(unit, file.artifact_id or ""), file.size or 0)
        for owner, file in owned
    ]
    audit.access.note(unit, "experiment.export", home.id, paths=ids)
    context, call = unit.context, unit.call

    def ask(verb: Callable[[Unit], Any]) -> Any:
        return perform(context, call, verb, read_only=True)

    chunks = _Zip().written(_entries(ask, ids, models, files), {"name": home.name, "tags": home.tags, "runs": ids,
                                                                  "models": [row.id for row in models]})  # fmt: skip
    return Download(chunks, "application/zip", f"{home.id}.zip")


Entries = Iterator[tuple[str, Iterator[bytes]]]


def _entries(
    ask: Callable[[Callable[[Unit], Any]], Any], ids: Sequence[str], models: Sequence[Row],
    files: Sequence[tuple[str, Any, int]],
) -> Entries:  # fmt: skip
    for at in range(0, len(ids), _RUNS):
        some = ids[at : at + _RUNS]
        for document in ask(lambda unit, some=some: _documents(unit, some)):
            yield f"runs/{document['id']}.json", iter([_json(document)])
        for id_ in some:
            yield f"metrics/{id_}.jsonl", _points(ask, id_)
    for row in models:
        told = {"id": row.id, "run_id": row.run_id, "name": row.name, "type": row.type, "status": row.status,
                "params": row.params, "tags": row.tags, "metrics": row.metrics}  # fmt: skip
        yield f"models/{row.id}.json", iter([_json(told)])
    for name, handle, size in files:
        yield name, handle.read(0, size)


def _documents(unit: Unit, ids: Sequence[str]) -> list[dict[str, Any]]:
    """What stands of these runs, without their points."""
    rows = unit.execute(sa.select(runs).where(runs.c.id.in_(ids))).all()
    found: dict[str, dict[str, Any]] = {
        row.id: {
            "id": row.id, "name": row.name, "status": row.status, "started_at": row.started_at,
            "ended_at": row.ended_at, "user_name": row.user_name, "submitted": row.params,
            "dataset_ref": row.dataset_ref, "code_sha": row.code_sha, "runtime": row.runtime, "sweep": row.sweep,
            "params": {}, "tags": {}, "inputs": [], "used": [], "made": [],
        }
        for row in rows
    }  # fmt: skip
    for part, table in (("params", params), ("tags", tags)):
        for row in unit.execute(sa.select(table).where(table.c.run_id.in_(ids)).order_by(table.c.key)):
            found[row.run_id][part][row.key] = row.value
    for row in unit.execute(sa.select(inputs).where(inputs.c.run_id.in_(ids)).order_by(inputs.c.name)):
        told = {"name": row.name, "digest": row.digest, "document": row.document, "tags": row.tags}
        found[row.run_id]["inputs"].append(told)
    m = run_models.c
    for row in unit.execute(sa.select(run_models).where(m.run_id.in_(ids)).order_by(m.step, m.model_id)):
        found[row.run_id]["used" if row.direction == "input" else "made"].append([row.model_id, row.step])
    return [found[id_] for id_ in ids if id_ in found]


def _points(ask: Callable[[Callable[[Unit], Any]], Any], run_id: str) -> Iterator[bytes]:
    c = metrics.c
    order = (c.key, c.step, c.at, c.value)
    after: tuple[Any, ...] | None = None
    while True:
        wanted = sa.select(*order).where(c.run_id == run_id).order_by(*order).limit(_POINTS)
        if after is not None:
            last = (sa.literal(value, column.type) for value, column in zip(after, order, strict=True))
            wanted = wanted.where(sa.tuple_(*order) > sa.tuple_(*last))
        rows = ask(lambda unit, wanted=wanted: unit.execute(wanted).all())
        if rows:
            yield b"".join(_json([row.key, row.step, row.at, number(row.value)]) + b"\n" for row in rows)
        if len(rows) < _POINTS:
            return
        after = tuple(rows[-1])


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


class _Zip(io.RawIOBase):
    """A zip that is taken away while it grows."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """How much was written."""
        return self._at

    def write(self, data: Any, /) -> int:
        """The next bytes."""
        piece = bytes(data)
        self._held.append(piece)
        self._at += len(piece)
        return len(piece)

    def written(self, entries: Entries, told: dict[str, Any]) -> Iterator[bytes]:
        """The bytes of the zip; its manifest stands last, for the hashes are known then."""
        hashes: dict[str, dict[str, Any]] = {}
        with zipfile.ZipFile(self, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, pieces in entries:
                with archive.open(_info(name), "w", force_zip64=True) as out:
                    hashes[name] = yield from self._copied(pieces, out)
            manifest = {"format": FORMAT, "version": 1, **told, "files": hashes}
            archive.writestr(_info(MANIFEST), _json(manifest))
        yield from self._taken(0)

    def _copied(self, pieces: Iterator[bytes], out: IO[bytes]) -> Generator[bytes, None, dict[str, Any]]:
        """Write one entry; its hash and size."""
        summing, size = hashlib.sha256(), 0
        for piece in pieces:
            summing.update(piece)
            size += out.write(piece)
            yield from self._taken(_PIECE)
        return {"sha256": summing.hexdigest(), "size": size}

    def _taken(self, least: int) -> Iterator[bytes]:
        if sum(map(len, self._held)) > least:
            held, self._held = b"".join(self._held), []
            yield held


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = 3
    info.compress_type = zipfile.ZIP_STORED if name.startswith("files/") else zipfile.ZIP_DEFLATED
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    return info
