"""Rows about one commit: alone, over HTTP, in a crowd, after a thousand others, undone, promoted."""

import subprocess
import sys
from pathlib import Path

from .report import Report
from .rivals import Bare, Plumbing, clone_of
from .stage import REPO, Home, Sandbox, Server
from .timing import fdatasync_case, interleave, medians, timed
from .wire import Wire

ENTRIES = 500


def store_of(home: Home, sandbox: Sandbox) -> Path:
    """The sandbox's own bare repository."""
    assert sandbox.actor.sandbox_id is not None
    name = "br_" + sandbox.actor.sandbox_id.removeprefix("sbx_")
    return next((home.path / "repos").glob(f"*/*/branches/{name[-2:]}/{name}.git"))


def seeded(home: Home, entries: int, first: int = 0) -> Sandbox:
    """A sandbox with this many changelog entries and memory entries, of notes numbered from `first`."""
    sandbox = home.open_sandbox()
    for number in range(first, first + entries):
        path = f"notes/n{number % 7}/note{number:04d}.md"
        home.commit(sandbox, sandbox.commit_body(number, (sandbox.branch, number), path))
    return sandbox


def one_commit(report: Report, home: Home, server: Server, folder: Path, rounds: int) -> None:
    """In process against the disk; over HTTP against git's plumbing."""
    sandbox, by_http = seeded(home, ENTRIES), seeded(home, ENTRIES)
    plumbing = Plumbing(
        clone_of(store_of(home, by_http), by_http.branch, folder / "plumbing.git"), by_http.branch
    )
    wire = Wire(server.port, by_http.token)
    cases = {
        "fdatasync": fdatasync_case(home.path),
        "in process": lambda n: home.commit(sandbox, sandbox.commit_body(n, ("in", n))),
        "http": lambda n: wire.commit(REPO, by_http.branch, n, ("http", n)),
        "plumbing": plumbing.commit,
    }
    ms = medians(interleave(rounds // 5, cases, calls=5))
    wire.close()
    report.at_most(
        "durable commit in process, minus one fdatasync [ms]", ms["in process"] - ms["fdatasync"], 4,
        f"{ms['in process']:.2f} ms; fdatasync {ms['fdatasync']:.2f} ms; {ENTRIES} changelog and memory entries there",
    )  # fmt: skip
    report.at_least(
        "one HTTP client: git plumbing with fsync ÷ ours", ms["plumbing"] / ms["http"], 5,
        f"{ms['plumbing']:.2f} ms ÷ {ms['http']:.2f} ms; same change, core.fsync=committed, 9 processes",
    )  # fmt: skip


class Crowd:
    """Sixteen clients, each a process of its own, each in its own sandbox."""

    def __init__(self, server: Server, sandboxes: list[Sandbox]) -> None:
        self._clients = [
            subprocess.Popen(
                [sys.executable, "-S", "-m", "bench.wire", str(server.port), s.token, REPO, s.branch, str(number)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for number, s in enumerate(sandboxes)
        ]  # fmt: skip
        for client in self._clients:
            assert client.stdout is not None
            client.stdout.readline()

    def run(self, seconds: float) -> float:
        """Commits per second of all together."""
        for client in self._clients:
            assert client.stdin is not None
            client.stdin.write(f"{seconds}\n")
            client.stdin.flush()
        return (
            sum(int(client.stdout.readline()) for client in self._clients if client.stdout is not None)
            / seconds
        )

    def close(self) -> None:
        """Let them end."""
        for client in self._clients:
            client.communicate()


def crowd(report: Report, home: Home, server: Server, folder: Path, rounds: int, seconds: float) -> None:
    """Throughput of 16 clients against bare libgit2 in one thread."""
    sandboxes = [seeded(home, 3) for _ in range(16)]
    repos = [
        clone_of(store_of(home, sandboxes[0]), sandboxes[0].branch, folder / f"bare{n}.git") for n in range(2)
    ]
    one, same = (Bare(repo, sandboxes[0].branch) for repo in repos)
    clients = Crowd(server, sandboxes)
    clients.run(1.0)
    ours, rival_one, rival_same = [], [], []
    number = 0
    for _ in range(rounds):
        ours.append(clients.run(seconds))
        for rates, commit in ((rival_one, one.one_file), (rival_same, same.same_change)):
            took = []
            for _ in range(200):
                number += 1
                took.append(timed(commit, number))
            rates.append(1000 * len(took) / sum(took))
    clients.close()
    rate, r_one, r_same = (sorted(x)[len(x) // 2] for x in (ours, rival_one, rival_same))
    how = f"{rate:.0f}/s, durable ÷ {{:.0f}}/s, {{}}, unsynced, one thread"
    report.at_least(
        "16 HTTP clients ÷ bare pygit2, same change",
        rate / r_same,
        0.3,
        how.format(r_same, "delivery files included"),
    )
    report.shown(
        "16 HTTP clients ÷ bare pygit2, one-file commits", rate / r_one, how.format(r_one, "the file alone")
    )


def thousandth(report: Report, home: Home, rounds: int) -> None:
    """The 1,000th commit of an old sandbox against the 10th of young ones."""
    old = seeded(home, 1000 - rounds // 2)
    young = [seeded(home, 9) for _ in range(rounds + 1)]
    path = "notes/n3/new{}.md".format
    cases = {
        "1000th": lambda n: home.commit(old, old.commit_body(n, ("old", n), path(n))),
        "10th": lambda n: home.commit(young[n], young[n].commit_body(n, ("young", n), path(n))),
    }
    ms = medians(interleave(rounds, cases))
    report.at_most(
        "1,000th commit of a sandbox ÷ the 10th",
        ms["1000th"] / ms["10th"],
        1.3,
        f"{ms['1000th']:.2f} ms ÷ {ms['10th']:.2f} ms",
    )


def undo_and_promote(report: Report, home: Home, rounds: int) -> None:
    """Rollback and promotion in a repository of 2,000 files against a commit there."""
    sandbox, other = seeded(home, 3), [seeded(home, 1, first=n) for n in range(rounds + 1)]
    shas: dict[int, str] = {}
    pulls: dict[int, str] = {}

    def commit(n: int) -> None:
        shas[n] = home.commit(sandbox, sandbox.commit_body(n, ("undo", n))).commit_sha

    def rollback(n: int) -> None:
        home.run("rollback", sandbox.actor, commit_sha=shas[n - 1], reason="measured")

    def promote(n: int) -> None:
        pulls[n] = home.run("promote", other[n].actor, title=f"Promote {n}").promotion_id

    def merge(n: int) -> None:
        home.run("reviewPull", home.owner, id=pulls[n], verdict="approve")

    commit(-1)
    took: dict[str, list[float]] = {name: [] for name in ("commit", "rollback", "promote", "merge")}
    for n in range(rounds + 1):
        ms = {
            "commit": timed(commit, n),
            "rollback": timed(rollback, n),
            "promote": timed(promote, n),
            "merge": timed(merge, n),
        }
        if n:
            for name, value in ms.items():
                took[name].append(value)
    ms = medians(took)
    how = f"{{:.2f}} ms ÷ {ms['commit']:.2f} ms, 2,000 files".format
    report.at_most("rollback ÷ a commit", ms["rollback"] / ms["commit"], 1.5, how(ms["rollback"]))
    report.at_most(
        "promote (diff, checks, request) ÷ a commit", ms["promote"] / ms["commit"], 2, how(ms["promote"])
    )
    report.shown("approval with merge into main ÷ a commit", ms["merge"] / ms["commit"], how(ms["merge"]))
