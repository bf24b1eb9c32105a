"""Rows about many sandboxes: the same calls at 10,000 and at 100, and what it costs to open one."""

import time
from pathlib import Path

from builderos.assets.workspaces.sandboxes import InitIn

from .report import Report
from .stage import REPO, Home, Sandbox, Server, git
from .timing import interleave, medians
from .wire import Wire


def fill(home: Home, count: int) -> list[Sandbox]:
    """Open sandboxes through the verb until there are `count`."""
    started = time.monotonic()
    made = [home.open_sandbox() for _ in range(count)]
    print(f"     {count:,} sandboxes opened in {time.monotonic() - started:.0f} s", flush=True)
    return made


def many(
    report: Report, small: tuple[Home, list[Sandbox]], large: tuple[Home, list[Sandbox]], rounds: int
) -> None:
    """init, first commit, resume and list, each on a sandbox nobody has touched since it was opened."""

    def pick(stage: tuple[Home, list[Sandbox]], n: int) -> tuple[Home, Sandbox]:
        home, made = stage
        return home, made[(n * 7919) % len(made) if len(made) > 1000 else n % len(made)]

    def init(stage: tuple[Home, list[Sandbox]], n: int) -> None:
        stage[0].init(n)

    def commit(stage: tuple[Home, list[Sandbox]], n: int) -> None:
        home, sandbox = pick(stage, n)
        home.commit(sandbox, sandbox.commit_body(n, ("many", n)))

    def resume(stage: tuple[Home, list[Sandbox]], n: int) -> None:
        home, sandbox = pick(stage, n)
        home.perform("initSandbox", sandbox.actor, InitIn(), sandbox.token)

    def listed(stage: tuple[Home, list[Sandbox]], _n: int) -> None:
        stage[0].run("listSandboxes", stage[0].owner, limit=50)

    for name, verb in (("init", init), ("commit", commit), ("resume", resume), ("list", listed)):
        cases = {"small": lambda n, v=verb: v(small, n), "large": lambda n, v=verb: v(large, n)}
        ms = medians(interleave(rounds, cases))
        report.at_most(
            f"{name} at {len(large[1]):,} sandboxes ÷ at {len(small[1]):,}", ms["large"] / ms["small"], 1.5,
            f"{ms['large']:.2f} ms ÷ {ms['small']:.2f} ms",
        )  # fmt: skip


def overview(report: Report, large: tuple[Home, list[Sandbox]], rounds: int) -> None:
    """What the owner of a server with many sandboxes sees of all of it."""
    home, made = large
    ms = medians(interleave(rounds, {"overview": lambda _n: home.run("getOverview", home.owner)}))
    report.at_most(
        f"admin overview at {len(made):,} sandboxes, ms", ms["overview"], 50, "all organisations and tools"
    )


def creation(report: Report, home: Home, server: Server, source: Path, folder: Path, rounds: int) -> None:
    """Opening a sandbox against `git worktree add` of the same 2,000 files."""
    wire = Wire(server.port)
    cases = {
        "in process": home.init,
        "http": lambda _n: wire.post("/sandbox/init", {"mode": "branch", "repo_name": REPO}),
        "worktree": lambda n: git(
            "worktree", "add", "-q", "-b", f"w{n}", str(folder / f"worktree{n}"), cwd=source
        ),
    }
    ms = medians(interleave(rounds // 5, cases, calls=5))
    wire.close()
    for name, where, bound in (("in process", "in process", 60), ("http", "through HTTP", 25)):
        report.at_least(
            f"git worktree add ÷ opening a sandbox {where}", ms["worktree"] / ms[name], bound,
            f"{ms['worktree']:.1f} ms ÷ {ms[name]:.2f} ms, 2,000 files",
        )  # fmt: skip


def ls_remote(
    report: Report, small: tuple[Server, Sandbox], large: tuple[Server, Sandbox], rounds: int
) -> None:
    """A real git client looking at one sandbox among few and among many."""

    def ask(stage: tuple[Server, Sandbox], _n: int) -> None:
        server, sandbox = stage
        url = f"http://x:{sandbox.token}@127.0.0.1:{server.port}/git/{REPO}.git"
        assert sandbox.branch.encode() in git("ls-remote", url)

    cases = {"small": lambda n: ask(small, n), "large": lambda n: ask(large, n)}
    ms = medians(interleave(rounds, cases))
    report.at_most(
        "git ls-remote at 10,000 sandboxes ÷ at 100",
        ms["large"] / ms["small"],
        1.3,
        f"{ms['large']:.1f} ms ÷ {ms['small']:.1f} ms",
    )
