"""Where a pipeline's definition comes from."""

from collections.abc import Callable

from builderos.assets.repositories.schema import Branch
from builderos.assets.workspaces import service as workspaces
from builderos.core.unit import Unit

from . import pipelines
from .definition import Definition, parse


def find(unit: Unit, ref: str, branch: Branch | None) -> Definition:
    """The definition that a name, or `name@version`, means: on the branch, else published, else shipped.

    Raises `not_found`, `validation_failed`.
    """
    name, _, version = ref.partition("@")
    text = workspaces.file_at(unit, branch, pipelines.file_of(name)) if branch is not None else None
    if text is not None:
        known = {"actions": pipelines.known_actions(unit), "gates": pipelines.known_gates(unit)}
        definition = parse(text, name=name, **known)
        if version in ("", definition.version):
            return definition
    return pipelines.published(unit, name, version or None)


def resolver(unit: Unit, branch: Branch | None) -> Callable[[str, str], Definition]:
    """What a sub-pipeline's name and version mean on a branch."""
    return lambda name, version: find(unit, f"{name}@{version}", branch)
