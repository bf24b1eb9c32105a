"""Artifacts in a bucket: `<prefix>/<organisation>/<xx>/<sha256>`, each organisation below a prefix of its own.

The service is told a checksum of all it gets and refuses what differs. Small content is put under the condition that
nothing lies there; large content goes in parts, is hashed again on its way, and becomes visible at the end alone.
"""

import contextlib
import re
import tempfile
from collections.abc import Generator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final, cast
from urllib.parse import parse_qs, unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from builderos.assets.artifacts.ports import Altered, Found, Missing, Sum, Summing
from builderos.core.problems import Problem

PART: Final = 16 * 1024 * 1024  # of a multipart upload
WHOLE: Final = 8 * 1024 * 1024  # up to which content is put at once, and drafts stay in memory
_PARALLEL: Final = 4
_CHUNK: Final = 1024 * 1024
_UPLOADS: Final = ".uploads"
_PROBE: Final = ".probe"
_ENDPOINT: Final = re.compile(r"https?://[^@\s/]+(/[^@\s]*)?\Z")
_KNOWN: Final = frozenset({"endpoint", "region"})
_RETRIES: Final = {"max_retries": 5, "retry_timeout": timedelta(seconds=30)}


def open_store(url: str, drafts: Path | None = None) -> "BucketStore":
    """The store of `s3://bucket/prefix?endpoint=…&region=…`. Credentials come from where the vendor's tools have them.

    `drafts` is the folder of this machine for what is on its way.

    Raises `validation_failed` for a URL that says anything else.
    """
    parts = urlsplit(url)
    asked = parse_qs(parts.query)
    endpoint = asked.get("endpoint", [None])[-1]
    named = parts.netloc and "@" not in parts.netloc and (endpoint is None or _ENDPOINT.match(endpoint))
    if parts.scheme != "s3" or not named or asked.keys() - _KNOWN or parts.fragment:
        raise Problem(
            "validation_failed", f"this is no address of a bucket: {url[:200]!r}",
            hint="Write s3://bucket/prefix?endpoint=https://…&region=…; credentials belong into the environment.",
        )  # fmt: skip
    options: dict[str, Any] = {"region": asked.get("region", ["us-east-1"])[-1]}
    if endpoint is not None:
        options["endpoint"] = endpoint
        options["client_options"] = {"allow_http": endpoint.startswith("http://")}
    prefix = unquote(parts.path).strip("/")
    store = S3Store(
        parts.netloc, prefix=prefix or None, checksum_algorithm="SHA256", virtual_hosted_style_request=False,
        retry_config=cast("Any", _RETRIES), **options,
    )  # fmt: skip
    return BucketStore(url, store, drafts)


