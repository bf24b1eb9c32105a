"""Artifacts over HTTP: sent in parts and fetched in parts, so that a broken connection costs a part and no more."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from .errors import ClientError
from .http import Client, Json

PART: Final = 16 * 1024 * 1024
_ATTEMPTS: Final = 5
_CHUNK: Final = 1024 * 1024
Note = Callable[[int, int], None]


class Altered(Exception):
    """What arrived is not what the server said that it keeps."""


def sha256_of(file: Path) -> str:
    """The hash of a file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def begin(client: Client, file: Path, path: str, **more: str | None) -> Json:
    """Announce a file; returns the upload. Raises `ClientError`."""
    body = {"path": path, "size": file.stat().st_size, "sha256": sha256_of(file), **more}
    return client.call("POST", "/v1/artifacts", body, once=True)


def put(client: Client, file: Path, path: str, type_: str) -> Json:
    """Send a file from its beginning to its end; the artifact. Raises `ClientError`."""
    return send(client, str(begin(client, file, path, type=type_)["id"]), file)


def send(client: Client, upload: str, file: Path, note: Note = lambda _done, _all: None) -> Json:
    """Send what is not there yet; returns the artifact. A part that fails is sent again, from where the server says.

    Raises `ClientError`.
    """
    address, failed = f"/v1/artifacts/uploads/{quote(upload, safe='')}", 0
    state = client.call("GET", address)
    with file.open("rb") as opened:
        while True:
            note(state["offset"], state["size"])
            opened.seek(state["offset"])
            data = opened.read(min(PART, state["max_part"]))
            try:
                state, failed = client.send(f"{address}?offset={state['offset']}", data), 0
            except ClientError as error:
                failed = _once_more(failed + 1, error)
                state = client.call("GET", address)
            if state["artifact"] is not None:
                return state["artifact"]


def _once_more(failed: int, error: ClientError) -> int:
    """How often it has failed, where it may be tried again; else raises."""
    again = error.__cause__ is not None or error.problem.get("retryable") or "offset" in error.problem
    if failed == _ATTEMPTS or not again:
        raise error
    return failed


def fetch(client: Client, artifact: Json, file: Path, note: Note = lambda _done, _all: None) -> None:
    """Write the content to `file`, which appears when it is complete and has the right hash.

    What an earlier attempt left in `<file>.part` is gone on with. Raises `ClientError`, `Altered`.
    """
    part, size, wanted = file.with_name(f"{file.name}.part"), artifact["size"], artifact["hash"]
    failed = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        if have >= size and part.exists():
            break
        try:
            _fetch_on(client, artifact, part, have, note)
            failed = 0
        except ClientError as error:
            failed += 1
            if failed == _ATTEMPTS or error.__cause__ is None:
                raise
    if f"sha256:{sha256_of(part)}" != wanted:
        part.unlink()
        raise Altered(f"what arrived is not {wanted}")
    with contextlib.suppress(OSError), part.open("rb+") as opened:
        os.fsync(opened.fileno())
    part.replace(file)


def _fetch_on(client: Client, artifact: Json, part: Path, have: int, note: Note) -> None:
    headers = (
        {"If-Range": f'"{artifact["hash"].replace(":", "-")}"', "Range": f"bytes={have}-"} if have else {}
    )
    pieces = client.stream("GET", f"/v1/artifacts/{quote(artifact['id'], safe='')}/content", headers=headers)
    first = next(pieces, b"")
    with part.open("ab" if client.status == 206 else "wb") as out:
        done = out.tell() + out.write(first)
        for piece in pieces:
            done += out.write(piece)
            note(done, artifact["size"])
