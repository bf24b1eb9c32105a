"""A receipt for people: one page of Markdown, made of the signed statement and nothing else.

What comes from outside (names, params, paths) is escaped twice over: it can neither pass for Markdown nor, where the
page is shown as HTML, for HTML.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from .keys import canonical

_LINES: Final = 40  # of each list; the statement has all
_CHARS: Final = 160
_SAID: Final = {
    "succeeded": "succeeded", "failed": "failed", "denied": "was denied", "cancelled": "was cancelled",
    "timed_out": "ran out of time",
}  # fmt: skip
_MARKDOWN: Final = frozenset("\\`*_{}[]()#+-.!|~=>")
_ENTITIES: Final = {"<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&quot;", "'": "&#39;"}


def page(statement: Mapping[str, Any], *, key_id: str) -> str:
    """The page. It says what to verify it with; it is not what is signed."""
    build = statement["predicate"]["buildDefinition"]
    asked, known = build["externalParameters"], build["internalParameters"]
    details = statement["predicate"]["runDetails"]
    metadata = details["metadata"]
    run_id = metadata["invocationId"]
    blocks = [
        [f"# Receipt of {text(run_id)}"],
        [_story(asked, known, metadata)],
        _table(_facts(asked, known, build, details)),
        ["## Steps", "", *_steps(known["steps"])],
        _listed("Commits", [f"`{s['digest']['gitCommit']}` on {text(s['name'])}" for s in _of(statement, "gitCommit")]),
        _listed("Artifacts", [_artifact(s) for s in _of(statement, "sha256") if s["name"] != run_id]),
        _listed("Approvals", [_approval(item) for item in known["approvals"]]),
        _listed("Done outside", [_effect(item) for item in known["effects"]]),
        _listed("Params", [f"{text(k)}: {text(canonical(v))}" for k, v in sorted(asked["params"].items())]),
        _listed("Made with", _made_with(known)),
        ["## Verify", "", "    builderos verify-receipt receipt.json --key KEY", "",
         f"KEY is the server's public key, noted when it was set up; this one is `{key_id}`."],
    ]  # fmt: skip
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def text(value: object) -> str:
    """Anything as plain text inside a line of Markdown that is also safe as HTML."""
    said = str(value)
    said = said if len(said) <= _CHARS else said[: _CHARS - 1] + "…"
    return "".join(_escaped(char) for char in said)


def _escaped(char: str) -> str:
    if char in _ENTITIES:
        return _ENTITIES[char]
    if char in _MARKDOWN:
        return "\\" + char
    return char if char.isprintable() else " "


def _story(asked: Mapping[str, Any], known: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    where = f" on branch {text(asked['branch'])} of {text(asked['repository'])}" if asked["branch"] else ""
    ended = _SAID.get(known["status"], text(known["status"]))
    took = span(known["timeToShipSeconds"])
    return f"**{text(asked['pipeline'])}**{where} {ended} at {metadata['finishedOn']}, {took} after it was asked for."


def _facts(
    asked: Mapping[str, Any], known: Mapping[str, Any], build: Mapping[str, Any], details: Mapping[str, Any]
) -> list[tuple[str, str]]:
    ledger, base = known["ledger"], [d for d in build["resolvedDependencies"] if "gitCommit" in d["digest"]]
    rows = [
        ("Time to ship", span(known["timeToShipSeconds"])),
        ("Started by", f"{text(known['actor'])} ({text(asked['trigger'].get('type', 'manual'))})"),
        ("Began at", details["metadata"]["startedOn"]),
        ("Made from", f"`{base[0]['digest']['gitCommit']}`" if base else "no repository"),
        ("Definition", f"`{build['resolvedDependencies'][0]['digest']['sha256']}`"),
        ("Policy", f"`{known['policyDigest']}`" if known["policyDigest"] else "as shipped"),
    ]
    if ledger:
        rows.append(("Ledger", f"lines {ledger['fromSeq']} to {ledger['toSeq']}"))
    return rows


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]


def _steps(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    head = ["| step | ended | took | ran in |", "|---|---|---|---|"]
    return [*head, *_some([_step(step) for step in steps], "| … | and {} more | | |")]


def _step(step: Mapping[str, Any]) -> str:
    ended = f"{step['status']} ({step['reason']})" if "reason" in step else step["status"]
    if "servedFrom" in step:
        ended += f", from {step['servedFrom']}"
    if step["attempt"] > 1:
        ended += f", attempt {step['attempt']}"
    began, over = step.get("startedOn"), step.get("finishedOn")
    took = (
        span((datetime.fromisoformat(over) - datetime.fromisoformat(began)).total_seconds())
        if began and over
        else ""
    )
    where = text(step.get("runtime", "")) + (" (weak sandbox)" if step.get("tier") == "weak" else "")
    return f"| {text(step['name'])} | {text(ended)} | {took} | {where.strip()} |"


def _artifact(subject: Mapping[str, Any]) -> str:
    return f"{text(subject['name'])} – `sha256:{subject['digest']['sha256']}`"


def _approval(item: Mapping[str, Any]) -> str:
    said = "; ".join(
        f"{text(d['who'])} said {text(d['verdict'])} on {text(d['when'])}" for d in item["decisions"]
    )
    own = " (the own request)" if item.get("selfApproved") else ""
    return f"{text(item['action'])}: {text(item['state'])}{own}" + (f" – {said}" if said else "")


def _effect(item: Mapping[str, Any]) -> str:
    return f"{text(item['kind'])} of {text(item['key'])}: {text(item['state'])}"


def _made_with(known: Mapping[str, Any]) -> list[str]:
    names = (("prompts", "prompt"), ("agents", "agent"), ("tools", "tool"), ("runtimes", "runtime"))
    return [f"{word} {text(k)} – {text(v)}" for name, word in names for k, v in sorted(known[name].items())]


def _of(statement: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    return [subject for subject in statement["subject"] if kind in subject["digest"]]


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return [f"## {title}", "", *_some([f"- {line}" for line in lines], "- … and {} more")]


def _some(lines: list[str], more: str) -> Iterable[str]:
    return lines if len(lines) <= _LINES else [*lines[:_LINES], more.format(len(lines) - _LINES)]


def span(seconds: float) -> str:
    """A length of time as people say it: `0.42 s`, `3 min 5 s`, `2 h 1 min`, `3 days 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 2 * 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} days {whole % 86_400 // 3600} h"
