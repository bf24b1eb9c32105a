"""Before a suite is tried: which one, on which prompt, against what, and what was tried before a crash."""

import hashlib
import json
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from builderos.assets.prompts import service as prompts
from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.service import Scratch, parse_tree
from builderos.core.problems import Problem
from builderos.core.steps import Work
from builderos.core.unit import Unit
from builderos.core.versions import is_version, rank_of
from builderos.core.yamlwords import ID
from builderos.trust.policy import service as policy

from .model import eval_trials, evals
from .reading import FOLDER, file_of, parse
from .running import Trial
from .suite import MAX_REPEATS, Provider, Suite

NO_BASELINE: Final = "none"
MAX_TRIES: Final = 20_000


@dataclass(frozen=True, slots=True)
class Opened:
    """Everything that a run of a suite stands on."""

    suite: Suite
    digest: str
    version: prompts.PromptVersion | None
    judge: prompts.PromptVersion
    tree: str
    scratch: Scratch
    baseline: Mapping[str, Any] | None
    known: dict[tuple[str, int], Trial]
    counts: bool
    begun: datetime


class TreeFiles:
    """Files of one tree."""

    def __init__(self, scratch: Scratch, tree: str) -> None:
        self._scratch = scratch
        self._tree = tree

    def read(self, path: str, /) -> bytes | None:
        """The bytes of a regular file; None for anything else."""
        entry = self._scratch.entry(self._tree, path) if _is_inside(path) else None
        if entry is None or not entry.is_file:
            return None
        return self._scratch.read(entry.oid)

    def list(self, folder: str, /) -> list[str]:
        """Names directly inside a folder."""
        entry = self._scratch.entry(self._tree, folder)
        if entry is None or not entry.is_tree:
            return []
        return [name.decode("utf-8", "surrogateescape") for name in parse_tree(self._scratch.read(entry.oid))]


def open_suite(unit: Unit, work: Work) -> Opened:
    """Read the suite of a step from its tree. Raises `branch_required`, `not_found`, `validation_failed`.

    Inputs: `suite`, its name; `prompt`, another reference to try; `models`, others to try; `repeats`; `baseline`, a
    version of the prompt, a run, or `none`.
    """
    if work.branch_id is None:
        raise Problem("branch_required", "a suite lies on a branch", hint="Start the run with a branch.")
    branch = repositories.branch_by_id(unit, work.branch_id)
    repositories.ready(unit, branch)
    scratch = Scratch.of(unit.context, unit.org_id, work.repo_id, branch.store)
    tree = work.input_tree or work.base_tree or scratch.tree_of(str(work.base_sha))
    files = TreeFiles(scratch, tree)
    inputs = work.node.inputs
    suite = suite_at(files, str(inputs.get("suite") or ""))
    suite = _as_asked(suite, inputs)
    version = prompts.resolve(unit, suite.prompt, files=files) if suite.prompt is not None else None
    digest = _digest(suite, version)
    return Opened(
        suite=suite, digest=digest, version=version, judge=_judge(), tree=tree, scratch=scratch,
        baseline=_baseline(unit, work, suite, version, str(inputs.get("baseline") or "")),
        known=_known(unit, work, digest),
        counts=not inputs.get("models") and _may_publish(unit), begun=unit.now,
    )  # fmt: skip


def _may_publish(unit: Unit) -> bool:
    return policy.decide(unit, "prompt.publish", policy.org_resource(unit)).verdict == "allow"


def suite_at(files: prompts.Files, name: str) -> Suite:
    """The suite of a name among these files. Raises `not_found`, `validation_failed`."""
    if ID.match(name) is None:
        raise Problem(
            "validation_failed", f"{name[:80]!r} names no suite", hint="It is the file's name without .yaml."
        )
    data = files.read(file_of(name))
    if data is None:
        raise Problem("not_found", f"there is no {file_of(name)} on this branch", hint="Commit it first.")
    return parse(text_of(file_of(name), data), name=name, read_file=reader_of(files))


