"""What a person asked to keep on this machine: workspace tokens, who signed in, which folder is which repository.

One file per server in the configuration folder, readable by its owner alone.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Json = dict[str, Any]


def config_folder() -> Path:
    """Where this user's configuration lives."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "builderos"


def folder_of(path: Path) -> Path | None:
    """The top of the git checkout that `path` lies in; None outside of one."""
    return next((folder for folder in (path, *path.parents) if (folder / ".git").exists()), None)


class Places:
    """Tokens by repository and repositories by folder, for one server."""

    def __init__(self, server: str) -> None:
        self.file = config_folder() / "servers" / f"{hashlib.sha256(server.encode()).hexdigest()[:16]}.json"
        self._server = server

    def token(self, repo: str) -> str | None:
        """The saved token of a repository's workspace."""
        return self._read().get("tokens", {}).get(repo, {}).get("reuse_token")

    def branch(self, repo: str) -> str | None:
        """The branch that the saved token opens."""
        return self._read().get("tokens", {}).get(repo, {}).get("branch")

    def repos_of(self, branch: str) -> list[str]:
        """The repositories whose saved token opens this branch."""
        return [
            repo for repo, place in self._read().get("tokens", {}).items() if place.get("branch") == branch
        ]

    def save_token(self, repo: str, branch: str, token: str) -> None:
        """Keep a token; one per repository."""
        self._change(
            lambda kept: kept.setdefault("tokens", {}).update(
                {repo: {"branch": branch, "reuse_token": token}}
            )
        )

    def forget_token(self, repo: str) -> None:
        """Drop the token of a repository."""
        self._change(lambda kept: kept.get("tokens", {}).pop(repo, None))

    def repo_of(self, folder: Path) -> str | None:
        """The repository that was brought in from this folder."""
        return self._read().get("folders", {}).get(str(folder))

    def save_folder(self, folder: Path, repo: str) -> None:
        """Remember that this folder belongs to that repository."""
        self._change(lambda kept: kept.setdefault("folders", {}).update({str(folder): repo}))

    def login(self) -> Json | None:
        """Who signed in at this server from here: tokens, and when they end."""
        return self._read().get("login")

    def change_login(self, change: Callable[[Json | None], Json | None]) -> Json | None:
        """Keep what `change` makes of it, one command at a time: a refresh token is good for one use."""
        made: list[Json | None] = []

        def apply(kept: Json) -> None:
            made.append(change(kept.get("login")))
            kept["login"] = made[0]

        self._change(apply)
        return made[0]

    def _read(self) -> Json:
        try:
            return json.loads(self.file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise click.ClickException(f"cannot read {self.file}: {error}") from error

    def _change(self, change: Callable[[Json], Any]) -> None:
        import fcntl

        try:
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self.file.with_suffix(".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                kept = self._read() | {"server": self._server}
                change(kept)
                self._write(json.dumps(kept, indent=2))
        except OSError as error:
            raise click.ClickException(f"cannot write {self.file}: {error}") from error

    def _write(self, text: str) -> None:
        draft = self.file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text + "\n")
        draft.replace(self.file)
