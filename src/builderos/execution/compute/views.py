"""What people see: approved runtimes, providers with how firmly they hold, executions with what they used."""

from datetime import datetime
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import Field

from builderos.assets.repositories import service as repositories
from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import In, Line, Out
from builderos.core.tables import as_dict
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from .approved import Approved, Listed
from .model import sandbox_runs
from .providers import SandboxProviders
from .runtimes import Profile, ProviderFile, Runtime
from .schema import Probe, State

TierName = Literal["strong", "weak", "remote"]


class ListedIn(In):
    """For which repository; the server's own list without one."""

    repo_name: Annotated[
        Line | None, Field(description="What holds for this repository; the server's list when left out.")
    ] = None


class RuntimeOut(Out):
    """A runtime that commands may have. `provider` is who runs it, null where no enabled provider takes it."""

    name: str
    kind: Literal["local", "image"]
    image: str | None
    languages: list[str]
    provider: str | None


class ProfileOut(Out):
    """A size: cores, bytes of memory, GPUs, seconds; `price` in credits per hour."""

    name: str
    cpu: float
    memory: int
    gpu: int
    max_seconds: int
    price: float


class RuntimeList(Out):
    """What may run, and how large. The first of each is taken where a step names none."""

    items: list[RuntimeOut]
    profiles: list[ProfileOut]
    next_cursor: str | None = None


class GapOut(Out):
    """Something that a sandbox is known not to hold back."""

    id: str
    what: str


class ProviderOut(Out):
    """Who runs commands. `tier` null: nothing can run there, `missing` says why; `allowed` is the weakest tier that
    will do, null: in the weak one each command needs an approval. `hosts` null: the policy decides alone.
    """

    name: str
    enabled: bool
    remote: bool
    tier: TierName | None
    allowed: TierName | None
    missing: list[str]
    gaps: list[GapOut]
    limits: list[str]
    runtimes: list[str]
    hosts: list[str] | None
    digest: str


class ProviderList(Out):
    """Every provider of this server."""

    items: list[ProviderOut]
    next_cursor: str | None = None


class SandboxRunListIn(In):
    """Filters."""

    run_id: Line | None = None
    provider: Line | None = None
    status: State | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = None


class SandboxRun(Out):
    """One execution: where, how it ended, what it used. Seconds, bytes; `secrets` are names."""

    id: str
    run_id: str
    step_id: str
    attempt: int
    provider: str
    sandbox_id: str
    runtime: str
    runtime_digest: str
    profile: str
    tier: TierName | None
    status: State
    reason: str | None
    exit_code: int | None
    detail: str
    logs_ref: str | None
    preview_url: str | None
    truncated: bool
    cpu_s: float
    wall_s: float
    memory_peak: int
    io_read: int
    io_written: int
    output_bytes: int
    network_sent: int
    network_received: int
    price: float
    hosts: list[str]
    secrets: list[str]
    egress: list[dict[str, Any]]
    policy_events: list[dict[str, Any]]
    created_by: str
    started_at: datetime
    finished_at: datetime | None


class SandboxRunList(Out):
    """One page, newest first."""

    items: list[SandboxRun]
    next_cursor: str | None


def runtimes(unit: Unit, body: ListedIn) -> RuntimeList:
    """The approved runtimes and profiles."""
    listed = _listed(unit, body.repo_name)
    file = listed.runtimes
    assert file is not None
    return RuntimeList(
        items=[_runtime(runtime, listed) for runtime in file.runtimes],
        profiles=[_profile(profile) for profile in file.profiles],
    )


def providers(unit: Unit, body: ListedIn) -> ProviderList:
    """The providers of this server and what each of them can do now."""
    listed = _listed(unit, body.repo_name)
    known = unit.get(SandboxProviders)
    return ProviderList(
        items=[
            _provider(known, name, listed.providers.get(name)) for name in sorted({*known, *listed.providers})
        ]
    )


