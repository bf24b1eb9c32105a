"""What a command finds on another machine: the same places everywhere, and nothing of ours but what it was given."""

import contextlib
import dataclasses
import hashlib
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import IO, Final

from builderos.core.problems import Problem

from .carrying import packed
from .schema import Spec

ACCOUNT: Final = 1000
WORKSPACE: Final = "/workspace"
SECRETS: Final = "/run/secrets"
HOME: Final = "/home/builder"
# Puts secrets that stand in files into variables, whole, then becomes the command. Needs a shell in the image.
_EXPORTS: Final = (
    'for n in $1; do v=$(cat "/run/secrets/$n"; printf x); export "$n=${v%x}"; done; shift; exec "$@"'
)


def fingerprint(spec: Spec) -> str:
    """As `Spec.fingerprint`, wherever the workspace lies: another server may come back to it."""
    return dataclasses.replace(spec, workspace="/").fingerprint()


def short_name(name: str, longest: int = 63) -> str:
    """A name of lower-case letters, digits and dashes that is as unique: for machines that know no others."""
    readable = "".join(c if c.isalnum() and c.isascii() else "-" for c in name.lower()).strip("-")
    tail = hashlib.sha256(name.encode()).hexdigest()[:20]
    return f"bos-{readable[: longest - 25].strip('-')}-{tail}"


@contextlib.contextmanager
def packed_workspace(spec: Spec, prefix: str) -> Generator[IO[bytes]]:
    """The workspace as a tar below `prefix`. Raises `unavailable` where it cannot be read or is too large."""
    with tempfile.TemporaryFile() as file:
        try:
            owner = ACCOUNT if spec.writable else 0
            packed(Path(spec.workspace), file, prefix=prefix, account=owner, limit=spec.limits.disk)
        except OSError as error:
            raise Problem(
                "unavailable",
                f"the workspace cannot be sent: {error}",
                hint="See what stands in it, and how large it is.",
            ) from None
        file.seek(0)
        yield file


def command_of(spec: Spec) -> list[str]:
    """The command; secrets that are asked for as variables are read from their files by a shell before it."""
    variables = [secret.name for secret in spec.secrets if not secret.as_file]
    if not variables:
        return list(spec.argv)
    return ["/bin/sh", "-c", _EXPORTS, "sh", " ".join(variables), *spec.argv]


def environment_of(spec: Spec) -> dict[str, str]:
    """Everything but values of secrets."""
    env = {"HOME": HOME, "LANG": "C.UTF-8", "TMPDIR": "/tmp", "WORKSPACE": WORKSPACE}  # noqa: S108  there, not here
    env |= dict(spec.env)
    return env | {secret.name: f"{SECRETS}/{secret.name}" for secret in spec.secrets if secret.as_file}


def refuse_what_cannot_be(spec: Spec, provider: str, *, holds_hosts: bool) -> None:
    """Raise for what no other machine can do."""
    if spec.mounts:
        raise Problem(
            "validation_failed", f"{provider} cannot show folders of this machine", hint="Use an image."
        )
    if spec.hosts and not holds_hosts:
        raise Problem(
            "policy_denied", f"{provider} cannot hold a command to a list of hosts", policy_rule="remote-network",
            hint="Run it with the local provider, or without network.",
        )  # fmt: skip
    if not spec.image:
        raise Problem(
            "validation_failed", f"{provider} needs an image pinned by its digest", hint="Name a runtime."
        )
    if not Path(spec.workspace).is_dir():
        raise Problem("unavailable", "the workspace is no existing folder", hint="Lay it out first.")
