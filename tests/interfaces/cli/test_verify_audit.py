"""The standalone verifier, as somebody runs it who does not trust us: another process, no BuilderOS to import."""

import ast
import base64
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pymerkle import InmemoryTree

import builderos.interfaces.cli.verify_audit as verifier
from builderos.trust.ledger import service as ledger
from tests.support.databases import Databases
from tests.support.lab import lab_in_temp

SOURCE = Path(verifier.__file__)
ORG = "org_01HZZZZZZZZZZZZZZZZZZZZZZZ"
CLEAN = (
    "import runpy, sys; sys.modules['builderos'] = None; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def run(*args: object) -> tuple[int, str]:
    """Exit code and output of the script in a clean interpreter."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", CLEAN, SOURCE, *map(str, args)], capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


class Book:
    """An export of ours, made without any code of the server."""

    def __init__(self, count: int, org: str = ORG) -> None:
        self.org, self.key = org, Ed25519PrivateKey.from_private_bytes(b"k" * 32)
        self.public = base64.b64encode(self.key.public_key().public_bytes_raw()).decode()
        self.rows: list[str] = []
        self.hashes: list[bytes] = []
        self.tree = InmemoryTree(algorithm="sha256")
        previous = hashlib.sha256(org.encode()).digest()
        for seq in range(1, count + 1):
            body = json.dumps({"type": "commit", "object": f'sha "{seq}" é\n', "payload": {"n": seq}})
            hash_ = hashlib.sha256(previous + seq.to_bytes(8, "big") + body.encode()).digest()
            row = {"seq": seq, "org_id": org, "body": body, "prev_hash": previous.hex(), "hash": hash_.hex()}
            self.rows.append(json.dumps(row, ensure_ascii=False) + "\n")
            self.hashes.append(hash_)
            self.tree.append_entry(hash_)
            previous = hash_

    def note(self, size: int) -> str:
        """The signed checkpoint of a size."""
        origin = f"builderos/ledger/{self.org}"
        root = base64.b64encode(self.tree.get_root(size)).decode()
        text = f"{origin}\n{size}\n{root}\n"
        id_ = hashlib.sha256(origin.encode() + b"\n\x01" + self.key.public_key().public_bytes_raw()).digest()[
            :4
        ]
        return f"{text}\n\u2014 {origin} {base64.b64encode(id_ + self.key.sign(text.encode())).decode()}\n"

    def head(self, size: int | None = None, checkpoint: str | None = None) -> str:
        """The closing row."""
        seq = len(self.rows) if size is None else size
        last = self.hashes[seq - 1] if seq else hashlib.sha256(self.org.encode()).digest()
        head = {"org_id": self.org, "seq": seq, "hash": last.hex(), "at": "2026-11-21T00:00:00Z"}
        text = "".join(f"{value}\n" for value in head.values()).encode()
        head |= {"public_key": self.public, "signature": base64.b64encode(self.key.sign(text)).decode()}
        return json.dumps({"head": head, "checkpoint": checkpoint}) + "\n"

    def text(self) -> str:
        """The whole export."""
        return "".join([*self.rows, self.head(checkpoint=self.note(len(self.rows)) if self.rows else None)])


@pytest.fixture(scope="module")
def book() -> Book:
    return Book(40)


def test_the_script_is_short_and_needs_nothing_of_ours() -> None:
    source = SOURCE.read_text("utf-8")
    assert len(source.splitlines()) < 200
    names = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).partition(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert names - set(sys.stdlib_module_names) == {"cryptography"}


@pytest.mark.parametrize("count", [0, 1, 40, 4096, 4100, 9000])
def test_a_whole_export_verifies_with_its_checkpoints(tmp_path: Path, count: int) -> None:
    book = Book(count)
    file = tmp_path / "export.jsonl"
    file.write_text(book.text(), "utf-8")
    sizes = [size for size in (1, 7, 4095, 4097, 8192) if size <= count]
    earlier = [tmp_path / f"{size}.txt" for size in sizes]
    for path, size in zip(earlier, sizes, strict=True):
        path.write_text(book.note(size), "utf-8")
    code, said = run(file, "--key", book.public, *(x for path in earlier for x in ("--checkpoint", path)))
    assert (code, said.splitlines()[0]) == (0, f"{count} lines, all as they were written"), said
    for size in [*sizes, *([count] if count else [])]:
        assert f"checkpoint {size}\n" in said


@pytest.mark.parametrize("at", [0, 5, 60, 120, 180, 300, -2, -1])
@pytest.mark.parametrize("row", [0, 17, 39])
def test_one_changed_byte_names_its_line(tmp_path: Path, book: Book, row: int, at: int) -> None:
    data = bytearray(book.rows[row].encode())
    data[at] ^= 0x01
    rows = [text.encode() for text in book.rows]
    file = tmp_path / "export.jsonl"
    file.write_bytes(b"".join([*rows[:row], bytes(data), *rows[row + 1 :], book.head().encode()]))
    code, said = run(file, "--key", book.public)
    assert code == 1
    assert f"line {row + 1} " in said


def test_no_changed_byte_of_an_export_goes_unnoticed(book: Book, tmp_path: Path) -> None:
    """Every byte in turn, in this process: JSON's own freedoms are no freedom here."""
    data = Book(3).text().encode()
    file = tmp_path / "export.jsonl"
    missed: list[int] = []
    for at in range(len(data) - 1):
        file.write_bytes(data[:at] + bytes([data[at] ^ 0x02]) + data[at + 1 :])
        try:
            verifier.verify_export(str(file), base64.b64decode(book.public), [])
        except (verifier.Bad, ValueError, KeyError, TypeError, IndexError, AttributeError):
            continue
        missed.append(at)
    assert missed == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda b: b.rows[:5] + b.rows[6:] + [b.head()], "line 6 "),
        (lambda b: [*b.rows[:-1], b.head()], "line 40:"),
        (lambda b: [*b.rows[1:], b.head()], "line 1 "),
        (lambda b: b.rows, "line 41 and the head are missing"),
        (lambda b: [*b.rows, b.head(), b.rows[0], b.head()], "behind the head"),
        (lambda b: [*b.rows[:30], b.head(30, b.note(40))], "checkpoint of 40 lines"),
        (lambda b: [*b.rows, b.head(checkpoint="x")], "not a checkpoint"),
        (lambda b: [*b.rows, b.head(checkpoint=Book(40, "org_other").note(40))], "checkpoint of 40 lines"),
        (lambda b: [*b.rows, b.head(checkpoint=b.note(40).replace("\n40\n", "\n41\n"))], "signature"),
        (lambda b: [*b.rows, b.head().replace("00:00:00Z", "00:00:01Z")], "signature"),
        (lambda b: [*Book(40, "org_other").rows, b.head()], "line 41:"),
    ],
)  # fmt: skip
def test_a_damaged_export_is_refused_with_its_reason(
    tmp_path: Path, book: Book, damage: object, words: str
) -> None:
    file = tmp_path / "export.jsonl"
    file.write_text("".join(damage(book)), "utf-8")  # type: ignore[operator]
    code, said = run(file, "--key", book.public)
    assert (code, words in said) == (1, True), said


