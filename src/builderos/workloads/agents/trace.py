"""Which session of which agent wrote which lines of a commit, for tools that are not ours.

A record has the form of Agent Trace 0.1 (agent-trace.dev). It is worked out when it is asked for, from the journal:
each session has the tree that it began with and the one that it left. A line of the commit belongs to the last session
that brought it in. Nothing that a commit says of itself is taken for more than a claim.
"""

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, cast

import sqlalchemy as sa
from pydantic import Field

from builderos import VERSION
from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.service import Scratch
from builderos.assets.workspaces import service as workspaces
from builderos.core.clock import rfc3339
from builderos.core.problems import Problem
from builderos.core.schema import In, Json, Line, Out
from builderos.core.settings import Settings
from builderos.core.unit import Unit
from builderos.execution.runs import service as runs

from .model import calls, sessions
from .telling import model_of

FORMAT: Final = "0.1"
MAX_FILES: Final = 1_000
MAX_FILE: Final = 1024 * 1024
_SPACE: Final = uuid.UUID("6b0f3a52-0a0e-5c0b-9b63-6d1f5e7b2c11")


class TraceIn(In):
    """Of which commit."""

    id: Annotated[Line, Field(description="The commit: 40 hexadecimal digits.")]


class TraceOut(Out):
    """A record of Agent Trace 0.1, as agent-trace.dev describes it."""

    version: str
    id: str
    timestamp: str
    vcs: dict[str, str]
    tool: dict[str, str]
    files: list[dict[str, Json]]
    metadata: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Wrote:
    """A session that left something else than it found. `model`: who answered, as commits name it; `model_id`: the
    last of them, `provider/model` as far as it is known."""

    step_id: str
    number: int
    agent: str
    prompt: str
    model: str
    model_id: str
    before: str
    after: str

    @property
    def name(self) -> str:
        """What the session goes by."""
        return f"{self.step_id}.{self.number}"


def trace(unit: Unit, body: TraceIn) -> TraceOut:
    """The record of a commit. Raises `not_found`, also for what the caller may not read."""
    found = workspaces.find_commit(unit, body.id)
    run_id, wrote = sessions_of(unit, found)
    written = _Written(unit, found, wrote)
    address = unit.get(Settings).address
    files = [
        {"path": path, "conversations": list(_conversations(address, run_id, owners, text, _others(found)))}
        for path, text, owners in written.files()
    ]
    line = found.line
    about: dict[str, Any] = {
        "run_id": run_id, "ledger_line": line["seq"] if line is not None else None,
        "sessions": {
            one.name: {"agent": one.agent, "prompt": one.prompt, "model": one.model} for one in wrote
        },
        "left_out": written.left_out,
    }  # fmt: skip
    return TraceOut(
        version=FORMAT, id=str(uuid.uuid5(_SPACE, found.sha)), timestamp=rfc3339(found.commit.committed_at),
        vcs={"type": "git", "revision": found.sha}, tool={"name": "builderos", "version": VERSION},
        files=cast("list[dict[str, Any]]", files),
        metadata={"dev.builderos": {name: value for name, value in about.items() if value}},
    )  # fmt: skip


def author_of(unit: Unit, found: workspaces.Found, path: str, line: int) -> str | None:
    """The session that wrote a line of a commit, in a sentence; None where none did."""
    run_id, wrote = sessions_of(unit, found)
    if run_id is None or not wrote:
        return None
    owner = _Written(unit, found, wrote).owner(path, line)
    if owner is None:
        return None
    return (
        f"Session {owner.name} of agent {owner.agent} wrote the line, with model {owner.model} "
        f"and prompt {owner.prompt}."
    )


def sessions_of(unit: Unit, found: workspaces.Found) -> tuple[str | None, list[Wrote]]:
    """The run that made a commit, and its sessions that changed something, the first one first.

    What a message or its trailers say plays no part in it: the run has to know the commit as its own.
    """
    payload: Mapping[str, Any] = found.line["payload"] if found.line is not None else {}
    run_id = payload.get("run_id")
    if not isinstance(run_id, str):
        return None, []
    try:
        run = runs.seen_run(unit, run_id)
    except Problem:  # not a run, or not for the caller to see
        return None, []
    if found.sha not in run.commits:
        return None, []
    c = sessions.c
    wanted = sa.select(sessions).where(c.org_id == unit.org_id, c.run_id == run_id, c.state == "ended")
    rows = unit.execute(wanted.order_by(c.started_at, c.step_id, c.number)).all()
    lost = _lost(unit, dict.fromkeys(row.step_id for row in rows))
    told = [
        _wrote(unit, row)
        for row in rows
        if row.outcome["tree"] != row.tree and row.outcome["tree"] not in lost
    ]
    return run_id, [one for one in told if one is not None]


def _lost(unit: Unit, step_ids: Iterable[str]) -> set[str]:
    """Trees of proposals that were not chosen."""
    found: set[str] = set()
    for step_id in step_ids:
        result: Mapping[str, Any] = runs.seen_step(unit, step_id)[1].result
        proposals: Mapping[str, str] = result.get("proposals") or {}
        chosen = proposals.get(str(result.get("choice")))
        found |= {tree for tree in proposals.values() if tree != chosen}
    return found


def _wrote(unit: Unit, row: Any) -> Wrote | None:
    made: Mapping[str, Any] = row.outcome.get("result", {}).get("made_with") or {}
    if not made:
        return None
    model = str(made.get("model") or "")
    c = calls.c
    answered = sa.select(c.response["provider"].label("provider"), c.response["model"].label("model")).where(
        c.org_id == unit.org_id, c.step_id == row.step_id, c.session == row.number, c.kind == "model",
        c.response["model"].astext.is_not(None),
    )  # fmt: skip
    last = unit.execute(answered.order_by(c.n.desc()).limit(1)).one_or_none()
    model_id = model_of({"provider": last.provider, "model": last.model}) if last is not None else model
    return Wrote(
        row.step_id, row.number, str(made["agent"]), str(made["prompt"]), model, model_id, row.tree,
        row.outcome["tree"],
    )  # fmt: skip


