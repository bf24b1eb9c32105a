"""Where a project keeps its delivery files: `builderos.yaml: paths`, read once per content.

The file is people's: what cannot be used in it is pointed out and passed over, so that a slip never costs a commit.
"""

import functools

from . import delivery


def layout_of(files: delivery.Files) -> delivery.Layout:
    """The layout that the tree's own `builderos.yaml` asks for; the default where there is none or it is broken."""
    data = files.read(delivery.CONFIG)
    return delivery.Layout() if data is None else _parsed(data)


def config_issues(files: delivery.Files) -> tuple[delivery.Issue, ...]:
    """What is wrong in the tree's `builderos.yaml`, by line; an unknown key comes with the one that was meant."""
    data = files.read(delivery.CONFIG)
    return () if data is None else _judged(data)


@functools.lru_cache(maxsize=512)
def _parsed(data: bytes) -> delivery.Layout:
    return delivery.layout_from(data)


@functools.lru_cache(maxsize=512)
def _judged(data: bytes) -> tuple[delivery.Issue, ...]:
    return tuple(delivery.validate(delivery.CONFIG, data))
