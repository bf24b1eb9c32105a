"""What came of a suite: shares with their intervals, what is flaky, and what is worse than before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from builderos.core.clock import rfc3339

from .running import Cell, Trial, cells_of
from .statistics import interval, percentile, worse
from .suite import Suite

SURE: Final = 0.05
"""A flaky case counts as worse where chance alone does this more seldom."""
_SHOWN: Final = 4_000


@dataclass(frozen=True, slots=True)
class Tried:
    """What was tried, for the document."""

    run_id: str
    suite_digest: str
    prompt_ref: str | None
    version: str | None
    sha256: str | None
    started_at: Any
    ended_at: Any


def document(
    suite: Suite, trials: Sequence[Trial], tried: Tried, before: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The results file of SPEC §9, with what randomness asks for beside it. `before`: the document of the baseline."""
    by_cell: dict[str, list[Trial]] = {}
    for trial in trials:
        by_cell.setdefault(trial.cell, []).append(trial)
    cases = [_case(suite, cell, by_cell.get(cell.id, []), tried.run_id) for cell in cells_of(suite)]
    passed = sum(case["status"] == "pass" for case in cases)
    rate = passed / len(cases) if cases else 0.0
    all_passed = sum(trial.passed for trial in trials)
    low, high = interval(all_passed, len(trials))
    regressions = _regressions(cases, before)
    flaky = [case["id"] for case in cases if case["flaky"]]
    verdict = "pass" if rate >= suite.threshold and not regressions else "fail"
    return {
        "suite_id": suite.id, "prompt_ref": tried.prompt_ref, "version": tried.version, "sha256": tried.sha256,
        "baseline": before["version"] or before["run_id"] if before is not None else None,
        "started_at": rfc3339(tried.started_at), "ended_at": rfc3339(tried.ended_at), "run_id": tried.run_id,
        "suite_digest": tried.suite_digest, "verdict": verdict,
        "threshold": suite.threshold, "repeats": suite.repeats, "pass_rate": rate,
        "trials": {"passed": all_passed, "total": len(trials), "interval": [round(low, 4), round(high, 4)]},
        "flaky": flaky, "regressions": regressions, "improvements": _improvements(cases, before),
        "latency_ms": {"p50": percentile([t.latency_ms for t in trials], 0.5),
                       "p95": percentile([t.latency_ms for t in trials], 0.95)},
        "usage": _usage(trials), "cases": cases,
    }  # fmt: skip


def _case(suite: Suite, cell: Cell, trials: Sequence[Trial], run_id: str) -> dict[str, Any]:
    passed, tried = sum(trial.passed for trial in trials), len(trials)
    errors = [trial for trial in trials if trial.error]
    good = tried > 0 and passed >= suite.share * tried
    worst = next((trial for trial in trials if not trial.passed), None) if not good else None
    shown = worst or (trials[0] if trials else None)
    low, high = interval(passed, tried)
    return {
        "id": cell.id, "status": "pass" if good else "error" if errors and len(errors) == tried else "fail",
        "score": sum(trial.score for trial in trials) / tried if tried else 0.0,
        "reason": shown.reason if shown is not None and not good else "",
        "duration_ms": round(sum(trial.latency_ms for trial in trials), 3),
        "output_ref": f"{run_id}#{cell.id}", "output": shown.output[:_SHOWN] if shown is not None else "",
        "passed": passed, "tried": tried, "errors": len(errors), "flaky": 0 < passed < tried,
        "interval": [round(low, 4), round(high, 4)], "line": cell.case.line,
    }  # fmt: skip


