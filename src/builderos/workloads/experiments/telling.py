"""What other rooms may know of a run: those that register what it made, and decide about it."""

from dataclasses import dataclass

import sqlalchemy as sa

from builderos.core.unit import Unit

from .files import below
from .model import inputs, latest, params, runs


@dataclass(frozen=True, slots=True)
class Facts:
    """A run as an approver sees it. `datasets`: `name@digest`, or `name@version` of one that was submitted."""

    name: str
    experiment_id: str
    metrics: dict[str, float]
    params: dict[str, str]
    datasets: list[str]
    code_sha: str | None


def facts_of(unit: Unit, run_id: str) -> Facts | None:
    """The facts of a run, for another room that has asked the policy itself; None where there is no such run."""
    row = unit.execute(sa.select(runs).where(runs.c.id == run_id, runs.c.active)).one_or_none()
    if row is None:
        return None
    points = unit.execute(sa.select(latest.c.key, latest.c.value).where(latest.c.run_id == run_id)).all()
    words = unit.execute(sa.select(params.c.key, params.c.value).where(params.c.run_id == run_id)).all()
    read = unit.execute(sa.select(inputs.c.name, inputs.c.digest).where(inputs.c.run_id == run_id)).all()
    submitted = [row.dataset_ref] if row.dataset_ref is not None else []
    return Facts(
        row.name, row.experiment_id, {point.key: point.value for point in points},
        {word.key: word.value for word in words}, submitted + [f"{one.name}@{one.digest}" for one in read],
        row.code_sha,
    )  # fmt: skip


def artifacts_of(unit: Unit, owner: str, prefix: str = "") -> list[tuple[str, str, int]]:
    """Path, artifact and bytes of every file of a run (`xrn_…`) or a logged model (`m-…`), below a folder.

    For another room that has asked the policy itself.
    """
    found = below(unit, owner, prefix)
    return [(file.path, file.artifact_id or "", file.size or 0) for file in found]
