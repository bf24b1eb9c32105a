"""Bring a repository in: from a URL, or from a path for the local owner. Only the default branch comes along."""

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import sqlalchemy as sa
from pydantic import Field, StringConstraints

from builderos.core.dialing import is_plain_host, public_address
from builderos.core.ids import new_id
from builderos.core.problems import Problem
from builderos.core.schema import In, Name, Out, WriteIn
from builderos.core.unit import Unit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from . import durable, nodes
from .branches import add_branch, main_branch, main_id_of
from .gitcli import run_git
from .model import repositories
from .schema import MAIN, Repository
from .store import RepositoryStore

FETCH_S: Final = 900
SCHEMES: Final = ("https", "http", "ssh", "git")
_SCP: Final = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:(?!/?/)[^\s]+\Z")
_HELPER: Final = re.compile(r"[A-Za-z0-9+.-]*::")  # as git reads it; elsewhere, `::` is of an IPv6 address
_VISIBLE: Final = re.compile(r"[!-\[\]-~]+")  # ASCII without space and backslash
_PORT: Final = re.compile(r"(?::[0-9]{0,5})?")
RepoLabel = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class ImportIn(WriteIn):
    """Where the repository comes from, and how it is called here."""

    source: Annotated[
        str, Field(description="https, ssh or git URL; a local path for the server's owner.", max_length=2000)
    ]
    name: Annotated[
        RepoLabel | None, Field(description="Name here; by default the last part of the source.")
    ] = None
    owner: Annotated[RepoLabel | None, Field(description="Owner here; by default the organisation.")] = None
    branch: Annotated[Name | None, Field(description="Branch to import; by default the one HEAD names.")] = (
        None
    )


class RepositoryOut(Out):
    """A repository that people can build in."""

    id: str
    repo_owner: str
    repo_name: str
    branch: str
    base_branch: str
    head_sha: str
    message: str


class RepositoryIn(In):
    """Which repository."""

    id: str


@dataclass(frozen=True)
class _Head:
    branch: str
    sha: str
    others: tuple[str, ...]


