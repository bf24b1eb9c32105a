"""Which tree a step works on: the outputs of what it needs, merged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.service import Scratch
from builderos.core.problems import Problem
from builderos.core.unit import Unit

from .model import runs, steps
from .rows import Row

EMPTY = repositories.EMPTY_TREE.hex()


class Conflicting(Problem):
    """Steps that ran beside each other changed the same lines."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(
            "conflict", f"steps beside each other changed the same files: {', '.join(paths[:5])}",
            hint="Let one of them need the other.", conflicts=list(paths[:100]),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    position: int
    needs: tuple[str, ...]
    output: str | None


def scratch_of(unit: Unit, run: Row) -> Scratch:
    """The trees of a run's repository, over its branch."""
    below: str | None = None
    if run.branch_id is not None:
        branch = repositories.branch_by_id(unit, run.branch_id)
        repositories.ready(unit, branch)
        below = branch.store
    return Scratch.of(unit.context, unit.org_id, run.repo_id, below)


def base_of(unit: Unit, run: Row) -> str:
    """The tree that the run started from, remembered once it is known."""
    if run.base_tree is not None:
        return str(run.base_tree)
    tree = EMPTY if run.base_sha is None else scratch_of(unit, run).tree_of(run.base_sha)
    unit.execute(sa.update(runs).where(runs.c.id == run.id).values(base_tree=tree))
    return tree


def input_of(unit: Unit, run: Row, step: Row, needs: Sequence[Row]) -> str:
    """The tree that a step gets: empty text for the one that the run started from. Raises `Conflicting`."""
    outputs = {need.output_tree for need in needs}
    if not needs:
        return ""
    if len(outputs) == 1 and None not in outputs:
        return str(next(iter(outputs)))
    rows = unit.execute(
        sa.select(steps.c.name, steps.c.position, steps.c.needs, steps.c.output_tree).where(
            steps.c.run_id == run.id, steps.c.position < step.position
        )
    )
    known = {row.name: _Step(row.name, row.position, tuple(row.needs), row.output_tree) for row in rows}
    return _Merging(unit, run, known).of(tuple(step.needs))


class _Merging:
    """Outputs of several steps as one tree; the base of two is what both had seen."""

    def __init__(self, unit: Unit, run: Row, known: Mapping[str, _Step]) -> None:
        self._unit = unit
        self._run = run
        self._known = known
        self._scratch: Scratch | None = None
        self._above: dict[str, frozenset[str]] = {}

    def of(self, names: tuple[str, ...]) -> str:
        """The merged output of these steps, in the order of the definition."""
        tips = self._tips(frozenset(names))
        if not tips:
            return ""
        merged, seen = self._output(tips[0]), self._ancestors(tips[0]) | {tips[0]}
        for name in tips[1:]:
            theirs, common = self._output(name), seen & self._ancestors(name)
            merged = self._merge(self.of(tuple(common)), merged, theirs)
            seen |= self._ancestors(name) | {name}
        return merged

    def _output(self, name: str) -> str:
        """What a step left; one that did nothing left what it got."""
        step = self._known[name]
        return self.of(step.needs) if step.output is None else step.output

    def _tips(self, names: frozenset[str]) -> list[str]:
        """Those that none of the others has seen."""
        known = {name for name in names if name in self._known}
        seen = (
            frozenset[str]().union(*(self._ancestors(name) for name in known)) if known else frozenset[str]()
        )
        return sorted(known - seen, key=lambda name: self._known[name].position)

    def _ancestors(self, name: str) -> frozenset[str]:
        if name not in self._above:
            found: set[str] = set()
            stack = list(self._known[name].needs)
            while stack:
                need = stack.pop()
                if need not in found and need in self._known:
                    found.add(need)
                    stack += self._known[need].needs
            self._above[name] = frozenset(found)
        return self._above[name]

    def _merge(self, base: str, ours: str, theirs: str) -> str:
        if theirs in (ours, base):
            return ours
        if ours == base:
            return theirs
        if self._scratch is None:
            self._scratch = scratch_of(self._unit, self._run)
        start = base_of(self._unit, self._run)
        merged = self._scratch.merge(base or start, ours or start, theirs or start)
        if isinstance(merged, list):
            raise Conflicting(merged)
        self._scratch.give(merged, start)
        return merged