# -------------------------------------------------------------------- lines


class _Written:
    """The lines that a commit brought in, by who wrote them."""

    def __init__(self, unit: Unit, found: workspaces.Found, wrote: Sequence[Wrote]) -> None:
        branch = found.branch
        repositories.ready(unit, branch)
        self._scratch = Scratch.of(unit.context, unit.org_id, branch.repo_id, branch.store)
        parents = found.commit.parents
        self._after = found.commit.tree.hex()
        self._before = self._scratch.tree_of(parents[0].hex()) if parents else repositories.EMPTY_TREE.hex()
        self._wrote = list(wrote)
        self.left_out = 0

    def files(self) -> Iterator[tuple[str, list[bytes], dict[int, Wrote | None]]]:
        """Path, lines, and number of a line that was brought in → who wrote it."""
        changes = self._scratch.changes(self._before, self._after)
        for number, path in enumerate(sorted(changes)):
            text = self._text(self._after, path)
            if number >= MAX_FILES or text is None:
                self.left_out += changes[path][1] is not None
                continue
            owners = self._owners(path, text)
            if owners:
                yield path, text.splitlines(keepends=True), owners

    def owner(self, path: str, line: int) -> Wrote | None:
        """Who wrote a line."""
        text = self._text(self._after, path)
        return self._owners(path, text).get(line) if text is not None else None

    def _owners(self, path: str, text: bytes) -> dict[int, Wrote | None]:
        owners: dict[int, Wrote | None] = dict.fromkeys(_added(self._text(self._before, path) or b"", text))
        for one in reversed(self._wrote):
            try:
                was, now = self._entry(one.before, path), self._entry(one.after, path)
                if now is None or now == was:
                    continue
                left = self._text(one.after, path) or b""
                mine = _added(self._text(one.before, path) or b"", left)
            except (KeyError, Problem):  # its trees were removed meanwhile
                continue
            for line, became in _kept(left, text):
                if line in mine and became in owners and owners[became] is None:
                    owners[became] = one
        return owners

    def _entry(self, tree: str, path: str) -> bytes | None:
        entry = self._scratch.entry(tree, path)
        return entry.oid if entry is not None and entry.is_file else None

    def _text(self, tree: str, path: str) -> bytes | None:
        oid = self._entry(tree, path)
        data = self._scratch.read(oid) if oid is not None else None
        return None if data is None or len(data) > MAX_FILE or b"\0" in data[:8_192] else data


def _added(before: bytes, after: bytes) -> set[int]:
    return {
        line for _, _, start, count in Scratch.hunks(before, after) for line in range(start, start + count)
    }


def _kept(before: bytes, after: bytes) -> Iterator[tuple[int, int]]:
    """Numbers of the lines that are in both: before, after."""
    old = new = 1
    for old_start, old_lines, new_start, new_lines in Scratch.hunks(before, after):
        until = old_start if old_lines else old_start + 1  # of nothing, git tells the line before it
        while old < until:
            yield old, new
            old, new = old + 1, new + 1
        old = until + old_lines
        new = (new_start if new_lines else new_start + 1) + new_lines
    rest = before.count(b"\n") + (before[-1:] not in (b"", b"\n"))
    while old <= rest:
        yield old, new
        old, new = old + 1, new + 1


# -------------------------------------------------------------------- the record


def _others(found: workspaces.Found) -> dict[str, str]:
    """Who is behind lines that no session wrote: a member who names no agent; else nobody knows."""
    line = found.line
    if line is None:
        return {"type": "unknown"}
    claims: Mapping[str, Any] = line["payload"]
    if claims.get("agent_version"):
        return {"type": "unknown" if claims.get("run_id") else "ai"}
    return {"type": "human" if str(line["actor"]).startswith("usr_") else "unknown"}


def _conversations(
    address: str,
    run_id: str | None,
    owners: Mapping[int, Wrote | None],
    lines: Sequence[bytes],
    others: dict[str, str],
) -> Iterator[dict[str, Any]]:
    for one in dict.fromkeys(owners.values()):
        numbers = sorted(number for number, owner in owners.items() if owner == one)
        ranges = [_range(start, end, lines) for start, end in _stretches(numbers)]
        if one is None:
            yield {"contributor": others, "ranges": ranges}
            continue
        prompt = one.prompt.partition("#")[0]
        model = {"model_id": one.model_id[:250]} if one.model_id else {}
        yield {
            "url": f"{address}/v1/steps/{one.step_id}/calls",
            "contributor": {"type": "ai", **model},
            "ranges": ranges,
            "related": [
                {"type": "run", "url": f"{address}/v1/runs/{run_id}"},
                {"type": "prompt", "url": f"{address}/v1/prompts/{prompt}"},
            ],
        }


def _stretches(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for at, number in enumerate(numbers):
        if at + 1 == len(numbers) or numbers[at + 1] != number + 1:
            yield numbers[start], number
            start = at + 1


def _range(start: int, end: int, lines: Sequence[bytes]) -> dict[str, Any]:
    """The hash is of the lines themselves, each ended by LF: the same wherever they are moved to."""
    content = b"".join(line.rstrip(b"\r\n") + b"\n" for line in lines[start - 1 : end])
    return {
        "start_line": start,
        "end_line": end,
        "content_hash": f"sha256:{hashlib.sha256(content).hexdigest()}",
    }
