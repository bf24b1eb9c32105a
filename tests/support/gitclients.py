"""Real git clients, as people use them, and one that speaks the protocol by hand to say what no client would."""

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from .world import GIT_ENV

NOTHING = "0" * 40
EMPTY_PACK = bytes.fromhex("5041434b0000000200000000029d08823bd8a8eab510ad6ac75c823cfd3ed31e")


@dataclass(frozen=True)
class Ran:
    """What a git command said."""

    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.code == 0


def run(
    *args: str, cwd: Path | None = None, stdin: bytes | None = None, env: Mapping[str, str] | None = None
) -> Ran:
    """Run the real git, whatever comes of it."""
    done = run_bytes(*args, cwd=cwd, stdin=stdin, env=env)
    return Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def run_bytes(
    *args: str, cwd: Path | None = None, stdin: bytes | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Like `run`, with output as it is."""
    return subprocess.run(
        ["git", *args], cwd=cwd, env={**GIT_ENV, **(env or {})}, input=stdin, capture_output=True, check=False,
        timeout=120,
    )  # fmt: skip


@dataclass(frozen=True)
class Clone:
    """A clone on somebody's computer, with the branch it pushes to."""

    folder: Path
    branch: str

    def git(self, *args: str, **options: Any) -> Ran:
        """Run git in it, whatever comes of it."""
        return run(*args, cwd=self.folder, **options)

    def must(self, *args: str, **options: Any) -> str:
        """Run git in it and return its output; asserts success."""
        ran = self.git(*args, **options)
        assert ran.ok, ran.err
        return ran.out.strip()

    def write(self, path: str, content: str | bytes) -> Path:
        """Put a file into the work tree."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
        return target

    def commit(self, files: Mapping[str, str | bytes | None], message: str = "change") -> str:
        """Commit files (None deletes) and return the sha."""
        for path, content in files.items():
            if content is None:
                os.unlink(self.folder / path)
            else:
                self.write(path, content)
        self.must("add", "-A", "-f")
        self.must("commit", "-q", "--allow-empty", "-m", message)
        return self.head

    def commit_entries(self, entries: Iterable[tuple[str, str, str]], message: str = "change") -> str:
        """Commit index entries (mode, blob or commit sha, path) that the work tree could not hold."""
        listed = "".join(f"{mode} {sha}\t{path}\n" for mode, sha, path in entries)
        self.must(
            "-c", "core.protectHFS=false", "-c", "core.protectNTFS=false", "update-index", "--add", "--index-info",
            stdin=listed.encode("utf-8", "surrogateescape"),
        )  # fmt: skip
        self.must("commit", "-q", "-m", message)
        return self.head

    def blob(self, content: str | bytes) -> str:
        """Store a blob and return its sha."""
        data = content if isinstance(content, bytes) else content.encode()
        return self.must("hash-object", "-w", "--stdin", stdin=data)

    @property
    def head(self) -> str:
        """The commit that is checked out."""
        return self.must("rev-parse", "HEAD")

    def push(self, *args: str) -> Ran:
        """Push to origin, by default the own branch."""
        return self.git("push", "origin", *(args or (f"HEAD:{self.branch}",)))

    def pack(self, *revs: str, options: tuple[str, ...] = ()) -> bytes:
        """A pack of what these revisions reach."""
        done = run_bytes(
            "pack-objects",
            "--revs",
            "--stdout",
            "-q",
            *options,
            cwd=self.folder,
            stdin="\n".join([*revs, ""]).encode(),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def address(url: str, token: str, repo: str = "lab", user: str = "anyone") -> str:
    """A URL with a token in it, as a person would paste it."""
    return f"{url.replace('://', f'://{user}:{token}@')}/git/{repo}.git"


def clone(url: str, token: str, branch: str, folder: Path, *options: str, repo: str = "lab") -> Clone:
    """A clone made with a token; asserts success."""
    ran = run("clone", "-q", *options, address(url, token, repo), str(folder))
    assert ran.ok, ran.err
    return Clone(folder, branch)


def pkt(text: str | bytes) -> bytes:
    """One pkt-line."""
    data = text.encode() if isinstance(text, str) else text
    return b"%04x%s" % (len(data) + 4, data)


def raw(url: str, token: str, service: str, body: bytes, repo: str = "lab", **headers: str) -> httpx.Response:
    """One POST of the smart protocol, as it is."""
    kind = f"application/x-git-{service}-request"
    return httpx.post(
        f"{url}/git/{repo}.git/git-{service}", content=body, auth=("anyone", token), timeout=120,
        headers={"content-type": kind, **{k.replace("_", "-"): v for k, v in headers.items()}},
    )  # fmt: skip


def raw_push(
    url: str,
    token: str,
    commands: Iterable[tuple[str, str, str]],
    pack: bytes,
    capabilities: str = "report-status",
) -> str:
    """Send commands (old, new, ref) with a pack, as no client would; the report as text."""
    lines = [f"{old} {new} {ref}" for old, new, ref in commands]
    lines[0] += f"\0{capabilities}"
    body = b"".join(pkt(line + "\n") for line in lines) + b"0000" + pack
    reply = raw(url, token, "receive-pack", body)
    assert reply.status_code == 200, reply.text
    return reply.text


def raw_fetch(url: str, token: str, wants: Iterable[str], version: int) -> bytes:
    """Ask for objects by id in protocol version 0 or 2; the whole reply."""
    if version == 2:
        lines = [pkt(f"want {sha}\n") for sha in wants]
        body = (
            pkt("command=fetch")
            + pkt("object-format=sha1")
            + b"0001"
            + b"".join(lines)
            + pkt("done\n")
            + b"0000"
        )
        return raw(url, token, "upload-pack", body, git_protocol="version=2").content
    first, *more = [f"want {sha}" for sha in wants]
    body = pkt(f"{first} side-band-64k ofs-delta\n") + b"".join(pkt(f"{line}\n") for line in more)
    return raw(url, token, "upload-pack", body + b"0000" + pkt("done\n")).content
