"""What is approved to run: the server's own files, and those on a repository's main, which can only narrow them.

A branch that somebody works on lists nothing: what stands there has not been approved by anybody.
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.service import Batch, ObjectCache, RepositoryStore
from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .runtimes import (
    MAX_BYTES,
    PROVIDERS_FOLDER,
    RUNTIMES_PATH,
    Profile,
    ProviderFile,
    Runtime,
    RuntimeFile,
    parse_provider,
    parse_runtimes,
)

_KEPT: Final = 256  # repositories whose files are remembered
# What holds where the server has no file of its own: this machine's system, three sizes, the strong sandbox.
SHIPPED: Final = parse_runtimes("""
runtimes: [{name: local, kind: local}]
profiles:
  - {name: small, cpu: 1, memory: 1Gi, max_seconds: 3600}
  - {name: medium, cpu: 2, memory: 4Gi, max_seconds: 3600}
  - {name: large, cpu: 4, memory: 8Gi, max_seconds: 14400}
""")
LOCAL: Final = ProviderFile(provider="local")


@dataclass(frozen=True, slots=True)
class Listed:
    """The files of one place; `runtimes` None where it has none."""

    runtimes: RuntimeFile | None = None
    providers: Mapping[str, ProviderFile] = field(default_factory=dict[str, ProviderFile])


@dataclass(frozen=True, slots=True)
class Chosen:
    """Where and how large a command runs."""

    runtime: Runtime
    profile: Profile
    provider: ProviderFile


class Approved:
    """The server's files, read again when they change, and those of repositories by their main's commit."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._known: tuple[object, Listed] | None = None
        self._by_main: dict[str, tuple[str, Listed]] = {}

    def of_server(self) -> Listed:
        """Raises `validation_failed` for a file that is not valid."""
        with self._lock:
            mark = _mark(self._folder)
            if self._known is None or self._known[0] != mark:
                self._known = (
                    mark,
                    _read(lambda path: _on_disk(self._folder, path), _names_on_disk(self._folder)),
                )
            return self._known[1]

    def options(self, provider: str) -> Mapping[str, str]:
        """How the server reaches a provider: its own file's word alone."""
        file = self.of_server().providers.get(provider)
        return file.options if file is not None else {}

    def of_repository(self, unit: Unit, repo_id: str) -> Listed:
        """What its main says. Raises `validation_failed` for a file that is not valid."""
        main = repositories.main_branch(unit, repo_id)
        with self._lock:
            known = self._by_main.get(repo_id)
        if known is not None and known[0] == main.tip:
            return known[1]
        repositories.ready(unit, main)
        repo = unit.get(RepositoryStore).open(main.store)
        batch = Batch(repo, cache=unit.get(ObjectCache), store=main.store)
        tree = bytes.fromhex(batch.read(bytes.fromhex(main.tip))[1][5:45].decode())
        listed = _read(lambda path: _in_tree(batch, tree, path), _names_in_tree(batch, tree))
        with self._lock:
            if len(self._by_main) >= _KEPT:
                self._by_main.clear()
            self._by_main[repo_id] = (main.tip, listed)
        return listed

    def effective(self, unit: Unit, repo_id: str | None) -> Listed:
        """What holds for a repository, or for none: the server's files narrowed by the repository's."""
        server = self.of_server()
        project = self.of_repository(unit, repo_id) if repo_id is not None else Listed()
        providers = {"local": LOCAL, **server.providers}
        return Listed(
            _narrowed(server.runtimes, project.runtimes),
            {name: _bounded(file, project.providers.get(name)) for name, file in providers.items()},
        )

    def choose(self, unit: Unit, repo_id: str | None, runtime: str, profile: str) -> Chosen:
        """The first listed one where a name is empty.

        Raises `runtime_not_approved` (not listed, or no enabled provider takes it), `validation_failed`.
        """
        listed = self.effective(unit, repo_id)
        file = listed.runtimes or SHIPPED
        wanted = file.runtime(runtime or (file.runtimes[0].name if file.runtimes else ""))
        size = file.profile(profile or (file.profiles[0].name if file.profiles else ""))
        for name in sorted(listed.providers):
            provider = listed.providers[name]
            if provider.enabled and provider.takes(wanted):
                return Chosen(wanted, size, provider)
        raise Problem(
            "runtime_not_approved", f"no enabled provider runs {wanted.name}",
            hint=f"Enable one in {PROVIDERS_FOLDER}/<name>/sandbox.yaml of the server.", allowed=[],
        )  # fmt: skip


