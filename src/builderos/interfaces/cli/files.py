"""`commit` and `fetch`: local files into a branch, and out of it."""

import base64
import os
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from builderos.client.http import Json

from .caller import Caller
from .commands import Verb
from .options import fields, on_branch
from .output import plain
from .places import folder_of


@click.command(cls=Verb)
@click.argument("paths", nargs=-1, type=click.Path())
@click.option("-m", "--message", required=True, help="What this change does.")
@click.option(
    "-d", "--delete", "deleted", multiple=True, metavar="PATH", help="Remove this file; repeat for more."
)
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False),
    help="Folder that paths in the repository start at.",
)
@click.option("--task", metavar="ID", help="Task this belongs to.")
@click.option("--agent-version", metavar="NAME", help="Model or agent that made the change.")
@click.option("--dry-run", is_flag=True, help="List what would be sent and stop.")
@on_branch
@click.pass_obj
def commit(
    caller: Caller, paths: tuple[str, ...], message: str, deleted: tuple[str, ...], root: str | None, task: str | None,
    agent_version: str | None, dry_run: bool, repo: str | None, branch: str | None,
) -> int:  # fmt: skip
    """Save local files to your branch as one commit.

    A folder stands for the files in it that git would not ignore. Paths are taken from the top of the checkout, or from
    --root. Symbolic links are refused: they could carry files from elsewhere.
    """
    top = Path(os.path.abspath(root)) if root else folder_of(Path.cwd()) or Path.cwd()
    files = [_file(path, top) for path in dict.fromkeys(_spread(paths))]
    files += [{"path": _inside(Path(path), top), "delete": True} for path in deleted]
    if not files:
        raise click.UsageError("nothing to commit: name files, or --delete PATH")
    if dry_run:
        return caller.show({"files": [{"path": f["path"], "delete": f.get("delete", False)} for f in files]},
                           [f"{'delete' if f.get('delete') else 'write '} {f['path']}" for f in files])  # fmt: skip
    client, body = caller.place(repo, branch)
    body |= {"files": files, "message": message} | fields(task_id=task, agent_version=agent_version)
    reply = client.call("POST", "/commit_and_log_output", body, once=True)
    return caller.tell(reply, "commit_sha", "task_id", "diff_stat")


def _spread(paths: Iterable[str]) -> Iterator[Path]:
    """The files that were named, and for each folder the files in it."""
    for name in paths:
        path = Path(os.path.abspath(name))
        if path.is_dir() and not path.is_symlink():
            yield from _files_in(path)
        else:
            yield path


def _files_in(folder: Path) -> list[Path]:
    """What git would list: tracked and new files, without the ignored ones; outside of a checkout every file."""
    words = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "."]
    try:
        listed = subprocess.run(words, capture_output=True, check=False)
    except OSError as error:
        raise click.UsageError(f"cannot run git to list {folder}: {error}") from error
    if listed.returncode == 0:
        found = {folder / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name}
        return sorted(path for path in found if path.is_file() or path.is_symlink())
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def _inside(path: Path, top: Path) -> str:
    """The path in the repository. Raises `UsageError` outside of `top`."""
    full = Path(os.path.abspath(path))
    try:
        return full.relative_to(top).as_posix()
    except ValueError:
        raise click.UsageError(f"{path} is not below {top}; say where paths start with --root") from None


def _file(path: Path, top: Path) -> Json:
    name = _inside(path, top)
    _refuse_links(path, top)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise click.UsageError(f"cannot read {name}: {error.strerror}") from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        return {"path": name, "content": base64.b64encode(data).decode("ascii"), "encoding": "base64"}
    return {"path": name, "content": text}


def _refuse_links(path: Path, top: Path) -> None:
    """A link, also one on the way to the file, could carry content from outside of the repository."""
    for step in (path, *path.parents):
        if step == top:
            return
        try:
            linked = stat.S_ISLNK(os.lstat(step).st_mode)
        except OSError as error:
            raise click.UsageError(f"cannot read {_inside(path, top)}: {error.strerror}") from error
        if linked:
            raise click.UsageError(f"{_inside(step, top)} is a symbolic link; commit the file it points to")


@click.command(cls=Verb)
@click.argument("paths", nargs=-1, required=True)
@click.option("-o", "--out", type=click.Path(file_okay=False), help="Write the files below this folder.")
@click.option("--at", metavar="SHA", help="Read them as they were at this commit.")
@on_branch
@click.pass_obj
def fetch(
    caller: Caller,
    paths: tuple[str, ...],
    out: str | None,
    at: str | None,
    repo: str | None,
    branch: str | None,
) -> int:
    """Read files of a branch: to stdout, or with --out into a folder. Exit code 1 when one is missing."""
    client, body = caller.place(repo, branch)
    reply = client.call(
        "POST", "/system/fetch_files", body | {"mode": "batch", "paths": list(paths)} | fields(at=at)
    )
    files: list[dict[str, Any]] = reply["files"]
    if out is not None:
        written = [_write(file, Path(out)) for file in files if not file["truncated"]]
        caller.show(reply, [f"Wrote {path}" for path in written])
    elif caller.json:
        caller.show(reply)
    else:
        _print(files)
    return _missing(caller, reply)


def _missing(caller: Caller, reply: Json) -> int:
    """Say what could not be read; returns the exit code."""
    cut = [file["path"] for file in reply["files"] if file["truncated"]]
    for path in reply["missing"]:
        caller.say(f"There is no file {path} in {reply['branch']}")
    for path in cut:
        caller.say(f"{path} is too long for one reply; fetch it alone, or clone the repository")
    return 1 if reply["missing"] or cut else 0


def _bytes(file: Json) -> bytes:
    text = str(file["content"])
    return base64.b64decode(text) if file["encoding"] == "base64" else text.encode()


def _print(files: list[dict[str, Any]]) -> None:
    """Bytes as they are into a file or pipe; on a terminal nothing that it would obey."""
    out = sys.stdout.buffer
    for file in files:
        if len(files) > 1:
            out.write(plain(f"==> {file['path']} <==\n").encode())
        data = _bytes(file)
        out.write(plain(data.decode("utf-8", "replace")).encode() if sys.stdout.isatty() else data)
        if len(files) > 1 and not data.endswith(b"\n"):
            out.write(b"\n")
    out.flush()


def _write(file: Json, folder: Path) -> Path:
    """Write one file below `folder`, and nowhere else whatever the reply says."""
    top = Path(os.path.realpath(folder))
    target = top / str(file["path"])
    if not Path(os.path.realpath(target)).is_relative_to(top) or ".git" in target.relative_to(top).parts:
        raise click.ClickException(f"{file['path']} would lie outside of {folder}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_bytes(file))
    except OSError as error:
        raise click.ClickException(f"cannot write {target}: {error.strerror}") from error
    return target