def test_a_history_that_was_written_anew_does_not_fit_what_was_noted_before(
    tmp_path: Path, book: Book
) -> None:
    """Everything is signed with the right key: only the earlier checkpoint tells."""
    noted, file = tmp_path / "noted.txt", tmp_path / "export.jsonl"
    noted.write_text(book.note(20), "utf-8")
    anew = Book(40)
    anew.rows, anew.hashes = anew.rows[:10], anew.hashes[:10]
    file.write_text("".join([*anew.rows, anew.head()]), "utf-8")
    assert run(file, "--key", book.public)[0] == 0
    code, said = run(file, "--key", book.public, "--checkpoint", noted)
    assert (code, "checkpoint of 20 lines" in said) == (1, True)


def test_another_key_is_told(tmp_path: Path, book: Book) -> None:
    file = tmp_path / "export.jsonl"
    file.write_text(book.text(), "utf-8")
    other = base64.b64encode(b"\1" * 32).decode()
    code, said = run(file, "--key", other)
    assert (code, "another key" in said) == (1, True)
    assert run(file)[0] == 0


def test_what_cannot_be_looked_at_is_another_exit_code(tmp_path: Path) -> None:
    assert run(tmp_path / "nothing")[0] == 2
    assert run()[0] == 2
    assert run("--proof", tmp_path / "x")[0] == 2
    empty = tmp_path / "empty"
    empty.touch()
    assert run(empty)[0] == 1


