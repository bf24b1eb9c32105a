"""Zip files from strangers: looked at before anything of them is unpacked, and never unpacked to disk."""

import hashlib
import io
import json
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from builderos.core.problems import Problem
from builderos.core.versions import is_version
from builderos.core.yamlwords import ID

from .reading import MAX_CONTENT
from .schema import MAX_PACK

PACK: Final = "pack.json"
MAX_FILES: Final = 500
MAX_UNPACKED: Final = 32 * 1024 * 1024
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_MAX_MANIFEST: Final = 1024 * 1024
_UNSAFE: Final = re.compile(r"\A/|\A[A-Za-z]:|\\|\x00|(?:\A|/)\.{1,2}(?:/|\Z)|//")
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `pack.json` says. `prompts`: name@version → sha256 over the canonical form."""

    name: str
    version: str
    publisher: str
    prompts: Mapping[str, str]

    @property
    def ref(self) -> str:
        """`name@version` of the pack."""
        return f"{self.name}@{self.version}"


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip whose bytes depend on the files alone, and not on when or where it was made."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # packers differ; stored bytes do not
        for path in sorted(files, key=lambda path: (path != PACK, path)):
            info = zipfile.ZipInfo(path, _EPOCH)
            info.create_system = 3
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, files[path])
    return out.getvalue()


def unpack(data: bytes) -> tuple[Manifest, dict[Key, str]]:
    """What a pack says, and the file of each version in it, every one with the hash that the pack says.

    Raises `invalid_path` for a place that no pack has, `payload_too_large`, `validation_failed`.
    """
    if len(data) > MAX_PACK:
        raise _too_large(MAX_PACK)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _look(infos)
            files = {info.filename: _content(archive, info) for info in infos}
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        NotImplementedError,
        EOFError,
        RuntimeError,
        ValueError,
    ) as error:
        raise _unsound(f"this is no sound zip file ({type(error).__name__})") from None
    said = _json(files.pop(PACK, None))
    _compare(said.get("files"), files)
    return _manifest(said), {_key(path): _text(path, content) for path, content in files.items()}


def _look(infos: list[zipfile.ZipInfo]) -> None:
    """Refuse what is no plain file at a place of a pack, and what is too much."""
    if len(infos) > MAX_FILES or sum(info.file_size for info in infos) > MAX_UNPACKED:
        raise _too_large(MAX_UNPACKED)
    seen: set[str] = set()
    for info in infos:
        path, kind = info.filename, stat.S_IFMT(info.external_attr >> 16)
        if _UNSAFE.search(info.orig_filename) or path != info.orig_filename:
            raise Problem(
                "invalid_path", f"the pack holds {path[:120]!r}", hint="Take nothing from it: it is no pack."
            )
        if kind not in (0, stat.S_IFREG) or info.flag_bits & 1 or info.compress_type not in _METHODS:
            raise _unsound(f"{path[:120]!r} is a link, encrypted, or no plain file")
        if path.casefold() in seen:
            raise _unsound(f"{path[:120]!r} is there twice")
        seen.add(path.casefold())
        if path != PACK:
            _key(path)
        if info.file_size > (_MAX_MANIFEST if path == PACK else MAX_CONTENT):
            raise _too_large(MAX_CONTENT)


def _key(path: str) -> Key:
    """Name and version of a place. Raises `invalid_path`."""
    inside = path.removeprefix("prompts/").removesuffix(".yaml")
    name, _, version = inside.partition("@")
    if path != f"prompts/{inside}.yaml" or ID.match(name) is None or not is_version(version):
        raise Problem(
            "invalid_path",
            f"the pack holds {path[:120]!r}",
            hint="Prompts lie at prompts/<name>@<version>.yaml.",
        )
    return name, version


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        data = file.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise _unsound(f"{info.filename} has another size than the archive says")
    return data


def _json(data: bytes | None) -> dict[str, Any]:
    if data is None:
        raise _unsound(f"{PACK} is missing")
    try:
        said: Any = json.loads(data)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise _unsound(f"{PACK} is no JSON object")
    return cast("dict[str, Any]", said)


def _manifest(said: dict[str, Any]) -> Manifest:
    prompts: Any = said.get("prompts")
    name, version = said.get("name"), said.get("version")
    if said.get("kind") != "promptpack" or said.get("format") != 1:
        raise _unsound("it is no promptpack of format 1")
    named = isinstance(name, str) and 0 < len(name) <= 200 and name.isprintable()
    if not named or not isinstance(version, str) or not is_version(version) or not isinstance(prompts, dict):
        raise _unsound(f"{PACK} has no name, version and prompts")
    hashes = cast("dict[str, Any]", prompts)
    if not all(isinstance(value, str) for value in hashes.values()):
        raise _unsound(f"{PACK} names a hash that is none")
    publisher = said.get("publisher")
    return Manifest(str(name), version, publisher if isinstance(publisher, str) else "", hashes)


def _compare(said: Any, files: Mapping[str, bytes]) -> None:
    """Every file is named with its hash, and every one that is named is there."""
    listed = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    for path in sorted({*listed, *files}):
        data = files.get(path)
        if data is None or listed.get(path) != hashlib.sha256(data).hexdigest():
            raise _unsound(f"{path[:120]} is not what {PACK} says")


def _text(path: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _unsound(f"{path} is no text in UTF-8") from None


def _unsound(what: str) -> Problem:
    return Problem("validation_failed", f"the pack is unsound: {what}", hint="Ask for the pack again.")


def _too_large(limit: int) -> Problem:
    return Problem(
        "payload_too_large", "the pack is too large", hint="Cut it into several packs.", limit=limit
    )
