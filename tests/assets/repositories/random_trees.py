"""Random trees and edits, small enough to clash often, with names that invite a wrong order or a wrong split."""

from collections.abc import Mapping

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from builderos.assets.repositories.objects import Batch, Oid
from builderos.assets.repositories.trees import BLOB, EXECUTABLE, LINK, walk

from .oracle import Files, folders

NAMES = ["a", "a.b", "a-b", "a0", "ab", "A", "b", "é", "100644 a", "40000 b", " ", "z\n"]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
LEAVES = st.tuples(st.sampled_from([BLOB, EXECUTABLE, LINK]), st.sampled_from([b"", b"one\n", b"two\n"]))
WRITES = st.tuples(st.sampled_from([None, BLOB, EXECUTABLE, LINK]), st.binary(max_size=2))
EDITS = st.dictionaries(PATHS, st.none() | WRITES, max_size=8)
FAST = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def tidy(files: Mapping[str, tuple[int, bytes]]) -> dict[str, tuple[int, bytes]]:
    """Drop files whose name is a folder, too."""
    above = folders(files)
    return {path: leaf for path, leaf in files.items() if path not in above}


TREES = st.dictionaries(PATHS, LEAVES, max_size=14).map(tidy)


def contents(batch: Batch, tree: Oid) -> dict[str, tuple[int, bytes]]:
    return {path: (mode, batch.read(oid)[1]) for path, mode, oid in walk(batch, tree)}


def shape(**files: str) -> Files:
    return {path.replace("__", "/"): (BLOB, text.encode()) for path, text in files.items()}