class BucketStore:
    """A bucket, or a part of one."""

    def __init__(self, url: str, store: S3Store, drafts: Path | None) -> None:
        self._url = url
        self._drafts = drafts
        self.bucket = store

    @property
    def url(self) -> str:
        """As it was configured."""
        return self._url

    def draft(self, org_id: str) -> "BucketDraft":
        """Held here until it is complete: only then its name is known."""
        if self._drafts is not None:
            self._drafts.mkdir(parents=True, exist_ok=True)
        return BucketDraft(self, org_id, self._drafts)

    def put(self, org_id: str, file: BinaryIO, what: Sum) -> None:
        """Content from a file, from its beginning."""
        key = _key(org_id, what.hash)
        file.seek(0)
        with _reachable():
            if what.size <= WHOLE:
                data = file.read()
                _check(Summing.over([data]), what)
                with contextlib.suppress(AlreadyExistsError):
                    obstore.put(self.bucket, key, data, mode="create")
                    return
                if self.size_of(org_id, what.hash) == what.size:
                    return
                obstore.put(self.bucket, key, data)
                return
        self._put_large(key, _pieces(file), what)

    def size_of(self, org_id: str, hash_: bytes) -> int | None:
        """By the service's word."""
        try:
            with _reachable():
                return obstore.head(self.bucket, _key(org_id, hash_))["size"]
        except FileNotFoundError:
            return None

    def read(self, org_id: str, hash_: bytes, start: int, stop: int) -> Iterator[bytes]:
        """One request, read as it arrives."""
        return self._read(_key(org_id, hash_), start, stop)

    def delete(self, org_id: str, hash_: bytes) -> None:
        """Remove the object."""
        self._remove([_key(org_id, hash_)])

    def listed(self, org_id: str) -> Iterator[Found]:
        """Page by page."""
        for item in self._items(f"{org_id}/"):
            name = item["path"].rpartition("/")[2]
            if len(name) == 64 and _UPLOADS not in item["path"]:
                yield Found(bytes.fromhex(name), item["size"], item["last_modified"])

    def part(self, org_id: str, upload_id: str, offset: int) -> "BucketPart":
        """An object of its own, named by its offset."""
        folder = f"{org_id}/{_UPLOADS}/{upload_id}/"
        found = sorted((_offset(item["path"]), item["size"], item["path"]) for item in self._items(folder))
        if sum(size for at, size, _ in found if at < offset) < offset:
            raise Missing(upload_id)
        self._remove([path for at, _, path in found if at >= offset])
        return BucketPart(self, f"{folder}{offset:020}")

    def parts(self, org_id: str, upload_id: str, size: int) -> Iterator[bytes]:
        """Object after object."""
        found = sorted(
            (_offset(i["path"]), i["size"], i["path"])
            for i in self._items(f"{org_id}/{_UPLOADS}/{upload_id}/")
        )
        if not found:
            raise Missing(upload_id)
        return self._parts(found, size)

    def seal(self, org_id: str, upload_id: str, what: Sum) -> None:
        """Copied through this process: the service cannot tell whether the hash is right."""
        if what.size <= WHOLE:
            with tempfile.SpooledTemporaryFile(WHOLE) as file:
                for data in self.parts(org_id, upload_id, what.size):
                    file.write(data)
                self.put(org_id, cast("BinaryIO", file), what)
            return
        self._put_large(_key(org_id, what.hash), self.parts(org_id, upload_id, what.size), what)

    def drop_upload(self, org_id: str, upload_id: str) -> None:
        """Remove its objects."""
        self._remove([item["path"] for item in self._items(f"{org_id}/{_UPLOADS}/{upload_id}/")])

    def sweep(self, _org_id: str, _before: datetime, /) -> None:
        """Drafts lie in no bucket. What a broken multipart upload left is for the bucket's own rules to remove."""
        return

    def erase(self, org_id: str) -> None:
        """Remove every object below the organisation's prefix."""
        self._remove([item["path"] for item in self._items(f"{org_id}/")])

    def probe(self) -> None:
        """Write, read and remove an object."""
        with _reachable():
            try:
                obstore.put(self.bucket, _PROBE, b"probe")
                if bytes(obstore.get(self.bucket, _PROBE).bytes()) != b"probe":
                    raise _away("it gives back other bytes than it got")
                obstore.delete(self.bucket, _PROBE)
            except FileNotFoundError as why:
                raise _away("there is no such bucket") from why

    def write(self, key: str, data: bytes) -> None:
        """One object."""
        with _reachable():
            obstore.put(self.bucket, key, data, use_multipart=False)

    def _put_large(self, key: str, pieces: Iterator[bytes], what: Sum) -> None:
        """In parts. They become an object when the writer is closed, which it is not where the bytes are others."""
        summing = Summing()
        with _reachable():
            writer = obstore.open_writer(self.bucket, key, buffer_size=PART, max_concurrency=_PARALLEL)
            for piece in pieces:
                summing.update(piece)
                writer.write(piece)
            _check(summing, what)
            writer.close()

    def _read(self, key: str, start: int, stop: int) -> Iterator[bytes]:
        if start >= stop:
            if start == 0 and self._size(key) is None:
                raise Missing(key)
            return iter(())
        try:
            with _reachable():
                reply = obstore.get(self.bucket, key, options={"range": (start, stop)})
        except FileNotFoundError:
            raise Missing(key) from None
        except Problem:
            size = self._size(key)  # a range beyond the end is no reason of its own to the client
            if size is None or size >= stop:
                raise
            raise Missing(f"{key} has {size} bytes") from None
        return _streamed(reply)

    def _size(self, key: str) -> int | None:
        try:
            with _reachable():
                return obstore.head(self.bucket, key)["size"]
        except FileNotFoundError:
            return None

    def _parts(self, found: list[tuple[int, int, str]], size: int) -> Iterator[bytes]:
        at = 0
        for offset, length, key in found:
            if at >= size:
                return
            if offset != at:
                raise Altered("a part of the upload is missing")
            yield from self._read(key, 0, min(length, size - at))
            at += min(length, size - at)
        if at < size:
            raise Altered("the upload is short")

    def _items(self, prefix: str) -> Iterator[Any]:
        with _reachable():
            pages: Any = obstore.list(self.bucket, prefix=prefix)  # pyright: ignore[reportUnknownMemberType]
            for page in pages:
                yield from page

    def _remove(self, keys: list[str]) -> None:
        with _reachable(), contextlib.suppress(FileNotFoundError):
            if keys:
                obstore.delete(self.bucket, keys)


