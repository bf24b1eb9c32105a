"""An exported experiment, taken in: looked at as the work of a stranger, and never unpacked to disk.

What comes in says itself where it comes from; nobody here vouches for its data, code and runtime.
"""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel, TypeAdapter, ValidationError

from builderos.assets.artifacts import service as kept
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.audit import service as audit
from builderos.trust.ledger import service as ledger

from . import archive, files, keeping, runs
from .archive import Manifest, ModelDocument, PointLine, RunDocument
from .limits import MAX_METRICS, check_name
from .logged import create as create_model
from .logging import NAME, Point, log
from .model import inputs, logged_models, run_models
from .submit_schema import ImportedExperiment, ImportIn
from .submitting import batches
from .verbs import PARENT, shown

Model = TypeVar("Model", bound=BaseModel)
FROM: Final = "builderos.imported_from"
_BUFFER: Final = 1024 * 1024
_PIECE: Final = 256 * 1024
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
    ValueError,
)
_POINT: Final = TypeAdapter[tuple[Any, ...]](PointLine)


def take_in(unit: Unit, body: ImportIn) -> ImportedExperiment:
    """Make an experiment of an archive: its runs are equal to those that were exported, but for their ids.

    Raises `not_found` for the artifact, `conflict` for the name, `invalid_path`, `payload_too_large`,
    `validation_failed` for an archive that is none or was changed; then nothing was made.
    """
    row, _ = kept.reading.row_of(unit, body.artifact_id, "artifact.read")
    handle = kept.reading.opened(unit, row)
    audit.access.note(unit, "artifact.read", row.id, repo=row.repo_id, paths=[row.path])
    try:
        with zipfile.ZipFile(io.BufferedReader(_Content(handle), _BUFFER)) as opened:
            return _Import(unit, _Archive(opened), body).made()
    except _BROKEN as error:
        raise _wrong(f"it cannot be read ({type(error).__name__})") from error


class _Content(io.RawIOBase):
    """The bytes of an artifact, wherever one looks; each is verified."""

    def __init__(self, handle: Any) -> None:
        super().__init__()
        self._handle = handle
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where it stands."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go there."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._handle.what.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """The next bytes."""
        stop = min(self._handle.what.size, self._at + len(buffer))
        data = b"".join(self._handle.read(self._at, stop))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class _Archive:
    """An archive whose list of files is exactly what its manifest says."""

    def __init__(self, opened: zipfile.ZipFile) -> None:
        self._opened = opened
        found = {info.filename: info for info in opened.infolist()}
        if len(found) != len(opened.infolist()) or len(found) > archive.MAX_ENTRIES:
            raise _wrong("a name stands twice in it, or it has too many files")
        for name, info in found.items():
            if info.flag_bits & 1 or info.compress_type not in _METHODS:
                raise _wrong(f"{name[:100]} is sealed, or packed in a way that is not known")
        self._infos = found
        if archive.MANIFEST not in found:
            raise _wrong("it has no manifest.json")
        raw = b"".join(self._pieces(archive.MANIFEST, archive.MAX_DOCUMENT))
        self.manifest = _document(Manifest, raw, archive.MANIFEST)
        if set(found) - {archive.MANIFEST} != set(self.manifest.files):
            raise _wrong("its files are not those that its manifest names")
        if sum(entry.size for entry in self.manifest.files.values()) > archive.MAX_BYTES:
            raise Problem(
                "payload_too_large", "it holds too much", hint="Export fewer runs.", limit=archive.MAX_BYTES
            )

    def whole(self, name: str, most: int = archive.MAX_DOCUMENT) -> bytes:
        """A file whose hash is right."""
        return b"".join(self.verified(name, most))

    def verified(self, name: str, most: int = archive.MAX_BYTES) -> Iterator[bytes]:
        """Its bytes. Raises `validation_failed` at their end where they are not what the manifest says."""
        entry = self.manifest.files.get(name)
        if entry is None:
            raise _wrong(f"{name[:200]} is not in it")
        summing, size = hashlib.sha256(), 0
        for piece in self._pieces(name, min(most, entry.size)):
            summing.update(piece)
            size += len(piece)
            yield piece
        if size != entry.size or summing.hexdigest() != entry.sha256:
            raise _wrong(f"{name[:200]} is not what the manifest says")

    def _pieces(self, name: str, most: int) -> Iterator[bytes]:
        left = most
        with self._opened.open(self._infos[name]) as file:
            while piece := file.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    raise _wrong(f"{name[:200]} is larger than it says, or than it may be")
                yield piece


