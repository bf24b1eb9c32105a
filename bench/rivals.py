"""What one would use instead: git's own plumbing with fsync, bare libgit2 without any, `git worktree add`."""

import json
import subprocess
from pathlib import Path

import pygit2

from .stage import GIT_ENV, git
from .wire import fresh_text, path_of

_WHO = pygit2.Signature("bench", "bench@builderos.invalid", 1_700_000_000, 0)
_FSYNC = ("-c", "core.fsync=committed")
_ROTATED = 60_000  # bytes of 200 entries
_BLOB = pygit2.enums.FileMode.BLOB
_TREE = pygit2.enums.FileMode.TREE


def clone_of(store: Path, branch: str, target: Path) -> Path:
    """A bare clone of one branch that shares nothing with the store it came from."""
    git(
        "clone",
        "-q",
        "--bare",
        "--no-hardlinks",
        "--dissociate",
        "--single-branch",
        "-b",
        branch,
        str(store),
        str(target),
    )
    return target


class Delivery:
    """The delivery files as a rival writes them: one line more at the end of the newest, given to it for nothing."""

    def __init__(self, repo: pygit2.Repository, branch: str) -> None:
        tree = repo.references[f"refs/heads/{branch}"].peel(pygit2.Commit).tree
        self.changelog = tree["project/changelog.yaml"].data
        self.memory_path = "project/memory.yaml"
        if "project/memory" in tree:
            self.memory_path = max(
                (f"project/memory/{e.name}" for e in tree["project/memory"]), key=lambda p: len(tree[p].data)
            )
        self.memory = tree[self.memory_path].data

    def change(self, number: int) -> dict[str, bytes]:
        """The three files of commit `number`."""
        line = {"id": f"chg_{number:026d}", "timestamp": "2026-01-01T00:00:00.000Z", "paths": [path_of(number)],
                "message": f"Change {number}", "task_id": None, "committed_by": "bench", "tool": "git"}  # fmt: skip
        if len(self.changelog) > _ROTATED:
            self.changelog = b""
        self.changelog += f"- {json.dumps(line)}\n".encode()
        at = self.memory.rindex(b'"sha"') if b'"sha"' in self.memory else len(self.memory) - 50
        stamp = f"{number:040x}".encode()
        memory = self.memory[: at + 8] + stamp + self.memory[at + 8 + 40 :]
        return {
            path_of(number): fresh_text(("rival", number)).encode(),
            "project/changelog.yaml": self.changelog,
            self.memory_path: memory,
        }


class Plumbing:
    """The change by git's own commands, synced as git offers it: nine processes a commit."""

    def __init__(self, repo: Path, branch: str) -> None:
        self.repo, self.ref = repo, f"refs/heads/{branch}"
        self._delivery = Delivery(pygit2.Repository(str(repo)), branch)
        self._env = GIT_ENV | {"GIT_DIR": str(repo), "GIT_INDEX_FILE": str(repo / "bench.index")}

    def commit(self, number: int) -> None:
        """One file, changelog and memory as one commit, compare-and-swap of the ref included."""
        tip = self._git("rev-parse", self.ref)
        self._git("read-tree", tip)
        lines = "".join(
            f"100644 {self._git('hash-object', '-w', '--stdin', stdin=data)}\t{path}\n"
            for path, data in self._delivery.change(number).items()
        )
        self._git("update-index", "--index-info", stdin=lines.encode())
        tree = self._git("write-tree")
        sha = self._git("commit-tree", tree, "-p", tip, "-m", f"Change {number}")
        self._git("update-ref", self.ref, sha, tip)

    def _git(self, *args: str, stdin: bytes = b"") -> str:
        done = subprocess.run(
            ["git", *_FSYNC, *args], env=self._env, input=stdin, capture_output=True, check=True
        )
        return done.stdout.decode().strip()


class Bare:
    """libgit2 alone, one thread, nothing synced, no database, no rule, no ledger."""

    def __init__(self, repo: Path, branch: str) -> None:
        self._repo = pygit2.Repository(str(repo))
        self._ref = f"refs/heads/{branch}"
        self._delivery = Delivery(self._repo, branch)

    def one_file(self, number: int) -> None:
        """One 4 kB file as one commit."""
        self._commit({path_of(number): fresh_text(("bare", number)).encode()}, number)

    def same_change(self, number: int) -> None:
        """The file with changelog and memory as one commit."""
        self._commit(self._delivery.change(number), number)

    def _commit(self, files: dict[str, bytes], number: int) -> None:
        repo = self._repo
        tip = repo.references[self._ref].target
        tree = repo[tip].tree
        for path, data in files.items():
            tree = repo[self._edit(tree, path.split("/"), repo.create_blob(data))]
        repo.create_commit(self._ref, _WHO, _WHO, f"Change {number}", tree.id, [tip])

    def _edit(self, tree: pygit2.Tree, parts: list[str], blob: pygit2.Oid) -> pygit2.Oid:
        builder = self._repo.TreeBuilder(tree)
        if len(parts) == 1:
            builder.insert(parts[0], blob, _BLOB)
        else:
            builder.insert(parts[0], self._edit(tree[parts[0]], parts[1:], blob), _TREE)
        return builder.write()