class BucketDraft:
    """A file of this machine that is put into the bucket when it is complete."""

    def __init__(self, store: BucketStore, org_id: str, folder: Path | None) -> None:
        self._store, self._org_id = store, org_id
        self._file = tempfile.SpooledTemporaryFile(WHOLE, dir=str(folder) if folder else None)  # noqa: SIM115 - closed by `drop`

    def write(self, data: bytes) -> None:
        """To the file."""
        self._file.write(data)

    def keep(self, what: Sum) -> None:
        """Put it; the service has it for good when it has answered."""
        self._store.put(self._org_id, cast("BinaryIO", self._file), what)

    def drop(self) -> None:
        """Forget the file."""
        self._file.close()


class BucketPart:
    """A part of an upload: an object when it ends."""

    def __init__(self, store: BucketStore, key: str) -> None:
        self._store, self._key = store, key
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        """To memory: a part has a limit."""
        self._data += data

    def close(self) -> None:
        """Put it. A part without bytes is none."""
        if self._data or self._key.endswith(f"/{0:020}"):
            self._store.write(self._key, bytes(self._data))

    def drop(self) -> None:
        """Forget it."""
        self._data.clear()


def _key(org_id: str, hash_: bytes) -> str:
    name = hash_.hex()
    return f"{org_id}/{name[:2]}/{name}"


def _offset(key: str) -> int:
    return int(key.rpartition("/")[2])


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(PART):
        yield data


def _check(summing: Summing, what: Sum) -> None:
    found = summing.done()
    if (found.hash, found.size) != (what.hash, what.size):
        raise Altered("the bytes changed on their way")


def _streamed(reply: Any) -> Iterator[bytes]:
    with _reachable():
        for chunk in reply.stream(min_chunk_size=_CHUNK):
            yield bytes(chunk)


@contextlib.contextmanager
def _reachable() -> Generator[None]:
    """What the service says no with, in words."""
    try:
        yield
    except AlreadyExistsError:
        raise
    except (PermissionDeniedError, UnauthenticatedError) as why:
        raise _away("it does not let this server in; look at its credentials") from why
    except BaseError as why:
        raise _away(str(why).partition("\n")[0][:300]) from why


def _away(why: str) -> Problem:
    return Problem(
        "unavailable", f"the bucket of artifacts cannot be used: {why}",
        hint="Repeat the call; tell an administrator if it goes on.", retry_after_s=5,
    )  # fmt: skip
