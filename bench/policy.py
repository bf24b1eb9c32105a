"""Rows about decisions: with a large policy file, over many objects, and within a commit."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any
from unittest import mock

from builderos.core.actor import Actor
from builderos.trust.policy import service as policy
from builderos.trust.policy.document import read_document
from builderos.trust.policy.file_policy import Asked, FilePolicy
from builderos.trust.policy.merging import Scene
from builderos.trust.policy.schema import NO_CONTEXT, Resource

from .commits import seeded
from .report import Report
from .stage import Home

RULES = 50


def rules_of_a_team() -> str:
    """Fifty rules of every kind; all fit the sandboxes of the measured repository, none is in their way."""
    rule = (
        "  - {{id: r{0}, scope: {{agent: 'sandbox-*'}}, deny: {{paths: ['**/secret{0}/**', 'k{0}/*.pem'], "
        "tools: ['tool{0}*'], branches: ['release/{0}/*']}}}}\n"
    )
    return "version: 1\nrules:\n" + "".join(rule.format(number) for number in range(RULES))


def sandboxes(count: int) -> list[tuple[Actor, Resource]]:
    """So many workspaces, each with its own actor: two objects for every question."""
    found: list[tuple[Actor, Resource]] = []
    for number in range(count // 2):
        who = Actor(
            "sandbox", f"act_{number}", f"sandbox-{number}", "org", repo_id="repo", sandbox_id=f"sbx_{number}"
        )
        branch = Resource(
            "branch", f"br_{number}", "org", "repo", branch_kind="sandbox", sandbox_id=f"sbx_{number}",
            project="lab", branch=f"sandbox-{number}",
        )  # fmt: skip
        found.append((who, branch))
    return found


def microseconds(asks: list[Callable[[], object]], rounds: int) -> float:
    """The median of one question."""
    took: list[float] = []
    for number in range(rounds):
        began = time.perf_counter()
        asks[number % len(asks)]()
        took.append((time.perf_counter() - began) * 1e6)
    return statistics.median(took)


def by_cedar() -> float:
    """The median of one question of each sort, none of which is like another."""
    shipped = policy.Policy.default()
    ((who, branch),) = sandboxes(2)
    asks: list[Callable[[], object]] = []
    for action, role in product(policy.actions_on("branch"), ("sandbox", "owner", "builder")):
        someone = replace(who, role=role, scopes=frozenset({"read", "write"}))
        # The rules for this act and role are picked when they are first needed.
        shipped.decide(someone, action, replace(branch, branch_kind="archive"))
        kinds = ("sandbox", "main", "dev", "base", "backup")
        asks += [
            partial(shipped.decide, someone, action, replace(branch, branch_kind=kind)) for kind in kinds
        ]
    return microseconds(asks, len(asks))


class Bench:
    """The shipped rules and fifty more, asked as `policy.decide` asks them."""

    def __init__(self) -> None:
        self.shipped = policy.Policy.default()
        self.file = FilePolicy(read_document(rules_of_a_team()))

    def asks(self, count: int) -> list[Callable[[], object]]:
        """One question for each workspace of `count` objects."""
        return [self._ask(who, branch) for who, branch in sandboxes(count)]

    def _ask(self, who: Actor, branch: Resource) -> Callable[[], object]:
        asked, scene = (
            Asked("files.write", "commit_and_log", ("src/a.py",)),
            Scene(who.name, "lab", branch.branch),
        )

        def ask() -> None:
            allowed = self.shipped.decide(who, "files.write", branch, NO_CONTEXT).verdict == "allow"
            assert allowed
            assert self.file.judge(asked, scene) is None

        return ask


def decisions(report: Report, home: Home, rounds: int) -> None:
    """Questions never asked before, questions asked before, and what a commit spends on its own."""
    first, again, ratios = [], [], []
    for _ in range(5):
        bench = Bench()
        bench.asks(2)[0]()  # the file is compiled when it comes into force
        asks = bench.asks(1000)
        first.append(microseconds(asks, len(asks)))
        again.append(microseconds(asks, 4 * len(asks)))
        few, many = bench.asks(100), bench.asks(10_000)
        for ask in (*few, *many):
            ask()
        ratios.append(microseconds(many, 10_000) / microseconds(few, 10_000))
    value = statistics.median(first)
    report.at_most(
        "decide() with 50 policies and 1,000 entities, never asked before [us]", value, 150,
        f"shipped rules and a file of {RULES}; asked again {statistics.median(again):.1f} us; p50",
    )  # fmt: skip
    alone = statistics.median(by_cedar() for _ in range(5))
    report.shown("decide(), nothing like it asked before [us]", alone, "evaluated by Cedar; p50")
    report.at_most(
        "decide() at 10,000 ÷ at 100 entities",
        statistics.median(ratios),
        1.3,
        "asked before; p50 each, five runs",
    )
    _in_a_commit(report, home, rounds)


def _in_a_commit(report: Report, home: Home, rounds: int) -> None:
    reason = {"content": rules_of_a_team(), "reason": "Measured."}
    waiting = home.run("proposePolicy", home.owner, **reason)
    home.run("decideApproval", home.owner, id=waiting.approval_id, decision="approve")
    sandbox = seeded(home, 20)
    spent: list[float] = []
    with _timed(spent):
        for number in range(rounds):
            spent.append(0.0)
            home.commit(sandbox, sandbox.commit_body(number, ("policy", number)))
    report.at_most(
        "policy within one commit [us]", statistics.median(spent), 400,
        f"all questions of one commit, each on paths of its own; file of {RULES} rules; {rounds} commits",
    )  # fmt: skip


@contextmanager
def _timed(spent: list[float]) -> Iterator[None]:
    """Add the microseconds of every question to the last item of `spent`."""

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **more: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **more)
            finally:
                spent[-1] += (time.perf_counter() - began) * 1e6

        return timed

    with (
        mock.patch.object(policy, "require", around(policy.require)),
        mock.patch.object(policy, "require_paths", around(policy.require_paths)),
        mock.patch.object(policy, "document_in_force", around(policy.document_in_force)),
    ):
        yield
