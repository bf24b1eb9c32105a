"""What whoever decides about a promotion is shown: metrics side by side, evals, lineage, files."""

import hashlib
import json
from typing import Any, Final

from builderos.core.unit import Unit
from builderos.workloads.lineage import service as lineage
from builderos.workloads.lineage.schema import LineageIn

from . import rows, sources
from .sources import RunFacts

MOST: Final = 200
"""Metrics and params that are shown."""
_NODES: Final = 100


def side_by_side(unit: Unit, run_id: str | None, before: rows.Row | None, about: str) -> dict[str, Any]:
    """Metrics and params of a run and of the run behind what is in production; evals of both.

    `about`: id of what lineage is asked for.
    """
    nothing = RunFacts("")
    new = sources.facts(unit, run_id) or nothing
    old = sources.facts(unit, before.run_id if before is not None else None) or nothing
    return {
        "run_id": run_id, "before": before.number if before is not None else None,
        "metrics": _pairs(old.metrics, new.metrics), "params": _pairs(old.params, new.params),
        "datasets": new.datasets, "datasets_before": old.datasets, "code_sha": new.code_sha,
        "code_before": old.code_sha,
        "evals": sources.verdicts(unit, new.run_id), "evals_before": sources.verdicts(unit, old.run_id),
        "lineage": _lineage(unit, about),
    }  # fmt: skip


def _pairs(old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
    names = sorted(old.keys() | new.keys())[:MOST]
    found: list[dict[str, Any]] = []
    for name in names:
        before, after = _plain(old.get(name)), _plain(new.get(name))
        numbers = isinstance(before, int | float) and isinstance(after, int | float)
        change = round(after - before, 9) if numbers else None  # type: ignore[operator]
        found.append({"name": name, "before": before, "after": after, "change": change})
    return found


def _plain(value: Any) -> Any:
    """A number that JSON cannot hold, as text."""
    if isinstance(value, float) and value - value != 0:
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


def _lineage(unit: Unit, about: str) -> list[dict[str, str]]:
    """What the thing was made from, as far as is known."""
    graph = lineage.known(unit, LineageIn(id=about, direction="up"))
    return [{"kind": node.kind, "id": node.id, "name": node.name} for node in graph[:_NODES]]


def as_text(title: str, shown: dict[str, Any]) -> str:
    """The same as a page that people read in the inbox: lines with + are what comes."""
    lines = [title, ""]
    for kind in ("metrics", "params"):
        for pair in shown[kind]:
            if pair["before"] == pair["after"]:
                lines.append(f"  {kind[:-1]} {pair['name']}: {pair['after']}")
                continue
            lines += [f"- {kind[:-1]} {pair['name']}: {pair['before']}"] if pair["before"] is not None else []
            change = f" ({pair['change']:+g})" if pair["change"] is not None else ""
            lines += (
                [f"+ {kind[:-1]} {pair['name']}: {pair['after']}{change}"]
                if pair["after"] is not None
                else []
            )
    if not shown["metrics"]:
        lines.append("  metrics: none are known of it")
    lines += _changed("dataset", shown["datasets_before"], shown["datasets"])
    codes = ([code] if (code := shown[name]) else [] for name in ("code_before", "code_sha"))
    lines += _changed("code", *codes)
    lines += _changed("eval", _verdicts(shown["evals_before"]), _verdicts(shown["evals"]))
    if not shown["evals"]:
        lines.append("  evals: none were tried in its run")
    lines += [f"+ file {file['path']} ({file['size']} bytes)" for file in shown.get("files", [])[:MOST]]
    lines += [f"  from {node['kind']} {node['name']}" for node in shown["lineage"]]
    return "\n".join(lines) + "\n"


def _changed(what: str, before: list[str], after: list[str]) -> list[str]:
    """What both have, then what goes, then what comes."""
    return [
        *(f"  {what} {one}" for one in after if one in before),
        *(f"- {what} {one}" for one in before if one not in after),
        *(f"+ {what} {one}" for one in after if one not in before),
    ]


def _verdicts(evals: list[dict[str, Any]]) -> list[str]:
    return [f"{one['suite']}: {one['verdict']} ({one['pass_rate']:.0%})" for one in evals]


def bound(*said: Any) -> str:
    """The hash that an approval is bound to."""
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
