"""What a story needs: a server of its own that can be killed, real git, and a receipt of what was checked."""

import base64
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from builderos.client import local
from builderos.client.errors import ClientError
from builderos.client.http import Client

Json = dict[str, Any]
WIDTH: Final = 78
# A story makes in seconds what people make in hours.
SETTINGS: Final = {
    "PORT": "0", "BUILDEROS_ANONYMOUS": "true", "BUILDEROS_RATE_PER_TOKEN": "100000",
    "BUILDEROS_RATE_PER_ORG": "100000",
    "BUILDEROS_RATE_ANONYMOUS_INITS": "1000",
}  # fmt: skip


class Failed(Exception):
    """A sentence of the story is not true here."""


class Stage:
    """A server in a folder of its own, and the receipt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.url = ""
        self.checked = 0
        self.settings: dict[str, str] = {}  # more of them, for one story
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers. Raises `ClientError` with its last words when it does not."""
        self.home.mkdir(parents=True, exist_ok=True)
        log = self.folder / "server.log"
        with log.open("ab") as out:
            before = out.tell()
            self._server = subprocess.Popen(
                local.command(), env=local.environment(self.home, **SETTINGS, **self.settings), cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        self.url = local.await_ready(self.home, self._server, log, before).url

    def kill(self) -> None:
        """End the server as a power cut would: no warning, nothing drained."""
        assert self._server is not None
        os.kill(self._server.pid, signal.SIGKILL)
        self._server.wait()

    def stop(self) -> None:
        """End the server in order."""
        if self._server is not None and self._server.poll() is None:
            self._server.terminate()
            self._server.wait(timeout=60)

    def client(self, token: str | None = None) -> Client:
        """A fresh client; it knows nothing but the address and the token."""
        return Client(self.url, token)

    def owner(self) -> Client:
        """The local owner, by the credential in the home."""
        return self.client((self.home / "owner.token").read_text().strip())

    def say(self, what: str, sha: str = "") -> None:
        """One line of the receipt: time, statement, sha."""
        stamp = time.strftime("%H:%M:%S")
        print(f"  {stamp}  ✓ {what}" + (f"  {sha[:10]}" if sha else ""), flush=True)

    def check(self, truth: object, statement: str, found: object = "") -> None:
        """A statement that must be true; raises `Failed` with what was found instead."""
        self.checked += 1
        if not truth:
            raise Failed(f"not true: {statement}" + (f" (found: {found})" if found != "" else ""))

    def refused(
        self, code: str, statement: str, client: Client, path: str, body: Json, method: str = "POST"
    ) -> None:
        """A call that must be refused with this code."""
        try:
            reply = client.call(method, path, body)
        except ClientError as error:
            self.check(error.code == code, f"{statement} is refused as {code}", error.code)
            return
        raise Failed(f"{statement} was not refused: {reply}")

    def git(
        self, *args: str, cwd: Path | None = None, token: str | None = None, may_fail: bool = False
    ) -> str:
        """Run the real git; with a token as Basic password in a header, so that it stands in no URL and no file."""
        done = subprocess.run(
            ["git", *args],
            cwd=cwd or self.folder,
            env=_git_environment(token),
            capture_output=True,
            check=False,
            timeout=120,
        )
        output = (done.stdout + done.stderr).decode(errors="replace").strip()
        if done.returncode and not may_fail:
            raise Failed(f"git {' '.join(args)} failed: {output}")
        return (
            f"exit {done.returncode}\n{output}" if may_fail else done.stdout.decode(errors="replace").strip()
        )


def _git_environment(token: str | None) -> dict[str, str]:
    env = {
        "PATH": os.environ.get("PATH", os.defpath), "HOME": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8",
        "GIT_AUTHOR_NAME": "somebody", "GIT_AUTHOR_EMAIL": "somebody@builderos.invalid",
        "GIT_COMMITTER_NAME": "somebody", "GIT_COMMITTER_EMAIL": "somebody@builderos.invalid",
    }  # fmt: skip
    if token is not None:
        basic = base64.b64encode(f"builder:{token}".encode()).decode()
        env |= {
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
        }  # fmt: skip
    return env


@contextmanager
def stage() -> Generator[Stage]:
    """A stage in a temporary folder; afterwards the server is stopped and the folder removed."""
    folder = Path(tempfile.mkdtemp(prefix="builderos-demo-"))
    folder.chmod(0o755)  # for root the database runs as another user, who must be able to reach it
    made = Stage(folder)
    try:
        yield made
    except ClientError as error:
        raise Failed(f"{error.detail} ({error.code}). {error.hint}") from error
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def title(text: str) -> None:
    """A heading of the receipt."""
    print(f"\n{text}\n{'─' * min(WIDTH, len(text))}", flush=True)


class Act:
    """A part of the story."""

    def scenes(self) -> tuple[tuple[str, Callable[[], None]], ...]:
        """Titles and scenes in order."""
        return ()

    def play(self) -> None:
        """Every scene; raises `Failed` at the first sentence that is not true."""
        for name, scene in self.scenes():
            title(name)
            scene()


def this_project() -> str | None:
    """The git repository this code lies in, where it runs from a checkout."""
    done = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--show-toplevel"],
        capture_output=True,
        check=False,
    )
    return done.stdout.decode().strip() or None if done.returncode == 0 else None


def complain(text: str) -> None:
    """Say on stderr what went wrong."""
    print(text, file=sys.stderr, flush=True)
