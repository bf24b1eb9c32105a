"""What kind of content something is: told, or guessed; and what of it a browser may be told."""

import codecs
import mimetypes
import re
from typing import Final

from builderos.core.problems import Problem

UNKNOWN: Final = "application/octet-stream"
TEXT: Final = "text/plain"
_FORM: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\Z")
_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"), (b"PK\x03\x04", "application/zip"), (b"\x1f\x8b", "application/gzip"),
    (b"PAR1", "application/vnd.apache.parquet"), (b"\x7fELF", "application/x-executable"),
)  # fmt: skip
# Types of which no reader runs anything; every other one is served as mere bytes, or as plain text.
_PASSIVE: Final = frozenset({
    "application/gzip", "application/json", "application/jsonl", "application/vnd.apache.parquet",
    "application/x-ndjson", "application/x-tar", "application/yaml", "application/zip", "audio/mpeg", "audio/wav",
    "image/gif", "image/jpeg", "image/png", "image/webp", "text/csv", "text/markdown", TEXT, "video/mp4",
})  # fmt: skip


def told(media_type: str) -> str:
    """A media type without parameters, in small letters. Raises `validation_failed`."""
    plain = media_type.partition(";")[0].strip().lower()
    if not _FORM.match(plain):
        raise Problem(
            "validation_failed", "the media type is none", hint="Say one like text/csv, or leave it out."
        )
    return plain


def guessed(path: str, start: bytes) -> str:
    """By the first bytes, else by the name; text that has no name of its own is plain text."""
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return kind
    text = is_text(start)
    by_name = mimetypes.guess_type(path, strict=True)[0]
    if by_name is None:
        return TEXT if text else UNKNOWN
    return by_name if text or not by_name.startswith("text/") else UNKNOWN


def is_text(start: bytes) -> bool:
    """Whether the beginning of something is UTF-8 without a NUL."""
    if b"\0" in start:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return True


def served(media_type: str) -> str:
    """What a reply says: nothing that a browser would run or render with scripts (HTML, SVG, XML, PDF)."""
    if media_type in _PASSIVE:
        return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type
    return (
        f"{TEXT}; charset=utf-8" if media_type.startswith("text/") and "html" not in media_type else UNKNOWN
    )
