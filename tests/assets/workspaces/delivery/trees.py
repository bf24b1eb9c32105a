"""Trees of files held in memory, and samples of what stands in delivery files."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import yaml
from hypothesis import strategies as st

from builderos.assets.workspaces.delivery import Edits, Layout

LAYOUT = Layout()
T = TypeVar("T")


class Tree(dict[str, bytes]):
    """Files by path; counts what is read."""

    reads = 0

    def read(self, path: str, /) -> bytes | None:
        self.reads += 1
        return self.get(path)

    def list(self, folder: str, /) -> list[str]:
        return sorted(
            {path[len(folder) + 1 :].split("/")[0] for path in self if path.startswith(folder + "/")}
        )

    def edit(self, edits: Edits) -> "Tree":
        """The tree after the edits, in place."""
        for path, data in edits.items():
            if data is None:
                del self[path]  # an edit that deletes what is not there is a mistake
            else:
                assert self.get(path) != data, f"{path} is written without a change"
                self[path] = data
        return self

    def text(self, path: str) -> str:
        """A file as text."""
        return self[path].decode()

    def yaml(self, path: str) -> Any:
        """A file as a reader that is not ours sees it."""
        return yaml.CSafeLoader(self[path]).get_single_data()


def copy(tree: Tree) -> Tree:
    """A tree of its own with the same files."""
    return Tree(tree)


def entry(number: int, **more: Any) -> dict[str, Any]:
    """A changelog entry."""
    return {
        "id": f"chg_{number:026d}",
        "timestamp": f"2026-11-21T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z",
        "paths": [f"src/a{number}.py"],
        "message": "Add parser",
        "task_id": "2.1_parser",
        "committed_by": "sandbox-golden-otter",
        "branch": "sandbox-golden-otter",
        "tool": "commit_and_log@1",
        "agent_version": "gpt-x",
        "run_id": None,
        "reverts": None,
    } | more


def memory_item(path: str, **more: Any) -> dict[str, Any]:
    """A memory entry."""
    return {
        "path": path,
        "description": "Parses lines",
        "tags": ["code"],
        "owner": "builder",
        "file_type": "py",
        "sha": "ce013625030ba8dba906f756967f9e9ca394464a",
        "last_updated": "2026-11-21T02:03:04Z",
        "source": "tool",
    } | more


def task(**more: Any) -> dict[str, Any]:
    """A task."""
    return {
        "title": "Build parser",
        "phase": "build",
        "assigned_pod": "builder",
        "status": "ready",
        "prompt": "parser@1.0.0",
        "inputs": ["project/goals.md"],
        "outputs": ["src/a.py"],
        "depends_on": ["1.1_goals"],
        "created_at": "2026-11-21T02:03:04Z",
        "updated_at": "2026-11-21T02:03:04Z",
    } | more


def ids(items: Iterable[dict[str, Any]]) -> list[str]:
    """The ids of entries."""
    return [item["id"] for item in items]


def counted(monkeypatch: Any, owner: Any, name: str, function: Callable[..., T]) -> list[int]:
    """Count the calls of a function that is looked up as `owner.name`."""
    calls: list[int] = []

    def call(*args: Any, **kwargs: Any) -> T:
        calls.append(1)
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)
    return calls


any_text = st.text(max_size=40)  # lone surrogates are left out by Hypothesis' default alphabet only as `Cs`
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=8,
)
