"""Who calls which server, and how the answer is shown: what the options of every command decide."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from builderos.client import local
from builderos.client.http import Client, Json
from builderos.core.home import configured_home

from .output import facts, plain, table
from .places import Places, folder_of

WAITING = 4


@dataclass
class Caller:
    """The state of one command line. `token` and `role` are as given; see `client` for how they decide who acts."""

    json: bool = False
    verbose: bool = False
    token: str | None = None
    role: str | None = None
    url: str | None = None
    _clients: dict[str | None, Client] = field(default_factory=dict[str | None, Client])

    # ------------------------------------------------------------ which server

    @property
    def remote(self) -> str | None:
        """The address of a server elsewhere, when one was named."""
        return self.url or os.environ.get("BUILDEROS_URL") or None

    @cached_property
    def server(self) -> local.Running:
        """The local server; started when none answers."""
        running = local.ensure(configured_home())
        if running.started:
            self.say(f"Started the local server at {running.url}")
        return running

    @property
    def address(self) -> str:
        """The server's address."""
        return self.remote or self.server.url

    @property
    def edition(self) -> str | None:
        """What tells one start of the local server from the next; None for a remote one."""
        return None if self.remote else self.server.started_at

    @cached_property
    def places(self) -> Places:
        """What was saved for this server: tokens and folders."""
        return Places(self.remote or f"local {configured_home()}")

    # ------------------------------------------------------------ who acts

    @cached_property
    def given_token(self) -> str | None:
        """The token of --token or BUILDEROS_TOKEN, read from where it says."""
        return read_token(self.token) if self.token else os.environ.get("BUILDEROS_TOKEN") or None

    def client(self, repo: str | None = None) -> Client:
        """A client that acts as the caller.

        In this order: the owner with `--as owner`; a given token; the token saved for `repo`; whoever signed in with
        `builderos login`; the local owner; nobody.
        """
        if self.role == "owner":
            return self._client(self._owner())
        if self.given_token is not None:
            return self._client(self.given_token)
        saved = self.places.token(repo) if repo is not None else None
        if saved is not None:
            return self._client(saved)
        signed_in = self.places.access_token(lambda: self.bearer(None))
        if signed_in is not None:
            return self._client(signed_in)
        return self._client(None if self.remote else self.server.owner_token())

    def bearer(self, token: str | None) -> Client:
        """A client that acts with this token, or with none."""
        return self._client(token)

    def _client(self, token: str | None) -> Client:
        if token not in self._clients:
            try:
                self._clients[token] = Client(self.address, token)
            except ValueError as error:
                raise click.UsageError(str(error)) from error
        return self._clients[token]

    def _owner(self) -> str:
        if self.remote:
            raise click.UsageError("--as owner is for the local server; send an API key with BUILDEROS_TOKEN")
        return self.server.owner_token()

    def place(self, repo: str | None, branch: str | None) -> tuple[Client, Json]:
        """A client for work on a branch, and the members of its body that name repository and branch.

        Without `repo`, a given token implies its own; otherwise it is the one of the current folder.
        """
        implied = repo is None and self.given_token is not None and self.role is None
        name = None if implied else repo or self.repo_here()
        return self.client(name), {"repo_name": name, "branch": branch}

    def repo_here(self) -> str | None:
        """The repository that the current folder belongs to, when it was brought in from here."""
        folder = folder_of(Path.cwd())
        return self.places.repo_of(folder) if folder is not None else None

    # ------------------------------------------------------------ what is shown

    def say(self, text: str) -> None:
        """A remark for a person: never on stdout."""
        if not self.json:
            click.echo(plain(text), err=True)

    def show(self, reply: Json, text: str | Iterable[str] = "") -> int:
        """The reply as JSON, or `text` for a person; returns the exit code, 4 when the act waits for an approval."""
        if self.json:
            click.echo(json.dumps(reply, ensure_ascii=False, indent=2))
        else:
            click.echo(plain(text if isinstance(text, str) else "\n".join(text)))
        for warning in reply.get("warnings", []):
            self.say(f"Warning: {warning}")
        if reply.get("approval_id") and any(client.status == 202 for client in self._clients.values()):
            self.say(f"It waits for an approval: builderos approve {reply['approval_id']}")
            return WAITING
        return 0

    def tell(self, reply: Json, *keys: str) -> int:
        """The reply's message, and the named members where they are present."""
        return self.show(reply, [str(reply.get("message", "Done")), *facts(reply, keys)])

    def listing(
        self,
        reply: Json,
        columns: Sequence[tuple[str, str]],
        empty: str,
        rows: Sequence[Mapping[str, Any]] | None = None,
    ) -> int:
        """A page of a list as a table of `columns` (member, heading); `rows` where they are shown in other words."""
        items: Sequence[Mapping[str, Any]] = reply.get("items", []) if rows is None else rows
        if not items and not self.json:
            self.say(empty)
            return 0
        code = self.show(reply, table(items, columns))
        if reply.get("next_cursor"):
            self.say(f"There is more: --cursor {reply['next_cursor']}")
        return code


def read_token(text: str) -> str:
    """A token as an option gives it: itself, `@FILE`, or `-` for the first line of stdin."""
    if text == "-":
        found = sys.stdin.readline().strip()
    elif text.startswith("@"):
        try:
            found = Path(text[1:]).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"cannot read the token file {text[1:]}: {error}") from error
    else:
        return text.strip()
    if not found:
        raise click.UsageError("there is no token where you pointed to")
    return found
