"""Which trees hold delivery files that can all be read: looked at once, then remembered by content.

A commit changes two or three of what may be hundreds of these files. The server writes none that cannot be read, so
that after a sound tree only the files that people touch need a look.
"""

import threading
from collections.abc import Mapping
from typing import Final

from builderos.assets.repositories.service import Entry

from . import delivery
from .content import Content, Draft, TreeFiles

_KEPT: Final = 4096
_State = tuple[delivery.Layout, tuple[Entry | None, ...]]
_sound: dict[_State, None] = {}
_lock = threading.Lock()


def issues_after(
    draft: Draft, layout: delivery.Layout, touched: Mapping[str, Content]
) -> list[delivery.Issue]:
    """What `delivery.issues` finds after the draft, where people touched nothing but `touched`."""
    if _state(draft.below, layout) in _sound and not any(
        delivery.is_delivery(path, layout) and not _opens(path, content, layout)
        for path, content in touched.items()
    ):
        return []
    return delivery.issues(draft, layout)


def issues_in(files: TreeFiles, layout: delivery.Layout) -> list[delivery.Issue]:
    """What `delivery.issues` finds in a tree."""
    if _state(files, layout) in _sound:
        return []
    found = delivery.issues(files, layout)
    if not found:
        remember(files, layout)
    return found


def remember(files: TreeFiles, layout: delivery.Layout) -> None:
    """No delivery file of this tree is unreadable."""
    state = _state(files, layout)
    with _lock:
        _sound[state] = None
        if len(_sound) > _KEPT:
            del _sound[next(iter(_sound))]


def _state(files: TreeFiles, layout: delivery.Layout) -> _State:
    """The top-level entries below which all delivery files lie: equal entries, equal files."""
    return layout, tuple(files.entry(name) for name in layout.roots)


def _opens(path: str, content: Content, layout: delivery.Layout) -> bool:
    return isinstance(content, bytes) and delivery.opens(path, content, layout)