def _regressions(
    cases: Sequence[Mapping[str, Any]], before: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Cases that passed before and fail now. Where chance plays along, only what chance does not explain."""
    if before is None:
        return []
    old = {case["id"]: case for case in before["cases"]}
    found: list[dict[str, Any]] = []
    for case in cases:
        was = old.get(case["id"])
        if was is None or was["status"] != "pass" or case["status"] == "pass":
            continue
        likely = worse((was["passed"], was["tried"]), (case["passed"], case["tried"]))
        if (case["flaky"] or was["flaky"]) and likely >= SURE:
            continue
        found.append({
            "id": case["id"], "before": [was["passed"], was["tried"]], "after": [case["passed"], case["tried"]],
            "chance": round(likely, 4), "reason": case["reason"],
        })  # fmt: skip
    return found


def _improvements(cases: Sequence[Mapping[str, Any]], before: Mapping[str, Any] | None) -> list[str]:
    old = {case["id"]: case["status"] for case in before["cases"]} if before is not None else {}
    return [
        case["id"] for case in cases if case["status"] == "pass" and old.get(case["id"]) in ("fail", "error")
    ]


def _usage(trials: Sequence[Trial]) -> dict[str, Any]:
    labels = sorted({str(trial.usage["label"]) for trial in trials if "label" in trial.usage})
    total: dict[str, Any] = {
        name: sum(trial.usage.get(name, 0) for trial in trials)
        for name in ("prompt_tokens", "completion_tokens", "cost")
    }  # fmt: skip
    return total | {"labels": labels}


def junit(said: Mapping[str, Any]) -> str:
    """The results as JUnit XML, as CI systems read it."""
    cases: list[Mapping[str, Any]] = said["cases"]
    failed = sum(case["status"] == "fail" for case in cases)
    errors = sum(case["status"] == "error" for case in cases)
    seconds = sum(case["duration_ms"] for case in cases) / 1000
    head = f'tests="{len(cases)}" failures="{failed}" errors="{errors}" time="{seconds:.3f}"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites {head}>",
             f"<testsuite name={quoteattr(_xml(said['suite_id']))} {head}>"]  # fmt: skip
    for case in cases:
        name = quoteattr(_xml(f"{case['id']}"))
        time = f"{case['duration_ms'] / 1000:.3f}"
        lines.append(f'<testcase classname={quoteattr(_xml(said["suite_id"]))} name={name} time="{time}">')
        if case["status"] != "pass":
            tag = "error" if case["status"] == "error" else "failure"
            reason = _xml(case["reason"])
            lines.append(f"<{tag} message={quoteattr(reason[:500])}>{escape(reason)}</{tag}>")
        lines.append("</testcase>")
    return "\n".join([*lines, "</testsuite>", "</testsuites>", ""])


def _xml(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold."""
    return "".join(c if c in "\t\n\r" or "\x20" <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" else "�"
                   for c in text)  # fmt: skip


def markdown(said: Mapping[str, Any]) -> str:
    """The results in a page that people read in a pull request."""
    cases: list[Mapping[str, Any]] = said["cases"]
    low, high = said["trials"]["interval"]
    what = (
        f"{said['prompt_ref']}@{said['version']}"
        if said["version"]
        else said["prompt_ref"] or "its own prompts"
    )
    passed = sum(case["status"] == "pass" for case in cases)
    tries = f"{said['trials']['passed']} of {said['trials']['total']} tries; 95 %: {low:.0%} to {high:.0%}"
    lines = [
        f"## {said['suite_id']}: {said['verdict']}",
        "",
        f"{passed} of {len(cases)} cases pass on {what} ({tries}).",
    ]
    if said["baseline"] is not None:
        worse_ = len(said["regressions"])
        lines.append(f"Against {said['baseline']}: {worse_} worse, {len(said['improvements'])} better.")
    for title, ids in (
        ("Worse than before", [r["id"] for r in said["regressions"]]),
        ("Flaky", said["flaky"]),
    ):
        lines += ["", f"{title}: {', '.join(map(_cell, ids))}"] if ids else []
    bad = [case for case in cases if case["status"] != "pass"]
    if bad:
        lines += ["", "| case | status | passed | reason |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(_row(case))} |" for case in bad]
    return "\n".join(lines) + "\n"


def _row(case: Mapping[str, Any]) -> list[str]:
    passed = f"{case['passed']}/{case['tried']}"
    return [_cell(case["id"]), case["status"], passed, _cell(case["reason"][:300])]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
