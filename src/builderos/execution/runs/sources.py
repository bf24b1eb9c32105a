"""Where a pipeline's definition comes from."""

from collections.abc import Callable

from builderos.assets.repositories.schema import Branch
from builderos.core.unit import Unit

from . import pipelines
from .definition import Definition


def find(unit: Unit, ref: str, branch: Branch | None) -> Definition:
    """The definition that a name, or `name@version`, means: on the branch, else published, else shipped.

    Raises `not_found`, `validation_failed`.
    """
    name, _, version = ref.partition("@")
    return pipelines.meant(unit, branch, name, version or None)


def resolver(unit: Unit, branch: Branch | None) -> Callable[[str, str], Definition]:
    """What a sub-pipeline's name and version mean on a branch."""
    return lambda name, version: find(unit, f"{name}@{version}", branch)
