"""Signed notes (C2SP signed-note) that say how far a ledger has got (C2SP tlog-checkpoint): form and check.

builderos/ledger/org_01…        origin, which is also the name of the key
1234                            how many lines
47DEQpj8HBSa+/TImW+5JCeu…       root over them, base64

— builderos/ledger/org_01… base64(key id + Ed25519 signature of the three lines)
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final

_ED25519: Final = b"\x01"
_NOTE: Final = re.compile(
    r"(?P<text>(?P<origin>[^\s+]+)\n(?P<size>0|[1-9][0-9]{0,18})\n(?P<root>[A-Za-z0-9+/]{43}=)\n)"
    r"\n\u2014 (?P<name>[^\s+]+) (?P<signature>[A-Za-z0-9+/]{90,92}={0,2})\n"
)


@dataclass(frozen=True)
class Note:
    """A note that has been read: `text` is what the signature (64 bytes) covers."""

    origin: str
    size: int
    root: bytes
    text: bytes
    key_id: bytes
    signature: bytes


def origin_of(org_id: str) -> str:
    """What the notes of an organisation's ledger are called."""
    return f"builderos/ledger/{org_id}"


def key_id(name: str, public_key: bytes) -> bytes:
    """The four bytes by which a note's signature names its key."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:4]


def verifier_key(name: str, public_key: bytes) -> str:
    """The key as other tools for signed notes take it: `name+id+key`."""
    return f"{name}+{key_id(name, public_key).hex()}+{base64.b64encode(_ED25519 + public_key).decode()}"


def checkpoint_text(origin: str, size: int, root: bytes) -> str:
    """What is signed."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def signed(text: str, name: str, public_key: bytes, signature: bytes) -> str:
    """The whole note."""
    return f"{text}\n\u2014 {name} {base64.b64encode(key_id(name, public_key) + signature).decode()}\n"


def parse(note: str) -> Note:
    """Read a note with one signature. Raises `ValueError`."""
    found = _NOTE.fullmatch(note)
    if found is None or found["name"] != found["origin"]:
        raise ValueError("this is not a signed checkpoint")
    try:
        signature = base64.b64decode(found["signature"], validate=True)
        root = base64.b64decode(found["root"], validate=True)
    except binascii.Error as error:
        raise ValueError("this is not a signed checkpoint") from error
    if len(signature) != 68:
        raise ValueError("this is not an Ed25519 signature")
    text = found["text"].encode()
    return Note(found["origin"], int(found["size"]), root, text, signature[:4], signature[4:])
