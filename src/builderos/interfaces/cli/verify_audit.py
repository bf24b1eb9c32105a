"""Verify a BuilderOS audit export, or a proof about it, without BuilderOS. Needs Python 3.11 and `cryptography`.

    python verify_audit.py export.jsonl --key KEY [--checkpoint earlier.txt ...]
    python verify_audit.py --proof proof.json --key KEY [--checkpoint noted.txt]
    python verify_audit.py --growth consistency.json --key KEY --checkpoint earlier.txt [--checkpoint later.txt]

KEY is the server's public key (base64), noted when it was set up. The format: docs/technical/ledger.md. Exit code 0:
everything is as it was written; 1: it is not, and the first line that differs is named; 2: it cannot be looked at.
"""

import argparse
import base64
import json
import re
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

NOTE = re.compile(r"(([^\s+]+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n)\n\u2014 ([^\s+]+) (\S+)\n")


class Bad(Exception):
    """What does not fit."""


def ensure_signed(key: bytes, signature: bytes, text: bytes, what: str) -> None:
    """Raise `Bad` unless the Ed25519 signature fits."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
    except (InvalidSignature, ValueError):
        raise Bad(f"the signature of {what} does not fit") from None


def read_note(note: str, key: bytes, what: str) -> tuple[str, int, bytes]:
    """Organisation, size and root of a checkpoint whose signature fits."""
    found = NOTE.fullmatch(note)
    if found is None:
        raise Bad(f"{what} is not a checkpoint")
    text, origin, size, root, name, signature = found.groups()
    raw = base64.b64decode(signature)
    key_id = sha256(origin.encode() + b"\n\x01" + key).digest()[:4]
    if (name, raw[:4], base64.b64encode(raw).decode()) != (origin, key_id, signature):
        raise Bad(f"{what} was signed with another key")
    ensure_signed(key, raw[4:], text.encode(), what)
    return origin.removeprefix("builderos/ledger/"), int(size), base64.b64decode(root)


def node(left: bytes, right: bytes) -> bytes:
    """A node of the tree (RFC 6962)."""
    return sha256(b"\1" + left + right).digest()


def fold(row: list[bytes]) -> bytes:
    """The root over these leaves, or over subtrees of equal size but for the last."""
    while len(row) > 1:
        rest = row[-1:] if len(row) % 2 else []
        row = [sha256(b"\1" + a + b).digest() for a, b in zip(row[::2], row[1::2], strict=False)] + rest
    return row[0]


def verify_rows(rows: Iterator[str], roots: dict[int, bytes]) -> tuple[str, int, str]:
    """Organisation, number of lines and last hash; `roots` gets the root at each size in it."""
    decode, seq = json.JSONDecoder().raw_decode, 0
    blocks, leaves = list[bytes](), list[bytes]()  # roots over 4096 lines each; the lines since
    org = start = hex_ = ""
    previous = b""
    for text in rows:
        if text.startswith('{"head": '):
            if next(rows, None) is not None:
                raise Bad(f"line {seq + 1}: there are rows behind the head")
            return org, seq, hex_
        seq += 1
        try:
            if seq == 1:
                org = json.loads(text)["org_id"]
                previous = sha256(org.encode()).digest()
                hex_, start = previous.hex(), f', "org_id": {json.dumps(org)}, "body": '
            head = f'{{"seq": {seq}{start}'
            body, end = decode(text, len(head))
            previous = sha256(previous + seq.to_bytes(8, "big") + body.encode()).digest()
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Bad(f"line {seq} is not as it was written, or missing") from None
        before, hex_ = hex_, previous.hex()
        if not (text.startswith(head) and text[end:] == f', "prev_hash": "{before}", "hash": "{hex_}"}}\n'):
            raise Bad(f"line {seq} is not as it was written, or missing")
        leaves.append(sha256(b"\0" + previous).digest())
        if len(leaves) == 4096:
            blocks.append(fold(leaves))
            leaves = []
        if seq in roots:
            roots[seq] = fold([*blocks, fold(leaves)] if leaves else blocks)
    raise Bad(f"line {seq + 1} and the head are missing: rows may have been cut off")


def verify_export(path: str, key: bytes | None, notes: list[str]) -> str:
    """Chain, count, signed head, and every checkpoint against the lines."""
    with open(path, "rb") as file:  # the closing row names key and checkpoint: look at it first
        file.seek(max(0, file.seek(0, 2) - 16384))
        last_row = file.read().splitlines()[-1]
    closing = json.loads(last_row if last_row.startswith(b'{"head": ') else '{"head": {}, "checkpoint": ""}')
    head, found = closing["head"], closing["checkpoint"]
    given = base64.b64decode(head.get("public_key", ""))
    known = [read_note(note, given, "the checkpoint") for note in [*notes, *([found] if found else [])]]
    roots = {size: b"" for _, size, _ in known}
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as rows:
        org, count, last = verify_rows(iter(rows), roots)
    text = "".join(f"{head[name]}\n" for name in ("org_id", "seq", "hash", "at"))
    raw = base64.b64decode(head["signature"])
    ensure_signed(given, raw, text.encode(), "the head")
    exact = base64.b64encode(given).decode(), base64.b64encode(raw).decode()
    if key not in (None, given) or exact != (head["public_key"], head["signature"]):
        raise Bad("the head was signed with another key than the one you named")
    if head["seq"] != count or (count and (head["hash"], head["org_id"]) != (last, org)):
        raise Bad(f"line {count + 1}: the chain ends at {count}, its head says {head['seq']}")
    for of, size, root in known:
        if of != head["org_id"] or size > count or roots[size] != root:
            raise Bad(f"the lines are not those of the checkpoint of {size} lines")
    said = f"{count} lines, all as they were written\nhead {last}\nkey {head['public_key']}"
    return "\n".join([said, *(f"checkpoint {size}" for size in sorted(roots))])


def climb(at: int, last: int, steps: Iterable[str | bytes]) -> Iterator[tuple[bytes, bool]]:
    """The steps of a proof from a node to the root, and whether each is a left neighbour."""
    for step in steps:
        left = at % 2 == 1 or at == last
        yield base64.b64decode(step) if isinstance(step, str) else step, left
        while left and at % 2 == 0 and at:
            at, last = at >> 1, last >> 1
        at, last = at >> 1, last >> 1
    if last:
        raise Bad("the proof is too short")


def verify_proof(proof: dict[str, Any], key: bytes, notes: list[str]) -> str:
    """One line is under a signed checkpoint (RFC 9162, 2.1.3.2)."""
    org, size, root = read_note((notes or [proof["checkpoint"]])[0], key, "the checkpoint")
    line, seq = proof["line"], proof["seq"]
    content = bytes.fromhex(line["prev_hash"]) + seq.to_bytes(8, "big") + line["body"].encode()
    top = sha256(b"\0" + sha256(content).digest()).digest()
    for step, left in climb(seq - 1, size - 1, proof["proof"]):
        top = node(step, top) if left else node(top, step)
    if top != root or line["org_id"] != org or not 0 < seq <= size:
        raise Bad(f"line {seq} is not proven to be among the {size} of the checkpoint")
    return f"line {seq} is among the first {size} of {org}\n{line['body']}"


def verify_growth(proof: dict[str, Any], key: bytes, notes: list[str]) -> str:
    """The lines of an older checkpoint are the beginning of a newer one (RFC 9162, 2.1.4.2)."""
    old_org, old, old_root = read_note(notes[0], key, "the earlier checkpoint")
    org, size, root = read_note((notes[1:] or [proof["checkpoint"]])[0], key, "the later checkpoint")
    whole = old == size or old & (old - 1) == 0  # then the old root is a node of the new tree
    first, *rest = (
        [old_root, *proof["proof"]] if whole else [base64.b64decode(proof["proof"][0]), *proof["proof"][1:]]
    )
    shift = (size if old == size else old & -old).bit_length() - (old != size)
    before = after = first
    for step, left in climb((old - 1) >> shift, (size - 1) >> shift, rest):
        before, after = (node(step, before), node(step, after)) if left else (before, node(after, step))
    if (old_org, before, after) != (org, old_root, root):
        raise Bad(f"the first {old} lines were changed before there were {size}")
    return f"the first {old} lines are unchanged among {size}"


def main() -> int:
    """Run as a program; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("export", nargs="?")
    for name in ("--key", "--proof", "--growth"):
        parser.add_argument(name)
    parser.add_argument("--checkpoint", action="append", default=[])
    asked = parser.parse_args()
    if not asked.export and not (asked.key and (asked.proof or (asked.growth and asked.checkpoint))):
        parser.error("name an export, or --proof with --key, or --growth with --key and --checkpoint")
    try:
        key = base64.b64decode(asked.key, validate=True) if asked.key else None
        notes = [Path(path).read_text("utf-8") for path in asked.checkpoint]
        verify, path = (verify_proof, asked.proof) if asked.proof else (verify_growth, asked.growth)
        said = verify_export(asked.export, key, notes) if asked.export else verify(
            json.loads(Path(path).read_text("utf-8")), key or b"", notes)  # fmt: skip
    except OSError as error:
        parser.error(str(error))
    except Bad as bad:
        said = f"NOT as it was written: {bad}"
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        said = f"NOT as it was written: another form ({type(error).__name__}: {error})"
    print(said)
    return int(said.startswith("NOT"))


if __name__ == "__main__":
    sys.exit(main())
