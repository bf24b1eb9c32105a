"""Verify the receipt of a run without BuilderOS. Needs Python 3.11 and `cryptography`.

    python verify_receipt.py receipt.json --key KEY [--artifact PATH ...]

KEY is the server's public key (base64), noted when it was set up. With `--artifact`, those files must be among what the
run made. Exit code 0: the receipt is what the server signed; 1: it is not; 2: it cannot be looked at. The form:
docs/technical/receipts.md.
"""

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

PAYLOAD = "application/vnd.in-toto+json"
PREDICATE = "https://slsa.dev/provenance/v1"


class Bad(Exception):
    """What does not fit."""


def verify(envelope: dict[str, Any], key: bytes | None) -> tuple[dict[str, Any], bytes]:
    """The statement of a DSSE envelope and the key that signed it; raises `Bad` unless the signature fits.

    Without a key the one in the receipt is taken: that shows that it is whole, not whose it is.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    payload = base64.b64decode(envelope["payload"], validate=True)
    kind = envelope["payloadType"].encode()
    if kind.decode() != PAYLOAD:
        raise Bad("the envelope holds no in-toto statement")
    statement = json.loads(payload)
    used = key if key is not None else own_key(statement)
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    for signature in envelope["signatures"]:
        if signature["keyid"] != hashlib.sha256(used).hexdigest():
            continue
        try:
            Ed25519PublicKey.from_public_bytes(used).verify(base64.b64decode(signature["sig"]), message)
        except (InvalidSignature, ValueError):
            raise Bad("the signature does not fit") from None
        break
    else:
        raise Bad("it was signed with another key than the one you named")
    if statement["predicateType"] != PREDICATE:
        raise Bad("the statement is not about how something was made")
    return statement, used


def own_key(statement: dict[str, Any]) -> bytes:
    """The key that a receipt brings along."""
    for brought in statement["predicate"]["runDetails"]["builder"]["builderDependencies"]:
        if brought["name"] == "public key":
            return base64.b64decode(brought["content"], validate=True)
    raise Bad("the receipt brings no key: name one")


def among(statement: dict[str, Any], path: Path) -> str:
    """The name under which the run made a file; raises `Bad` where it did not make it."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    for subject in statement["subject"]:
        if subject["digest"].get("sha256") == found:
            return f"{path} is {subject['name']}"
    raise Bad(f"{path} is nothing that the run made (sha256 {found})")


def told(statement: dict[str, Any], key: bytes, named: bool, files: list[str]) -> str:
    """What the receipt says, in a few lines."""
    build, details = statement["predicate"]["buildDefinition"], statement["predicate"]["runDetails"]
    known, metadata = build["internalParameters"], details["metadata"]
    lines = [
        f"run {metadata['invocationId']} of {build['externalParameters']['pipeline']}: {known['status']}",
        f"from {metadata['startedOn']} to {metadata['finishedOn']}",
        f"time to ship {known['timeToShipSeconds']} s",
    ]  # fmt: skip
    for subject in statement["subject"]:
        algorithm, value = next(iter(subject["digest"].items()))
        lines.append(f"made {subject['name']} {algorithm} {value}")
    lines.append(
        f"key {base64.b64encode(key).decode()}{'' if named else ' (its own: compare it with the one you noted)'}"
    )
    return "\n".join([*lines, *files])


def main(arguments: list[str] | None = None) -> int:
    """Run as a program; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("receipt")
    parser.add_argument("--key")
    parser.add_argument("--artifact", action="append", default=[])
    asked = parser.parse_args(arguments)
    try:
        key = base64.b64decode(asked.key, validate=True) if asked.key else None
        envelope = json.loads(Path(asked.receipt).read_text("utf-8"))
        statement, used = verify(envelope, key)
        files = [among(statement, Path(path)) for path in asked.artifact]
        said, code = told(statement, used, key is not None, files), 0
    except OSError as error:
        parser.error(str(error))
    except Bad as bad:
        said, code = f"NOT what the server signed: {bad}", 1
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said, code = f"NOT a receipt: {type(error).__name__}: {error}", 1
    print(said)
    return code


if __name__ == "__main__":
    sys.exit(main())