def import_repository(unit: Unit, body: ImportIn) -> RepositoryOut:
    """Fetch the default branch into a new base and call it `main`.

    Raises `validation_failed` (a source git must not be given, a repository without commits), `conflict` (name taken),
    `upstream_failed`, `storage_full`.
    """
    kind = _source_kind(body.source)
    repo_id = new_id("repo")
    name = body.name or _name_of(body.source)
    resource = Resource(
        kind="repo", id=repo_id, org_id=unit.org_id, repo_id=repo_id, source=kind, project=name
    )
    decision = policy.require(unit, "repo.import", resource)
    owner = body.owner or identity.org_slug(unit)
    ensure_free(unit, owner, name)
    store = unit.get(RepositoryStore)
    folder = store.base_folder(unit.org_id, repo_id)
    draft = Path(tempfile.mkdtemp(prefix=".import-", dir=_made(store.root)))
    try:
        # git may take minutes, and an idle transaction is ended after one.
        unit.execute(
            sa.select(sa.func.set_config("idle_in_transaction_session_timeout", f"{2 * FETCH_S}s", True))
        )
        head = _fetch(body, draft, _way(unit, body.source))
        repo = enrol(
            unit, repo_id, owner, name, head_sha=head.sha, source=body.source, upstream_branch=head.branch,
            others=head.others,
        )  # fmt: skip
        if unit.get(nodes.Nodes).place is not None:
            _share(unit, repo, draft)
        target = store.path(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.chmod(0o755)
        draft.rename(target)
        durable.sync_filesystem(
            store.root
        )  # no journal holds these objects: they must be on disk before the row is
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    payload = {**facts(repo), "branch": head.branch, "head": head.sha, "source": body.source}
    ledger.record(unit, "repo.imported", repo_id, payload, rules=decision.rules)
    renamed = "" if head.branch == MAIN else f" Its branch {head.branch} is called main here."
    return RepositoryOut(
        id=repo_id, repo_owner=owner, repo_name=name, branch=MAIN, base_branch=repo.base_branch, head_sha=head.sha,
        message=f"{name} is ready.{renamed}",
    )  # fmt: skip


def _share(unit: Unit, repo: Repository, draft: Path) -> None:
    """Let the other machines have it, as one pack."""
    _check(run_git(["-C", str(draft), "repack", "-a", "-d", "-q"]))
    nodes.give_packs(unit, main_branch(unit, repo.id), sorted(draft.glob("objects/pack/pack-*.pack")))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _source_kind(source: str) -> Literal["url", "path"]:
    """`url` or `path`; refuses what git would take for an option, a helper (`ext::`) or a script."""
    if source.startswith("-") or _HELPER.match(source) or any(ord(c) < 32 for c in source):
        raise _bad_source("this is not an address of a repository")
    try:
        parts = urlsplit(source)
    except ValueError:
        raise _bad_source("this is not an address of a repository") from None
    if parts.scheme in SCHEMES and "://" in source:
        if not parts.hostname or parts.hostname.startswith("-"):
            raise _bad_source("the address names no host")
        if parts.password is not None or (parts.username and parts.scheme in ("http", "https")):
            raise _bad_source("an address must not contain a password or token")
        return "url"
    if _SCP.match(source) and not source.startswith("-"):
        return "url"
    if parts.scheme == "file" or os.path.isabs(source):
        return "path"
    raise _bad_source("this is neither a URL nor an absolute path")


def _bad_source(why: str) -> Problem:
    return Problem(
        "validation_failed", why, hint="Use https://…, ssh://…, or an absolute path on the server."
    )


def _name_of(source: str) -> str:
    name = source.rstrip("/").removesuffix("/.git").removesuffix(".git").rpartition("/")[2].rpartition(":")[2]
    clean = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
    if not clean:
        raise Problem("validation_failed", "the source gives no name", hint="Say how to call it with name.")
    return clean[:100]


def ensure_free(unit: Unit, owner: str, name: str) -> None:
    """Raises `conflict` where the organisation has a repository of this name."""
    c = repositories.c
    taken = unit.execute(
        sa.select(c.id).where(c.owner == owner, c.name == name, c.deleted_at.is_(None))
    ).first()
    if taken:
        raise Problem("conflict", f"{owner}/{name} exists already", hint="Choose another name.")


def _way(unit: Unit, source: str) -> list[str]:
    """How git gets there. On the word of anybody but the server's owner it reaches public web addresses only, at
    exactly the address that was checked, and follows no redirect.
    """
    if unit.actor.role == "owner":
        return ["-c", "http.followRedirects=initial"]
    parts = urlsplit(source)
    if parts.scheme not in ("https", "http") or parts.hostname is None:
        raise _bad_source("with an API key a source is an https address")
    host, port = _plain_host(source), _port(source)
    address = public_address(host, port)
    if ":" in host:  # git dials exactly this; curl takes no such name into its list
        return ["-c", "http.followRedirects=false"]
    shown = f"[{address}]" if ":" in address else address
    return ["-c", "http.followRedirects=false", "-c", f"http.curloptResolve={host}:{port}:{shown}"]


def _plain_host(source: str) -> str:
    """The host that was checked must be the one that git dials: nothing that the two could read differently."""
    parts = urlsplit(source)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    rest = parts.netloc.lower().removeprefix(shown)
    if not _VISIBLE.fullmatch(source) or not is_plain_host(host) or not _PORT.fullmatch(rest):
        raise Problem(
            "validation_failed", "the address has no plain ASCII host name",
            hint="Write the host in letters, digits, hyphens and dots (an international name as xn--…), without a dot "
            "at its end, or as an IP address; other characters of the address as %XX behind the host.",
        )  # fmt: skip
    return host


def _port(source: str) -> int:
    parts = urlsplit(source)
    try:
        port = parts.port
    except ValueError:
        raise _bad_source("the address has no proper port") from None
    return port if port is not None else (443 if parts.scheme == "https" else 80)


def _fetch(body: ImportIn, draft: Path, way: list[str]) -> _Head:
    local = _source_kind(body.source) == "path"
    env = {"GIT_ALLOW_PROTOCOL": "file" if local else ":".join(SCHEMES)}
    head = _choose_head(body, env, way)
    for args in (
        ["init", "--quiet", "--bare", str(draft)],
        ["-C", str(draft), *way, "-c", "transfer.fsckObjects=false", "fetch", "--quiet", "--no-tags",
         "--no-write-fetch-head", "--", body.source, f"+refs/heads/{head.branch}:refs/heads/{MAIN}"],
    ):  # fmt: skip
        _check(run_git(args, env=env, timeout_s=FETCH_S))
    (draft / "config").write_text(RepositoryStore.config_text())
    (draft / "HEAD").write_text(f"ref: refs/heads/{MAIN}\n")
    for leftover in ("hooks", "description"):
        path = draft / leftover
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return _Head(head.branch, _whole_tip(draft), head.others)


def _whole_tip(draft: Path) -> str:
    found = run_git(["-C", str(draft), "rev-parse", "--verify", "--quiet", f"refs/heads/{MAIN}^{{commit}}"])
    if found.returncode != 0 or (draft / "shallow").exists():
        raise Problem(
            "validation_failed", "the source is a shallow clone: a part of its history is missing",
            hint="Complete it there with git fetch --unshallow, then import it.",
        )  # fmt: skip
    return found.stdout.decode().strip()


def _choose_head(body: ImportIn, env: dict[str, str], way: list[str]) -> _Head:
    listed = run_git(
        [*way, "ls-remote", "--symref", "--", body.source, "HEAD", "refs/heads/*"], env=env, timeout_s=120
    )
    _check(listed)
    target, branches = "", dict[str, str]()
    for line in listed.stdout.decode(errors="replace").splitlines():
        left, _, ref = line.partition("\t")
        if left.startswith("ref: refs/heads/") and ref == "HEAD":
            target = left.removeprefix("ref: refs/heads/")
        elif ref.startswith("refs/heads/"):
            branches[ref.removeprefix("refs/heads/")] = left
    wanted = body.branch or next((n for n in (target, "main", "master") if n in branches), None)
    if wanted is None and len(branches) == 1:
        wanted = next(iter(branches))
    if not branches:
        raise Problem(
            "validation_failed",
            "the repository has no commits yet",
            hint="Make a first commit there, then import it.",
        )
    if wanted is None or wanted not in branches:
        names = ", ".join(sorted(branches)[:10])
        raise Problem(
            "validation_failed", f"the repository has no branch {wanted or target or 'main'}",
            hint=f"Say which one with branch: {names}.",
        )  # fmt: skip
    return _Head(wanted, branches[wanted], tuple(sorted(branches)))


def _check(done: CompletedProcess[bytes]) -> None:
    if done.returncode == 0:
        return
    text = done.stderr.decode(errors="replace")
    if "No space left" in text:
        raise Problem("storage_full", "the disk took no more", hint="Free disk space and import again.")
    said = [line.strip() for line in text.splitlines() if line.strip()] or ["no message"]
    why = next((line for line in said if line.startswith("fatal:")), said[-1]).removeprefix("fatal: ")[:300]
    if "does not appear to be a git repository" in text or "not a git repository" in text:
        raise Problem(
            "validation_failed", f"this is no git repository: {why}", hint="Check the path or address."
        )
    raise Problem(
        "upstream_failed", f"git could not read the source: {why}", hint="Check the address and your access."
    )


def enrol(
    unit: Unit, repo_id: str, owner: str, name: str, *, head_sha: str, source: str | None = None,
    upstream_branch: str | None = None, others: tuple[str, ...] = (),
) -> Repository:  # fmt: skip
    """Insert a repository with its main branch. Names of upstream branches that look like ours are never given out."""
    base_name = unit.settings.base_branch
    reserved = [n for n in others if n.startswith("sandbox-")]
    unit.execute(
        sa.insert(repositories).values(
            id=repo_id, org_id=unit.org_id, owner=owner, name=name, host="local", source=source,
            upstream_branch=upstream_branch, base_branch=base_name, reserved_names=reserved, created_at=unit.now,
        )
    )  # fmt: skip
    repo = Repository(repo_id, owner, name, base_name, tuple(reserved))
    main_id = main_id_of(repo_id)
    add_branch(unit, repo, MAIN, "main", tip=head_sha, base_sha=head_sha, in_base=True, branch_id=main_id)
    return repo


def facts(repo: Repository) -> dict[str, Any]:
    """What the record keeps of a new repository: enough to write its row again."""
    return {
        "repo": repo.name,
        "owner": repo.owner,
        "base_branch": repo.base_branch,
        "reserved": repo.reserved_names,
    }
