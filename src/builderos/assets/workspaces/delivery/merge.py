"""Three-way merge of the delivery files by their items, never by their text (promote, restore, webhook sync).

The changelog and the log of reverts are unions: no entry is lost, none is doubled, also when both sides have
rotated. Memory and tasks follow three-way rules for each path or task id: what one side changed is taken;
where both changed, the newer stamp wins; a deletion gives way to a change. Which side is `ours` decides
nothing but the order of entries.
"""

from collections.abc import Iterable
from typing import Any, cast

from builderos.assets.workspaces.delivery import changelog, reverts
from builderos.assets.workspaces.delivery.flow import Item, flow
from builderos.assets.workspaces.delivery.layout import Edits, Files, Layout, Overlay
from builderos.assets.workspaces.delivery.lines import Block, broken
from builderos.assets.workspaces.delivery.logs import Log
from builderos.assets.workspaces.delivery.memory import Store
from builderos.assets.workspaces.delivery.parse import Unreadable
from builderos.assets.workspaces.delivery.shapes import TASKS
from builderos.assets.workspaces.delivery.stamps import instant

Blobs = dict[str, bytes]


def merge_delivery(base: Files, ours: Files, theirs: Files, layout: Layout) -> Edits:
    """Edits to `ours` that bring in what `theirs` has changed since `base` (a tree without files if there is
    none).

    Raises Problem(validation_failed), naming side, file and line, if a file of either side cannot be read: a
    merge around text that nobody can read could lose what it says.
    """
    edits: Edits = {}
    for log, stamp in ((changelog.log(layout), "timestamp"), (reverts.log(layout), "at")):
        edits |= _merge_log(log, stamp, base, ours, theirs)
    return edits | _merge_memory(base, ours, theirs, layout) | _merge_tasks(base, ours, theirs, layout)


def resolve(base: Any, ours: Any, theirs: Any, stamp: str) -> Any:
    """The value after both sides; None is absence. `resolve(b, x, y) == resolve(b, y, x)`."""
    if theirs in (ours, base):
        return ours
    if ours == base or ours is None:
        return theirs
    return ours if theirs is None else max(ours, theirs, key=lambda value: _rank(value, stamp))


def _rank(value: Any, stamp: str) -> tuple[float, str]:
    members = cast("Item", value) if isinstance(value, dict) else {}
    at = instant(members.get(stamp))
    # Of two equal stamps the text decides, so that both sides come to the same end.
    return (at.timestamp() if at else float("-inf"), flow(dict(sorted(members.items())) or {"": value}))


def _read_all(files: Files, paths: Iterable[str]) -> Blobs:
    return {path: data for path in paths if (data := files.read(path)) is not None}


def _adopt(ours: Blobs, theirs: Blobs) -> Edits:
    """Edits that make one set of files the other."""
    return {path: None for path in ours if path not in theirs} | {
        path: data for path, data in theirs.items() if ours.get(path) != data
    }


# ---------------------------------------------------------------- logs


class _LogSide:
    """The readable blocks of a log in one tree."""

    def __init__(self, log: Log, files: Files, side: str | None) -> None:
        self.log = log
        self.blobs = _read_all(files, log.blocks(files))
        self.keys: dict[str, str] = {}  # key -> path of its block
        for path, data in list(self.blobs.items()):
            try:
                self.keys |= dict.fromkeys(log.ids(data), path)
            except Unreadable as exc:
                if side:
                    raise broken(path, exc, side) from exc
                del self.blobs[path]  # an ancestor nobody can read tells nothing; both sides have moved on

    def items(self, without: Iterable[bytes]) -> dict[str, Item]:
        """The entries in blocks other than those equal to one of `without`."""
        known = set(without)
        return {
            key: item
            for data in self.blobs.values()
            if data not in known
            for key, item in Block(self.log.shape, data).items()
        }


def _merge_log(log: Log, stamp: str, base: Files, ours: Files, theirs: Files) -> Edits:
    edits = _merge_aside(log, base, ours, theirs)
    mine, other = _LogSide(log, ours, "ours"), _LogSide(log, theirs, "theirs")
    if mine.blobs == other.blobs:
        return edits
    before = _LogSide(log, base, None)
    came = other.items(mine.blobs.values())
    stood = mine.items(other.blobs.values())
    was = before.items(()) if any(key in stood and stood[key] != came[key] for key in came) else {}
    fresh = [item for key, item in came.items() if key not in mine.keys]
    changed = {
        key: new
        for key in came.keys() & stood.keys()
        if (new := resolve(was.get(key), stood[key], came[key], stamp)) != stood[key]
    }
    if mine.blobs == before.blobs and _continues(other, mine, log.head):
        return edits | _adopt(mine.blobs, other.blobs)
    for key, item in changed.items():
        path = mine.keys[key]
        edits |= _rewrite(log, Overlay(ours, edits), path, key, item)
    return edits | log.append(Overlay(ours, edits), fresh)


