"""What results mean for prompts: which version may become `latest`, and how two compare."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from builderos.assets.prompts.service import Judged, Score, Verdict
from builderos.core.unit import Unit
from builderos.core.versions import rank_of

from .model import evals
from .steps import summary


def verdicts(unit: Unit, name: str, versions: Sequence[Judged]) -> Mapping[str, Verdict]:
    """A version waits for each suite that was ever tried on this prompt, from the first version on that it tried.

    Only results count that somebody who may publish has asked for: nobody else can let a version pass, or hold it back.
    """
    c = evals.c
    begins = (
        sa.select(c.suite, sa.func.min(c.rank).label("rank"))
        .where(c.prompt == name, c.counts)
        .group_by(c.suite)
    )
    first = {str(row.suite): str(row.rank) for row in unit.execute(begins)}
    if not first:
        return {}
    newest = {
        (row.suite, row.sha256): row
        for row in unit.execute(
            sa.select(c.suite, c.sha256, c.verdict, c.document)
            .where(c.prompt == name, c.counts, c.sha256.in_([one.sha256 for one in versions]))
            .order_by(c.suite, c.sha256, c.id.desc())
            .ext(distinct_on(c.suite, c.sha256))
        )
    }
    found: dict[str, Verdict] = {}
    for one in versions:
        for suite, since in sorted(first.items()):
            if rank_of(one.version) < since:
                continue
            row = newest.get((suite, one.sha256))
            if row is None:
                found.setdefault(one.version, Verdict("wait", f"{suite} was not tried on it"))
            elif row.verdict != "pass":
                found[one.version] = Verdict("fail", summary(row.document))
    return found


def scores(unit: Unit, name: str, versions: Sequence[Judged]) -> Sequence[Score]:
    """How these versions did in each suite, the newest time."""
    c = evals.c
    rows = unit.execute(
        sa.select(c.suite, c.version, c.sha256, c.pass_rate, c.cases)
        .where(c.prompt == name, c.counts, c.sha256.in_([one.sha256 for one in versions]))
        .order_by(c.suite, c.sha256, c.id.desc())
        .ext(distinct_on(c.suite, c.sha256))
    )
    return [Score(row.suite, row.version, row.sha256, row.pass_rate, row.cases) for row in rows]
