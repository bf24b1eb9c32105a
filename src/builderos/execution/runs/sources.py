"""Where a pipeline's definition comes from."""

from builderos.assets.repositories.schema import Branch
from builderos.assets.workspaces import service as workspaces
from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .definition import Definition, parse


def find(unit: Unit, ref: str, branch: Branch | None) -> Definition:
    """The definition that a name, or `name@version`, means on a branch. Raises `not_found`, `validation_failed`."""
    name, _, version = ref.partition("@")
    text = workspaces.file_at(unit, branch, f"ship/{name}/pipeline.yaml") if branch is not None else None
    if text is None:
        raise Problem(
            "not_found", f"there is no pipeline {name[:80]!r} on this branch",
            hint=f"Commit ship/{name[:80]}/pipeline.yaml, or choose one that is there.",
        )  # fmt: skip
    definition = parse(text, name=name)
    if version and version != definition.version:
        raise Problem(
            "not_found", f"this branch has {definition.ref}, not {version[:40]}",
            hint="Leave the version out, or choose that one.",
        )  # fmt: skip
    return definition