class _Import:
    """One archive on its way in."""

    def __init__(self, unit: Unit, source: _Archive, body: ImportIn) -> None:
        self._unit = unit
        self._source = source
        self._body = body
        self._ids: dict[str, str] = {}
        self._points = 0

    def made(self) -> ImportedExperiment:
        """All of it, or nothing."""
        manifest = self._source.manifest
        names = set(manifest.runs) | set(manifest.models)
        if len(names) != len(manifest.runs) + len(manifest.models):
            raise _wrong("an id stands twice in it")
        documents = [self._read(RunDocument, "runs", id_) for id_ in manifest.runs]
        models = [self._read(ModelDocument, "models", id_) for id_ in manifest.models]
        owned = self._owned(names)
        home = keeping.create(
            self._unit, self._body.name or manifest.name, tags=manifest.tags, project_id=self._body.project_id
        )
        self._ids = {id_: new_id("xrn") for id_ in manifest.runs}
        for document in documents:
            self._run(home.id, document)
        for model in models:
            self._model(home.id, model)
        self._links(documents)
        for owner, path, name in owned:
            content = kept.prepare(
                self._unit.context, self._unit.org_id, self._source.verified(name), path=path
            )
            files.put(self._unit, self._ids[owner], path, content)
        told = {
            "runs": len(documents),
            "models": len(models),
            "files": len(owned),
            "from": self._body.artifact_id,
        }
        ledger.record(self._unit, "experiment.imported", home.id, told)
        return ImportedExperiment(
            experiment=shown(home), runs={old: new for old, new in self._ids.items() if old in set(manifest.runs)},
            models=len(models), files=len(owned),
        )  # fmt: skip

    def _read(self, kind: type[Model], folder: str, id_: str) -> Model:
        name = f"{folder}/{id_}.json"
        found = _document(kind, self._source.whole(name), name)
        if getattr(found, "id", None) != id_:
            raise _wrong(f"{name[:200]} tells of another one")
        return found

    def _owned(self, owners: set[str]) -> list[tuple[str, str, str]]:
        """Owner, path and name of each file; whatever else lies in the archive has no place. Raises `invalid_path`."""
        manifest, found = self._source.manifest, list[tuple[str, str, str]]()
        known = {f"runs/{id_}.json" for id_ in manifest.runs} | {
            f"metrics/{id_}.jsonl" for id_ in manifest.runs
        }
        known |= {f"models/{id_}.json" for id_ in manifest.models}
        for name in sorted(set(manifest.files) - known):
            top, _, rest = name.partition("/")
            owner, _, path = rest.partition("/")
            if top != "files" or owner not in owners:
                raise Problem(
                    "invalid_path", f"{name[:200]} has no place in an experiment", hint="Export it anew."
                )
            files.check(path)
            found.append((owner, path, name))
        return found

    def _run(self, experiment_id: str, said: RunDocument) -> None:
        check_name(said.user_name or "-", "user_name", 500)
        tags = {**said.tags, NAME: said.name, FROM: said.id}
        if PARENT in tags:
            tags[PARENT] = self._ids.get(tags[PARENT], tags[PARENT])
        made = runs.start(
            self._unit, experiment_id, name=said.name, started_at=said.started_at, given=tags,
            user_name=said.user_name, id_=self._ids[said.id],
        )  # fmt: skip
        over = said.status in runs.ENDED
        values: dict[str, Any] = {
            "status": said.status if over else "killed",  # nobody carries it on here
            "ended_at": said.ended_at if over and said.ended_at is not None else said.started_at,
            "params": said.submitted, "dataset_ref": said.dataset_ref, "code_sha": said.code_sha,
            "runtime": said.runtime,
        }  # fmt: skip
        self._unit.execute(sa.update(runs.runs).where(runs.runs.c.id == made.row.id).values(**values))
        for some in batches(said.params):
            log(self._unit, made.row.id, params=some)
        for one in said.inputs:
            told = one.model_dump() | {
                "org_id": self._unit.org_id, "run_id": made.row.id, "experiment_id": made.row.experiment_id,
            }  # fmt: skip
            self._unit.execute(sa.insert(inputs).values(**told))
        self._log(said.id)

    def _log(self, old: str) -> None:
        points: list[Point] = []
        for line in self._source.whole(f"metrics/{old}.jsonl", archive.MAX_BYTES).splitlines():
            try:
                key, step, at, value = _POINT.validate_python(tuple(json.loads(line)), strict=False)
            except (ValidationError, TypeError) as error:
                raise _wrong(f"the points of {old[:100]} are none") from error
            points.append(Point(key, float(value), at, step))
            if len(points) == MAX_METRICS:
                self._put(old, points)
        self._put(old, points)

    def _put(self, old: str, points: list[Point]) -> None:
        self._points += len(points)
        if self._points > archive.MAX_POINTS:
            raise Problem(
                "payload_too_large", f"it holds more than {archive.MAX_POINTS} points", hint="Export fewer runs.",
                limit=archive.MAX_POINTS,
            )  # fmt: skip
        if points:
            log(self._unit, self._ids[old], metrics=points)
            points.clear()

    def _model(self, experiment_id: str, said: ModelDocument) -> None:
        run_id = self._ids.get(said.run_id or "")
        made = create_model(
            self._unit, experiment_id, said.name, type_=said.type, run_id=run_id, params=said.params,
            tags={**said.tags, FROM: said.id},
        )  # fmt: skip
        self._ids[said.id] = made.id
        values = {"status": said.status, "metrics": said.metrics}
        self._unit.execute(sa.update(logged_models).where(logged_models.c.id == made.id).values(**values))

    def _links(self, documents: list[RunDocument]) -> None:
        """Which models each run used and made, as far as they came along."""
        links = [
            (said.id, direction, old, step)
            for said in documents
            for direction, some in (("input", said.used), ("output", said.made))
            for old, step in some
        ]
        for run_id, direction, old, step in links:
            model_id = self._ids.get(old)
            if model_id is None or not files.MODEL.match(model_id):
                continue
            values = {
                "org_id": self._unit.org_id, "run_id": self._ids[run_id], "direction": direction,
                "model_id": model_id, "step": step,
            }  # fmt: skip
            self._unit.execute(sa.insert(run_models).values(**values))


def _document(kind: type[Model], raw: bytes, name: str) -> Model:
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])[:100]
        raise _wrong(f"{name[:200]} is not as it should be, at {where or 'its beginning'}") from error


def _wrong(why: str) -> Problem:
    return Problem(
        "validation_failed", f"this is no experiment that was exported: {why}",
        hint="Export it anew: GET /v1/experiments/{id}/export.",
    )  # fmt: skip