def executions(unit: Unit, body: SandboxRunListIn) -> SandboxRunList:
    """Executions of the organisation, newest first."""
    policy.require(unit, "compute.read", policy.org_resource(unit))
    c = sandbox_runs.c
    wanted = sa.select(sandbox_runs).order_by(c.id.desc()).limit(body.limit + 1)
    for name in ("run_id", "provider", "status"):
        if (value := getattr(body, name)) is not None:
            wanted = wanted.where(c[name] == value)
    key = list_key("sandbox_runs", run_id=body.run_id, provider=body.provider, status=body.status)
    if (last := decode_cursor(key, body.cursor)) is not None:
        wanted = wanted.where(c.id < str(last[0]))
    rows = unit.execute(wanted).all()
    items = [SandboxRun(**_shown(row)) for row in rows[: body.limit]]
    more = len(rows) > body.limit
    return SandboxRunList(items=items, next_cursor=encode_cursor(key, [items[-1].id]) if more else None)


def soundness(unit: Unit) -> str:
    """For the doctor: how firmly commands are held on this machine. Raises `Problem` where that is less than it could
    be and nobody said that it will do."""
    probe = unit.get(SandboxProviders).probe("local")
    allowed = unit.get(Approved).effective(unit, None).providers["local"]
    if not allowed.enabled:
        return "no commands run on this machine, as configured"
    remedy = " ".join(probe.missing)
    if probe.tier is None:
        raise Problem("unavailable", f"no command of a run can be held on this machine: {remedy}")
    limits = f"; enforced by the kernel: {', '.join(probe.limits)}" if probe.limits else ""
    if probe.tier == "strong":
        return f"strong: bubblewrap with seccomp{limits}"
    gaps = f"weak: Landlock alone, with {len(probe.gaps)} known gaps: " + " ".join(
        gap.what for gap in probe.gaps
    )
    if allowed.tier == "weak":
        return f"{gaps} The server's file says that this will do."
    refused = "no command runs" if allowed.tier == "strong" else "each command needs an approval"
    raise Problem("unavailable", f"{gaps} So {refused}. {remedy}")


def _listed(unit: Unit, repo_name: str | None) -> Listed:
    policy.require(unit, "compute.read", policy.org_resource(unit))
    repo_id = None
    if repo_name is not None:
        repo = repositories.find_repository(unit, repo_name)
        where = Resource(kind="repo", id=repo.id, org_id=unit.org_id, repo_id=repo.id, project=repo.name)
        policy.require(unit, "repo.read", where)
        repo_id = repo.id
    return unit.get(Approved).effective(unit, repo_id)


def _runtime(runtime: Runtime, listed: Listed) -> RuntimeOut:
    takes = (name for name, file in sorted(listed.providers.items()) if file.enabled and file.takes(runtime))
    return RuntimeOut(
        name=runtime.name, kind=runtime.kind, image=runtime.image, languages=list(runtime.languages),
        provider=next(takes, None),
    )  # fmt: skip


def _profile(profile: Profile) -> ProfileOut:
    return ProfileOut(**profile.model_dump())


def _provider(known: SandboxProviders, name: str, file: ProviderFile | None) -> ProviderOut:
    remote, probe = False, Probe(name, None, ("It is not enabled in the server's files.",))
    if file is not None and file.enabled:
        try:
            provider = known.provider(name)
            remote, probe = provider.remote, provider.probe()
        except Problem as problem:
            probe = Probe(name, None, (f"{problem.detail}. {problem.hint}".strip(),))
    return ProviderOut(
        name=name, enabled=file is not None and file.enabled, remote=remote, tier=probe.tier,
        allowed=file.tier if file is not None else None, missing=list(probe.missing),
        gaps=[GapOut(id=gap.id, what=gap.what) for gap in probe.gaps], limits=list(probe.limits),
        runtimes=list(file.runtimes) if file is not None else [],
        hosts=list(file.hosts) if file is not None and file.hosts is not None else None, digest=probe.digest,
    )  # fmt: skip


def _shown(row: sa.Row[Any]) -> dict[str, Any]:
    return {name: value for name, value in as_dict(row).items() if name in SandboxRun.model_fields}
