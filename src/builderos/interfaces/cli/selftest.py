"""`selftest sandbox`: what the product promises, tried on this installation through its public door."""

import subprocess
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from builderos.client.errors import ClientError
from builderos.client.http import Client, Json

from .caller import Caller
from .commands import Noun
from .options import on_repo

REPOSITORY: Final = "selftest"


class Broken(Exception):
    """A promise that was not kept."""


@dataclass(frozen=True)
class _Workspace:
    client: Client
    repo: str
    branch: str
    token: str

    def call(self, route: str, **body: Any) -> Json:
        """A call on the own branch."""
        return self.client.call("POST", route, {"repo_name": self.repo, "branch": self.branch} | body)

    def commit(self, path: str, content: str) -> str:
        """Save one file; returns the commit."""
        files = [{"path": path, "content": content}]
        return str(
            self.call("/commit_and_log_output", files=files, message=f"Self-test of {path}")["commit_sha"]
        )

    def read(self, path: str, branch: str | None = None) -> str | None:
        """Content of a file, None when it is missing."""
        files: list[Json] = self.call("/system/fetch_files", path=path, branch=branch or self.branch)["files"]
        return str(files[0]["content"]) if files else None


@click.group("selftest", cls=Noun)
def command() -> None:
    """Prove on this installation what the product promises."""


@command.command()
@on_repo
@click.pass_obj
def sandbox(caller: Caller, repo: str | None) -> int:
    """Try isolation, reuse, rollback, backup and memory in two fresh workspaces; exit code 1 when one fails.

    The workspaces lie in --repo, or in a small repository `selftest` that is made once. They are deleted at the end.
    """
    name = repo or _repository(caller)
    checks: tuple[tuple[str, Callable[[_Workspace, _Workspace], str]], ...] = (
        ("isolation", _isolation), ("reuse", _reuse), ("rollback", _rollback), ("backup", _backup), ("memory", _memory),
    )  # fmt: skip
    with _workspace(caller, name) as one, _workspace(caller, name) as other:
        results = [_run(check, verify, one, other) for check, verify in checks]
    reply = {"ok": all(r["ok"] for r in results), "repo_name": name, "checks": results}
    caller.show(reply, [f"{'ok    ' if r['ok'] else 'FAILED'} {r['name']}: {r['detail']}" for r in results])
    return 0 if reply["ok"] else 1


def _run(
    name: str, verify: Callable[[_Workspace, _Workspace], str], one: _Workspace, other: _Workspace
) -> Json:
    try:
        return {"name": name, "ok": True, "detail": verify(one, other)}
    except Broken as broken:
        return {"name": name, "ok": False, "detail": str(broken)}
    except ClientError as error:
        return {"name": name, "ok": False, "detail": f"{error.code}: {error.detail}"}


def _repository(caller: Caller) -> str:
    """The name of the self-test's repository; made when this server has none."""
    if caller.remote:
        raise click.UsageError("on a remote server name a repository to try it in: --repo NAME")
    with tempfile.TemporaryDirectory(prefix="builderos-selftest-") as folder:
        source = Path(folder) / REPOSITORY
        identity = ("-c", "user.name=selftest", "-c", "user.email=selftest@builderos.invalid")
        for words in (["init", "--quiet", "--initial-branch=main", str(source)],
                      ["-C", str(source), *identity, "commit", "--quiet", "--allow-empty", "-m", "Begin"]):  # fmt: skip
            subprocess.run(["git", *words], check=True, capture_output=True)
        try:
            caller.client().call(
                "POST", "/v1/repos/import", {"source": str(source), "name": REPOSITORY}, once=True
            )
        except ClientError as error:
            if error.code != "conflict":  # there since an earlier self-test
                raise
    return REPOSITORY


@contextmanager
def _workspace(caller: Caller, repo: str) -> Generator[_Workspace]:
    host = caller.client()
    reply = host.call(
        "POST", "/sandbox/init", {"mode": "branch", "repo_name": repo, "force_new": True}, once=True
    )
    token, branch = str(reply["reuse_token"]), str(reply["branch"])
    try:
        yield _Workspace(Client(caller.address, token), repo, branch, token)
    finally:
        host.call("DELETE", f"/v1/sandboxes/{branch}", once=True)


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Broken(otherwise)


def _refused(act: Callable[[], Any], what: str, *codes: str) -> None:
    try:
        act()
    except ClientError as error:
        _expect(error.code in codes, f"{what} was refused as {error.code}")
        return
    raise Broken(f"{what} was possible")


def _isolation(one: _Workspace, other: _Workspace) -> str:
    one.commit("selftest/own.txt", "mine\n")
    change = {"file_path": "selftest/own.txt", "content": "not mine\n", "message": "Intrude"}
    route = "/commit_and_log_output"
    hidden = ("forbidden_branch", "not_found")
    _refused(lambda: other.call(route, **change, branch=one.branch), "writing another's branch", *hidden)
    _refused(lambda: other.read("selftest/own.txt", one.branch), "reading another's branch", *hidden)
    _refused(
        lambda: other.call(route, **change, branch="main"),
        "writing main",
        "protected_branch",
        "forbidden_branch",
    )
    wrong = Client(one.client.url, one.token[:-4] + ("aaaa" if one.token[-4:] != "aaaa" else "bbbb"))
    _refused(lambda: wrong.call("POST", "/git/log", {"branch": one.branch}), "a wrong token", "token_invalid")
    _expect(one.read("selftest/own.txt") == "mine\n", "the file was changed by somebody else")
    return "another's branch, main and a wrong token are refused"


def _reuse(one: _Workspace, _other: _Workspace) -> str:
    reply = one.client.call("POST", "/sandbox/init", {"mode": "branch"})
    _expect(reply["branch"] == one.branch and not reply["created"], "the token opened another workspace")
    return f"the token alone opens {one.branch} again"


def _rollback(one: _Workspace, _other: _Workspace) -> str:
    one.commit("selftest/text.txt", "first\n")
    second = one.commit("selftest/text.txt", "second\n")
    undo = str(one.call("/git/rollback_commit", commit_sha=second, reason="Self-test")["new_sha"])
    _expect(one.read("selftest/text.txt") == "first\n", "the undo did not bring the old text back")
    one.call("/git/rollback_commit", commit_sha=undo, reason="Self-test of the undo")
    _expect(one.read("selftest/text.txt") == "second\n", "the undo could not be undone")
    log = one.call("/git/log", limit=20)["items"]
    _expect({second, undo} <= {item["sha"] for item in log}, "history was rewritten")
    return "a commit and its undo were undone, history kept both"


def _backup(one: _Workspace, _other: _Workspace) -> str:
    one.commit("selftest/kept.txt", "kept\n")
    backup = one.call("/system/backup", scope="branch")["backup_id"]
    files = [{"path": "selftest/kept.txt", "delete": True}]
    one.call("/commit_and_log_output", files=files, message="Lose a file")
    _expect(one.read("selftest/kept.txt") is None, "the file could not be deleted")
    one.call(f"/system/backup/{backup}/restore")
    _expect(one.read("selftest/kept.txt") == "kept\n", "the backup did not bring the file back")
    return "a lost file came back"


def _memory(one: _Workspace, _other: _Workspace) -> str:
    one.commit("selftest/remembered.txt", "a fact\n")
    found = one.call("/memory/query", mode="list", limit=200)["items"]
    _expect(
        any(item.get("path") == "selftest/remembered.txt" for item in found),
        "a saved file is not in the memory",
    )
    return "what is saved is remembered"