@dataclass
class Served:
    """What a server gave out."""

    folder: Path
    key: str
    sizes: list[int]


@pytest.fixture(scope="module")
def served(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An export, two checkpoints and proofs of a real server; the server is gone when they are verified."""
    folder = tmp_path_factory.mktemp("served")
    with lab_in_temp(databases) as lab:
        box = lab.open_sandbox()
        sizes: list[int] = []
        for number in range(3):
            box.commit({"ü.txt": f"{number}"}, f'Say "{number}" — ok\\')
            shown = lab.ok(lab.as_owner("POST", "/v1/audit/checkpoint", json={}))
            sizes.append(shown["size"])
            (folder / f"{number}.txt").write_text(shown["note"], "utf-8")
        assert sizes[-1] < ledger.STEP
        for name, path in (
            ("export.jsonl", "export?format=jsonl"), ("proof.json", "proof?seq=3&with_line=true"),
            ("last.json", f"proof?seq={sizes[1]}&size={sizes[1]}&with_line=true"),
            ("growth.json", f"consistency?from={sizes[0]}"), ("same.json", f"consistency?from={sizes[2]}"),
            ("middle.json", f"consistency?from={sizes[0]}&to={sizes[1]}"),
        ):  # fmt: skip
            (folder / name).write_bytes(lab.as_owner("GET", f"/v1/audit/{path}").content)
        key = lab.ok(lab.as_owner("GET", "/v1/audit/checkpoint"))["public_key"]
    yield Served(folder, key, sizes)
    shutil.rmtree(folder)


def test_what_a_server_gave_out_verifies(served: Served) -> None:
    at = served.folder
    notes = [at / f"{number}.txt" for number in range(3)]
    code, said = run(
        at / "export.jsonl", "--key", served.key, *(x for n in notes for x in ("--checkpoint", n))
    )
    assert code == 0, said
    for size in served.sizes:
        assert f"checkpoint {size}\n" in said
    for args, words in (
        (("--proof", at / "proof.json"), f"line 3 is among the first {served.sizes[2]}"),
        (("--proof", at / "last.json", "--checkpoint", notes[1]), f"line {served.sizes[1]} is among"),
        (("--growth", at / "growth.json", "--checkpoint", notes[0]), f"the first {served.sizes[0]} lines"),
        (("--growth", at / "same.json", "--checkpoint", notes[2]), "unchanged"),
        (("--growth", at / "middle.json", "--checkpoint", notes[0], "--checkpoint", notes[1]), "unchanged"),
    ):  # fmt: skip
        code, said = run(*args, "--key", served.key)
        assert (code, words in said) == (0, True), said


def test_a_forged_proof_is_refused(served: Served, tmp_path: Path) -> None:
    at, file = served.folder, tmp_path / "forged.json"
    proof = json.loads((at / "proof.json").read_text())
    line = proof["line"]
    forged = [
        proof | {"line": line | {"body": line["body"].replace('"door"', '"Door"')}},
        proof | {"line": line | {"org_id": "org_other"}},
        proof | {"seq": 4}, proof | {"proof": proof["proof"][:-1]}, proof | {"proof": proof["proof"][::-1]},
        proof | {"checkpoint": json.loads((at / "middle.json").read_text())["checkpoint"]},
    ]  # fmt: skip
    for reply in forged:
        file.write_text(json.dumps(reply))
        code, said = run("--proof", file, "--key", served.key)
        assert (code, said.startswith("NOT")) == (1, True), (reply, said)
    growth = json.loads((at / "growth.json").read_text())
    for steps in (growth["proof"][:-1], growth["proof"][::-1], [*growth["proof"], growth["proof"][0]]):
        file.write_text(json.dumps(growth | {"proof": steps}))
        assert run("--growth", file, "--key", served.key, "--checkpoint", at / "0.txt")[0] == 1
    assert run("--growth", at / "growth.json", "--key", served.key, "--checkpoint", at / "1.txt")[0] == 1
