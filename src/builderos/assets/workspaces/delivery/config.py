"""`builderos.yaml`: where it puts the delivery files, and what is wrong with it (SPEC §4)."""

from collections.abc import Mapping
from typing import Any

from builderos.assets.workspaces.delivery.layout import NAMES, Layout, path_fault
from builderos.assets.workspaces.delivery.parse import Unreadable, decode, parse


def layout_from(data: bytes | None) -> Layout:
    """The layout a `builderos.yaml` asks for.

    The default without a file, and wherever the file is broken or asks for something unsafe (`validate` says
    what): a wrong line must not make the server lose sight of the delivery files.
    """
    try:
        node = parse(decode(data)) if data is not None else None
    except Unreadable:
        return Layout()
    asked = node.parts.get("paths") if node is not None and isinstance(node.parts, dict) else None
    if asked is None or not isinstance(asked.parts, dict):
        return Layout()
    layout = layout_of({name: place.value for name, place in asked.parts.items()})
    return Layout() if clash(layout) else layout


def layout_of(paths: Mapping[str, Any]) -> Layout:
    """The layout with these paths, as far as each is safe by itself."""
    return Layout(**{n: paths[n] for n in NAMES if n in paths and path_fault(n, paths[n]) is None})


def clash(layout: Layout) -> str | None:
    """Two delivery files that would get in each other's way, in words; None if there are none."""
    places = {name: getattr(layout, name) for name in NAMES}
    folders = {
        "memory": layout.memory_folder,
        "changelog": layout.changelog_folder,
        "reverted": layout.reverted_folder,
    }
    for name, path in places.items():
        for other, place in places.items():
            if (name < other and path == place) or path.startswith(place + "/"):
                return f"{name} and {other} get in each other's way at {path}"
        for owner, folder in folders.items():
            if path.startswith(folder + "/") or (owner != name and folders.get(name) == folder):
                return f"{name} lies in the folder of {owner}"
    return None