def _narrowed(server: RuntimeFile | None, project: RuntimeFile | None) -> RuntimeFile:
    """What both list. Without a file of the server, a main may list any runtime that an enabled provider takes; folders
    of this machine are nothing that a main may name.
    """
    runtimes = server.runtimes if server is not None else SHIPPED.runtimes
    profiles = (server.profiles if server is not None else ()) or SHIPPED.profiles
    if project is None:
        return RuntimeFile(runtimes=runtimes, profiles=profiles)
    if "runtimes" in project.model_fields_set:
        runtimes = tuple(r for r in project.runtimes if r in runtimes or (server is None and not r.folders))
    if "profiles" in project.model_fields_set:
        bounds = {profile.name: profile for profile in profiles}
        profiles = tuple(p.within(bounds[p.name]) for p in project.profiles if p.name in bounds)
    return RuntimeFile(runtimes=runtimes, profiles=profiles)


def _bounded(server: ProviderFile, project: ProviderFile | None) -> ProviderFile:
    """The server's word, and of the project's what is stricter."""
    if project is None:
        return server
    return server.model_copy(
        update={
            "enabled": server.enabled and project.enabled,
            "tier": "strong" if "strong" in (server.tier, project.tier) else server.tier,
            "runtimes": _both(server.runtimes, project.runtimes),
            "hosts": server.hosts if project.hosts is None else project.hosts if server.hosts is None
            else tuple(host for host in project.hosts if host in server.hosts),
        }
    )  # fmt: skip


def _both(server: tuple[str, ...], project: tuple[str, ...]) -> tuple[str, ...]:
    if not server or not project:
        return server or project
    return tuple(name for name in project if name in server) or ("-",)  # of nothing in common, nothing


def _read(text_of: Callable[[str], str | None], names: list[str]) -> Listed:
    text = text_of(RUNTIMES_PATH)
    providers: dict[str, ProviderFile] = {}
    for name in names:
        if (found := text_of(f"{PROVIDERS_FOLDER}/{name}/sandbox.yaml")) is not None:
            providers[name] = parse_provider(found, name)
    return Listed(parse_runtimes(text) if text is not None else None, providers)


def _mark(folder: Path) -> object:
    """Changes when one of the files does."""
    marks: list[tuple[str, int, int]] = []
    for path in (folder / RUNTIMES_PATH, *sorted(folder.glob(f"{PROVIDERS_FOLDER}/*/sandbox.yaml"))):
        try:
            info = os.stat(path)
        except OSError:
            continue
        marks.append((str(path), info.st_mtime_ns, info.st_size))
    return tuple(marks)


def _on_disk(folder: Path, path: str) -> str | None:
    try:
        with (folder / path).open("rb") as file:
            return file.read(MAX_BYTES + 1).decode("utf-8", "replace")
    except FileNotFoundError:
        return None


def _names_on_disk(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob(f"{PROVIDERS_FOLDER}/*/sandbox.yaml"))


def _in_tree(batch: Batch, tree: bytes, path: str) -> str | None:
    entry = repositories.lookup(batch, tree, path)
    if entry is None or not entry.is_file:
        return None
    return batch.read(entry.oid)[1][: MAX_BYTES + 1].decode("utf-8", "replace")


def _names_in_tree(batch: Batch, tree: bytes) -> list[str]:
    entry = repositories.lookup(batch, tree, PROVIDERS_FOLDER)
    if entry is None or not entry.is_tree:
        return []
    return sorted(
        name.decode("utf-8", "replace") for name in repositories.parse_tree(batch.read(entry.oid)[1])
    )
