"""Where agents come from: files on the branch, else those that ship. Users copy a shipped one and change it."""

import functools
from collections.abc import Callable
from importlib import resources
from typing import Final

from builderos.assets.repositories.schema import Branch
from builderos.assets.workspaces import service as workspaces
from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .definition import Agent, parse

FOLDER: Final = "agents"
_PACKAGE: Final = "builderos.workloads.agents"


def file_of(name: str) -> str:
    """Where an agent lies on a branch."""
    return f"{FOLDER}/{name}.yaml"


@functools.cache
def shipped() -> dict[str, Agent]:
    """Agents that come along, by name."""
    return {name: parse(content_of(name), f"{name}/agent.yaml") for name in shipped_names()}


@functools.cache
def shipped_names() -> tuple[str, ...]:
    """Their names, in order."""
    folders = (resources.files(_PACKAGE) / "packs").iterdir()
    return tuple(
        sorted(folder.name for folder in folders if folder.is_dir() and not folder.name.startswith("_"))
    )


def content_of(name: str) -> str:
    """The file of an agent that ships."""
    return (resources.files(_PACKAGE) / "packs" / name / "agent.yaml").read_text("utf-8")


def find(unit: Unit, ref: str, branch: Branch | None) -> tuple[Agent, str, str]:
    """The agent that `name` or `name@version` means, where it comes from, and its file.

    Raises `not_found`, `validation_failed`.
    """
    return found(ref, lambda path: workspaces.file_at(unit, branch, path) if branch is not None else None)


def found(ref: str, read: Callable[[str], str | None]) -> tuple[Agent, str, str]:
    """The same, for any state of a repository: `read` gives the text of a file, or None."""
    name, _, version = ref.partition("@")
    text = read(file_of(name))
    if text is not None:
        agent = parse(text, file_of(name))
        if agent.name != name:
            raise Problem(
                "validation_failed", f"{file_of(name)} is about {agent.name}", hint="Rename one of them."
            )
        if version in ("", agent.version):
            return agent, file_of(name), text
    agent = shipped().get(name)
    if agent is None or version not in ("", agent.version):
        raise Problem(
            "not_found", f"there is no agent {ref[:100]}",
            hint=f"Known are {', '.join(shipped_names())}; or commit {file_of(name[:80])}.",
        )  # fmt: skip
    return agent, "shipped", content_of(name)
