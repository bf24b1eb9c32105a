"""Where the files of a version come from: artifacts, a run, a branch, an address."""

import functools
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from builderos.assets.artifacts import service as artifacts
from builderos.assets.artifacts.ports import RunFacts, Runs
from builderos.assets.repositories import service as repositories
from builderos.assets.workspaces import service as workspaces
from builderos.core import dialing
from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import RetryAfter, Unit
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource
from builderos.workloads.lineage import service as lineage

from .schema import MAX_FILES, RegisterIn

FETCH_S: Final = 60.0
MAX_FETCHED: Final = 64 * 1024 * 1024
MAX_BRANCH: Final = 256 * 1024 * 1024
_REMEMBERED: Final = 16


@dataclass(frozen=True, slots=True)
class File:
    """One file of a version."""

    path: str
    artifact_id: str
    size: int
    sha256: str

    @classmethod
    def of(cls, kept: artifacts.Artifact, path: str | None = None) -> "File":
        """An artifact as a file."""
        return cls(path or kept.path, kept.id, kept.size, kept.hash.removeprefix("sha256:"))


@dataclass(frozen=True, slots=True)
class Gathered:
    """All files, where they belong, what is told of their source, and from what they were made."""

    files: list[File]
    facts: RunFacts
    source: dict[str, Any]
    made_of: list[lineage.Node] = field(default_factory=list[lineage.Node])