def _continues(later: _LogSide, earlier: _LogSide, head: str) -> bool:
    """Whether one log is the other with entries added, its rotated blocks untouched."""
    kept = all(later.blobs.get(path) == data for path, data in earlier.blobs.items() if path != head)
    return kept and earlier.keys.keys() <= later.keys.keys()


def _rewrite(log: Log, files: Files, path: str, key: str, item: Item) -> Edits:
    """An entry that a person corrected; the one case in which a rotated block changes."""
    block = Block.require(log.shape, path, files.read(path))
    block.put(key, item)
    return {path: block.close()}


def _merge_aside(log: Log, base: Files, ours: Files, theirs: Files) -> Edits:
    """Broken heads set aside on the other side come along, and go where the other side has dealt with them."""
    was, mine, other = (set(_read_all(f, log.aside(f)).values()) for f in (base, ours, theirs))
    edits: Edits = {p: None for p in log.aside(ours) if (data := ours.read(p)) in was and data not in other}
    names = set(ours.list(log.folder))
    number = max(log.next_number(ours), log.next_number(theirs))
    for path, data in _read_all(theirs, log.aside(theirs)).items():
        if data in mine or data in was:
            continue
        name = path.rpartition("/")[2]
        if not names.isdisjoint({name, name.removesuffix(".broken")}):
            name, number = f"{number:06d}.yaml.broken", number + 1
        edits[f"{log.folder}/{name}"] = data
    return edits


# ---------------------------------------------------------------- memory


def _merge_memory(base: Files, ours: Files, theirs: Files, layout: Layout) -> Edits:
    stores = {
        side: Store(files, layout) for side, files in (("base", base), ("ours", ours), ("theirs", theirs))
    }
    was, mine, other = (
        _read_all(files, [stores[side].path(name) for name in stores[side].names()])
        for side, files in (("base", base), ("ours", ours), ("theirs", theirs))
    )
    if other in (mine, was):
        return {}
    for side in ("ours", "theirs"):
        stores[side].require(side)
    if mine == was:
        return _adopt(mine, other)
    store = stores["ours"]
    touched = dict.fromkeys([*stores["theirs"].paths(unlike=was), *stores["base"].paths(unlike=other)])
    for path in touched:
        held = store.get(path)
        new = resolve(stores["base"].get(path), held, stores["theirs"].get(path), "last_updated")
        if new != held:
            store.put(path, new)
    extras = _extras(*(stores[side].extras() for side in ("base", "ours", "theirs")))
    if extras != store.extras():
        store.set_extras(extras)
    return store.edits()


def _extras(base: Item, ours: Item, theirs: Item) -> Item:
    """Members that people have put beside the items."""
    names = dict.fromkeys([*ours, *theirs])
    out = {name: resolve(base.get(name), ours.get(name), theirs.get(name), "updated_at") for name in names}
    return {name: value for name, value in out.items() if value is not None}


# ---------------------------------------------------------------- tasks


def _merge_tasks(base: Files, ours: Files, theirs: Files, layout: Layout) -> Edits:
    was, mine, other = (files.read(layout.task) for files in (base, ours, theirs))
    if other in (mine, was):
        return {}
    block, came = (
        Block.require(TASKS, layout.task, data, side) for data, side in ((mine, "ours"), (other, "theirs"))
    )
    if mine == was:
        return {layout.task: other}
    try:
        before = Block(TASKS, was)
    except Unreadable:
        before = Block(TASKS, None)  # an ancestor nobody can read tells nothing; both sides have moved on
    old, held, new = (dict(b.items()) for b in (before, block, came))
    for task_id in dict.fromkeys([*held, *new]):
        item = resolve(old.get(task_id), held.get(task_id), new.get(task_id), "updated_at")
        if item is None:
            block.remove(task_id)
        elif item != held.get(task_id):
            block.put(task_id, item)
    extras = _extras(before.extras(), block.extras(), came.extras())
    if extras != block.extras():
        block.set_extras(extras)
    return {layout.task: block.close()} if block.dirty else {}
