"""Files that appear whole or not at all."""

import codecs
import contextlib
import itertools
import os
from collections.abc import Generator
from pathlib import Path
from typing import TextIO

_serial = itertools.count()


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = False) -> Generator[TextIO]:
    """A draft, private to the server, that takes the place of `path` when the block ends well.

    Several threads and processes may write the same file at once: each has a draft of its own, and the last counts.
    The folder is made where it is missing. `durable` sees that the content survives a power loss. Raises `OSError`.
    """
    folder, name = os.path.split(path)
    draft = os.path.join(folder, f".{name}.{os.getpid()}-{next(_serial)}")
    try:
        with os.fdopen(_opened(draft, path.parent), "w", encoding="utf-8") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise


def _opened(draft: str, folder: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        return os.open(draft, flags, 0o600)
    except FileNotFoundError:  # the first file there
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(draft, flags, 0o600)


def replace_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Give a file this content; see `replacing`."""
    with replacing(path, durable=durable) as file:
        file.write(text)


def piece_of(path: Path, offset: int, limit: int) -> tuple[str, int, int]:
    """A piece of a text that grows: what stands from byte `offset` on, `limit` bytes at most; where the following piece
    begins; how long all of it is by now. A character whose rest is missing belongs to the following piece. Empty where
    there is no file. Raises `OSError`.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(offset)
            data = file.read(max(limit, 4))  # the longest character, else it would never get on
    except FileNotFoundError:
        return "", offset, 0
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    return text, offset + len(data) - len(decoder.getstate()[0]), size