class Arrivals:
    """What was fetched for a call before its transaction: kept until that call asks for it."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[str, str], artifacts.Prepared] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, request_id: str, url: str) -> artifacts.Prepared | None:
        """What came for this call; None before it was fetched."""
        with self._lock:
            return self._found.get((request_id, url))

    def give(self, request_id: str, url: str, found: artifacts.Prepared) -> None:
        """Remember what came."""
        with self._lock:
            self._found[request_id, url] = found
            while len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)


def gather(unit: Unit, body: RegisterIn) -> Gathered:
    """The files that a body names. Raises `validation_failed` unless it names one source, and what reading raises."""
    branch = bool(body.paths) and body.run_id is None
    named = [bool(body.artifacts), body.run_id is not None, body.url is not None, branch]
    if sum(named) != 1:
        raise Problem(
            "validation_failed", "a dataset comes from one source",
            hint="Name artifacts, or run_id, or url, or repo_name with branch and paths.",
        )  # fmt: skip
    if body.artifacts:
        return _of_artifacts(unit, body.artifacts)
    if body.run_id is not None:
        return _of_run(unit, body.run_id, body.paths)
    return _of_branch(unit, body) if branch else _of_url(unit, body)


def _of_artifacts(unit: Unit, ids: Sequence[str]) -> Gathered:
    rows = [artifacts.reading.row_of(unit, id_, "artifact.read")[0] for id_ in dict.fromkeys(ids)]
    if any(row.gone_at is not None for row in rows):
        raise Problem("not_found", "the content of an artifact is gone", hint="Upload it again.")
    homes = {(row.repo_id, row.sandbox_id) for row in rows}
    own = (unit.actor.repo_id, unit.actor.sandbox_id)
    repo_id, sandbox_id = homes.pop() if len(homes) == 1 else own
    runs = sorted({row.run_id for row in rows if row.run_id is not None})
    files = [File(row.path, row.id, row.size, row.hash.hex()) for row in rows]
    made_of = [lineage.Node("run", run_id, run_id) for run_id in runs]
    source = {"from": "artifacts", "runs": runs} if runs else {"from": "upload"}
    return Gathered(files, RunFacts(repo_id, sandbox_id, None), source, made_of)


def _of_run(unit: Unit, run_id: str, paths: Sequence[str]) -> Gathered:
    facts = unit.get(Runs).find(unit, run_id)
    own = unit.actor.sandbox_id
    if facts is None or (own is not None and facts.sandbox_id != own):
        where = Resource(
            kind="artifact", id="unknown", org_id=unit.org_id, repo_id=unit.actor.repo_id, sandbox_id=own
        )
        policy.require(unit, "artifact.read", where)
        raise Problem("not_found", "there is no such run", hint="List the runs first.")
    where = Resource(
        kind="artifact", id=run_id, org_id=unit.org_id, repo_id=facts.repo_id, sandbox_id=facts.sandbox_id
    )
    policy.require(unit, "artifact.read", where)
    newest: dict[str, artifacts.Artifact] = {}
    for kept in artifacts.reading.of_run(unit, run_id):
        if kept.gone_at is None and (not paths or _within(kept.path, paths)):
            newest[kept.path] = kept
    files = [File.of(kept) for kept in newest.values()]
    source = {"from": "run", "run_id": run_id}
    return Gathered(files, facts, source, [lineage.Node("run", run_id, run_id)])


def _within(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _of_branch(unit: Unit, body: RegisterIn) -> Gathered:
    """Files of a branch, as it stands or at a commit of it: each becomes an artifact of its own."""
    place = workspaces.locate(unit, workspaces.BranchIn(repo_name=body.repo_name, branch=body.branch), "files.read",
                              paths=tuple(body.paths))  # fmt: skip
    branch = place.branch
    commit = branch.tip if body.commit is None else workspaces.resolve(unit, place, body.commit)
    where = workspaces.branch_resource(unit, branch)
    facts = RunFacts(branch.repo_id, where.sandbox_id, None)
    policy.require(unit, "dataset.write", Resource(
        kind="artifact", id="new", org_id=unit.org_id, repo_id=facts.repo_id, sandbox_id=facts.sandbox_id))  # fmt: skip
    tree = workspaces.files_of(unit, branch, commit)
    found: dict[str, bytes] = {}
    size = 0
    for path, data in _blobs(tree, body.paths):
        found[path] = data
        size += len(data)
        if len(found) > MAX_FILES or size > MAX_BRANCH:
            raise Problem(
                "payload_too_large", f"a dataset of a branch has {MAX_FILES} files and {MAX_BRANCH} bytes at most",
                hint="Upload what is large as artifacts.", limit=MAX_BRANCH,
            )  # fmt: skip
    kept = [
        artifacts.keep(unit, data, path=path, type_="dataset", facts=facts) for path, data in found.items()
    ]
    source = {"from": "branch", "repo": branch.repo_name, "branch": branch.name, "commit": commit}
    code = lineage.Node("code", commit, f"{branch.repo_name} at {commit[:8]}")
    return Gathered([File.of(one) for one in kept], facts, source, [code])


def _blobs(tree: workspaces.TreeFiles, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for path in dict.fromkeys(path.rstrip("/") for path in paths):
        some = False
        for name, mode, oid in repositories.walk(tree.batch, tree.tree, path):
            if mode == repositories.LINK or not tree.read(name):
                continue
            some = True
            yield name, tree.batch.read(oid)[1]
        if not some:
            raise Problem(
                "not_found", f"there is no file at or below {path[:200]!r}", hint="Look at the branch."
            )


# -------------------------------------------------------------------- an address


def _of_url(unit: Unit, body: RegisterIn) -> Gathered:
    """One file from elsewhere: the policy of the repository says which hosts, and no network of our own is reached."""
    url = str(body.url)
    networks = dialing.networks_of(unit.settings.dataset_networks)
    target = dialing.target_of(url, networks)
    where = _repository(unit, body)
    decision = policy.may_reach(unit, target.host, where)
    if decision.verdict != "allow":
        raise policy.Refused(decision, "network.reach", where)
    facts = RunFacts(where.repo_id, unit.actor.sandbox_id, None)
    policy.require(unit, "dataset.write", Resource(
        kind="artifact", id="new", org_id=unit.org_id, repo_id=facts.repo_id, sandbox_id=facts.sandbox_id))  # fmt: skip
    arrivals, request_id = unit.get(Arrivals), unit.call.request_id
    prepared = arrivals.take(request_id, url)
    path = _name_of(url)
    if prepared is None:
        raise RetryAfter(functools.partial(_fetch, unit.context, unit.org_id, request_id, url, path))
    kept = artifacts.keep(unit, prepared, path=path, type_="dataset", facts=facts)
    return Gathered([File.of(kept)], facts, {"from": "url", "url": url})


def _repository(unit: Unit, body: RegisterIn) -> Resource:
    if unit.actor.repo_id is not None:
        repo_id, name = unit.actor.repo_id, body.repo_name
    elif body.repo_name is None:
        raise Problem(
            "validation_failed", "no repository was named",
            hint="Say with repo_name whose policy lets you reach the address.",
        )  # fmt: skip
    else:
        repo = repositories.find_repository(unit, body.repo_name, body.repo_owner)
        repo_id, name = repo.id, repo.name
    return Resource(
        kind="repo", id=repo_id, org_id=unit.org_id, repo_id=repo_id, project=name, branch=body.branch
    )


def _fetch(context: Context, org_id: str, request_id: str, url: str, path: str) -> None:
    """Fetch an address between two transactions. Raises `unavailable`, `payload_too_large`, and what keeping raises."""
    networks = dialing.networks_of(context.get(Settings).dataset_networks)
    headers = {"Accept": "*/*", "User-Agent": "builderos"}
    try:
        answer = dialing.ask(
            "GET", url, None, headers, networks=networks, timeout_s=FETCH_S, limit=MAX_FETCHED + 1
        )
    except dialing.Unreachable as why:
        raise Problem(
            "unavailable", f"the address gave nothing: {why}", hint="Check it, and try again."
        ) from why
    if answer.status != 200:
        raise Problem(
            "validation_failed", f"the address answered {answer.status}",
            hint="Give the address of the file itself; redirects are not followed.",
        )  # fmt: skip
    if len(answer.body) > MAX_FETCHED:
        raise Problem(
            "payload_too_large", f"what is fetched may have {MAX_FETCHED} bytes",
            hint="Upload it as an artifact instead.", limit=MAX_FETCHED,
        )  # fmt: skip
    prepared = artifacts.prepare(context, org_id, answer.body, path=path)
    context.get(Arrivals).give(request_id, url, prepared)


def _name_of(url: str) -> str:
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)[:200]
    return plain if plain.strip("._") else "data"