def reader_of(files: prompts.Files) -> Callable[[str], str | None]:
    """How a suite reads the files that it names, as seen from its own folder."""

    def read(path: str) -> str | None:
        place = posixpath.normpath(posixpath.join(FOLDER, path))
        data = files.read(place) if _is_inside(place) else None
        return text_of(place, data) if data is not None else None

    return read


def text_of(path: str, data: bytes) -> str:
    """The text of a file. Raises `validation_failed`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Problem("validation_failed", f"{path} is no text in UTF-8", hint="Save it as UTF-8.") from None


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    return (
        bool(path)
        and not path.startswith("/")
        and not {"", ".", "..", ".git"} & set(parts)
        and "\x00" not in path
    )


def _as_asked(suite: Suite, inputs: Mapping[str, Any]) -> Suite:
    changes: dict[str, Any] = {}
    if inputs.get("prompt"):
        if suite.prompt is None:
            raise Problem(
                "validation_failed", f"{suite.id} tries no prompt of the registry", hint="Leave prompt out."
            )
        changes["prompt"] = str(inputs["prompt"])
    if inputs.get("repeats"):
        repeats = int(inputs["repeats"])
        if not 1 <= repeats <= MAX_REPEATS:
            raise Problem(
                "validation_failed", f"repeats must be from 1 to {MAX_REPEATS}", hint="Ask for fewer."
            )
        changes["repeats"] = repeats
    if inputs.get("models"):
        changes["providers"] = tuple(Provider("model", str(model)) for model in inputs["models"])
    found = replace(suite, **changes)
    tries = len(found.cases) * max(1, len(found.templates)) * len(found.providers) * found.repeats
    if tries > MAX_TRIES:
        said = f"{found.id} would be tried {tries} times; the limit is {MAX_TRIES}"
        raise Problem(
            "quota_exceeded", said, hint="Cut it into several suites, or repeat less.", limit=MAX_TRIES
        )
    return found


def _digest(suite: Suite, version: prompts.PromptVersion | None) -> str:
    whole = [asdict(suite), version.sha256 if version is not None else None]
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _judge() -> prompts.PromptVersion:
    found = prompts.shipped.find("eval_judge")
    assert found is not None
    return found


def _baseline(
    unit: Unit, work: Work, suite: Suite, version: prompts.PromptVersion | None, asked: str
) -> Mapping[str, Any] | None:  # fmt: skip
    """The document to compare with: of the version that was asked for, else of the one below, else the newest one.

    Results of other people's branches count only where they count for gates.
    """
    if asked == NO_BASELINE:
        return None
    c = evals.c
    wanted = sa.select(c.document).where(
        c.suite == suite.id, c.run_id != work.run_id, c.repo_id == work.repo_id,
        sa.or_(c.branch_id == work.branch_id, c.counts),
    ).limit(1)  # fmt: skip
    if asked:
        wanted = wanted.where(c.version == asked if is_version(asked) else c.run_id == asked).order_by(
            c.id.desc()
        )
    elif version is not None:
        lower = c.rank < rank_of(version.version)
        wanted = wanted.where(c.prompt == version.name, lower).order_by(c.rank.desc(), c.id.desc())
    else:
        wanted = wanted.where(c.prompt.is_(None)).order_by(c.id.desc())
    found = unit.execute(wanted).scalar_one_or_none()
    if found is None and asked:
        hint = f"Run it first: builderos eval run {suite.id} with that version."
        raise Problem("not_found", f"{suite.id} has no result of {asked[:80]}", hint=hint)
    return found


def _known(unit: Unit, work: Work, digest: str) -> dict[tuple[str, int], Trial]:
    """What an attempt before this one has tried: no model is asked twice."""
    c = eval_trials.c
    wanted = sa.select(c.document).where(
        c.run_id == work.run_id, c.step == work.name, c.suite_digest == digest
    )
    trials = [Trial(**said) for said in unit.execute(wanted).scalars()]
    return {(trial.cell, trial.repeat): trial for trial in trials if not trial.error}
