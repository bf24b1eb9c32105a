"""How one file differs from another, as people read it."""

import re
from typing import Final

import pygit2

from . import notebooks

_INDEX: Final = re.compile(rb"^index [0-9a-f]+\.\.[0-9a-f]+", re.MULTILINE)


def patch_of(path: str, was: bytes, now: bytes) -> tuple[bytes, int, int]:
    """The unified diff of a file, and how many of its lines were added and deleted.

    A notebook's is by its cells (`notebooks.readable`), its count by its lines all the same, and its line `index` names
    the files themselves: two that differ have a diff that says so, whatever it leaves out.
    """
    made = pygit2.Patch.create_from(was, now, path, path)
    _, added, deleted = made.line_stats
    if not path.endswith(notebooks.SUFFIX) or was == now:
        return made.data, added, deleted
    left, right = notebooks.readable(was), notebooks.readable(now)
    if left is None or right is None:
        return made.data, added, deleted
    ids = f"index {pygit2.hash(was)!s:.7}..{pygit2.hash(now)!s:.7}".encode()
    if left == right:
        name = path.encode()
        told = b"(in its cells and outputs nothing differs)\n"
        return b"diff --git a/%s b/%s\n%s\n%s" % (name, name, ids, told), added, deleted
    shown = pygit2.Patch.create_from(left, right, path, path).data
    return _INDEX.sub(ids, shown, count=1), added, deleted
