"""What a person asked to keep on this machine: workspace tokens, who signed in, which folder is which repository.

One file per server in the configuration folder, readable by its owner alone.
"""

import hashlib
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from builderos.client import signing_in
from builderos.client.http import Client
from builderos.client.kept import Kept

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
        name = hashlib.sha256(server.encode()).hexdigest()[:16]
        self.kept = Kept(config_folder() / "servers" / f"{name}.json")
        self._server = server

    @property
    def file(self) -> Path:
        """Where all of it lies."""
        return self.kept.file

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

    def keep_login(self, login: Json | None) -> None:
        """Keep who signed in; None: nobody."""
        self._change(lambda kept: kept.update(login=login))

    def access_token(self, client: Callable[[], Client]) -> str | None:
        """The access token of whoever signed in from here, a fresh one where it is about to end.

        Raises `ClientError` when that sign-in is over.
        """
        with self._words("use"):
            return signing_in.access_token(self.kept, client)

    def _read(self) -> Json:
        with self._words("read"):
            return self.kept.read()

    def _change(self, change: Callable[[Json], Any]) -> None:
        def apply(kept: Json) -> None:
            kept["server"] = self._server
            change(kept)

        with self._words("write"):
            self.kept.change(apply)

    @contextmanager
    def _words(self, verb: str) -> Generator[None]:
        """Faults of the file, as a person reads them."""
        try:
            yield
        except (OSError, ValueError) as error:
            raise click.ClickException(f"cannot {verb} {self.file}: {error}") from error
