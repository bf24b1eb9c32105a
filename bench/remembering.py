"""Finding among many things that are remembered: how much of the exact answer, how quickly, at what cost.

The texts are real ones: passages of the Python sources that lie on this machine, in the words of hundreds of authors.
The questions are passages of other places of the same files, so they are near to some and equal to none.
"""

import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from builderos.assets.memory import ngrams
from builderos.assets.memory.recalling import EXACT, recall
from builderos.assets.memory.service import Scope
from builderos.assets.memory.vectors import as_text
from builderos.core.ids import new_id
from builderos.core.unit import Call, Unit, perform
from builderos.integrations.embedded_postgres import service as embedded_postgres

from .report import Report
from .stage import REPO, Home

CHUNK: Final = 2000
ASKED: Final = 100
K: Final = 10
ITEMS: Final = (
    "copy ops.memory_items (id, org_id, repo_id, branch_id, agent, run_id, tier, fact, body, tags, source, version, "
    "pinned, created_by, created_at, changed_by, changed_at) from stdin"
)
VECTORS: Final = (
    "copy ops.memory_vectors (item_id, org_id, repo_id, branch_id, agent, run_id, tier, model, dim, until, emb) "
    "from stdin"
)
RECALL: Final = (
    "select item_id, similarity "
    "from ops.recall(%s, array[''], array[''], '', array['vector'], %s, %s, %s, -1, %s, %s, now()) "
    "limit %s"
)


@dataclass(frozen=True)
class Question:
    """A text and its vector."""

    text: str
    vector: str


def remembering(report: Report, home: Home, place: Path, count: int, *, rival: bool) -> None:
    """Fill one repository's memory, then ask it: exactly, through the index, and as a whole."""
    texts = passages(count + 3 * ASKED)
    rng = random.Random(7)
    rng.shuffle(texts)
    questions = [Question(t[: len(t) // 2], as_text(ngrams.vector(t[: len(t) // 2]))) for t in texts[:ASKED]]
    texts = texts[3 * ASKED :][:count]
    repo_id = _repository(home)
    superuser = embedded_postgres.start(home.path).superuser_conninfo
    with psycopg.connect(superuser, autocommit=True) as connection:
        made = _fill(connection, home.org_id, repo_id, texts)
        report.shown(
            "a vector of a text, made without a model [ms]", made, "CPU; pieces of words, pure Python"
        )
        _compare(report, home, repo_id, questions, count)
        _whole(report, home, repo_id, questions, count)
        ours = _cpu_ms(home, repo_id, questions)
        connection.execute(
            "delete from ops.memory_items where repo_id = %s and created_by = 'act_bench'", (repo_id,)
        )
    if rival:
        theirs = _sqlite_vec(place, texts, questions)
        how = f"{ours:.2f} ms ÷ {theirs:.2f} ms of CPU; {count:,} items, {ngrams.DIM} numbers each, flat scan"
        report.at_most("recall ÷ sqlite-vec, CPU of a question", ours / theirs, 0.1, how)


def passages(count: int) -> list[str]:
    """So many different passages of three lines, as people wrote them."""
    found: dict[str, None] = {}
    roots = [Path(sysconfig.get_paths()[name]) for name in ("purelib", "stdlib")]
    files = itertools.chain.from_iterable(sorted(root.rglob("*.py")) for root in roots)
    for file in files:
        for text in _of(file):
            found[text] = None
        if len(found) >= count:
            return list(found)[:count]
    raise RuntimeError(f"there are only {len(found)} passages on this machine")


def _of(file: Path) -> Iterator[str]:
    lines = [" ".join(line.split()) for line in file.read_text(errors="replace").splitlines()]
    lines = [line for line in lines if len(line) > 20]
    for at in range(0, len(lines) - 2, 3):
        text = "\n".join(lines[at : at + 3]).replace("\x00", "")
        if len(text) <= 1000:
            yield text


def _repository(home: Home) -> str:
    page = home.run("listRepos", home.owner)
    return next(repo.id for repo in page.items if repo.repo_name == REPO)


def _fill(connection: psycopg.Connection[Any], org_id: str, repo_id: str, texts: list[str]) -> float:
    """Rows and vectors; returns the CPU of making a vector, in milliseconds."""
    index = "memory_vectors_512"
    (definition,) = connection.execute(
        "select indexdef from pg_indexes where schemaname = 'ops' and indexname = %s", (index,)
    ).fetchone() or ("",)
    connection.execute(f"drop index ops.{index}")  # made anew in one go it costs a part
    spent, cursor = 0.0, connection.cursor()
    for at in range(0, len(texts), CHUNK):
        part = [(new_id("mem"), text) for text in texts[at : at + CHUNK]]
        began = time.process_time()
        made = [ngrams.vector(text) for _, text in part]
        spent += time.process_time() - began
        with cursor.copy(ITEMS) as into:
            for id_, text in part:
                into.write_row((id_, org_id, repo_id, "", "", "", "vector", "", text, [], "{}", 1, False,
                                "act_bench", "2026-11-01Z", "act_bench", "2026-11-01Z"))  # fmt: skip
        with cursor.copy(VECTORS) as into:
            for (id_, _), vector in zip(part, made, strict=True):
                into.write_row((id_, org_id, repo_id, "", "", "", "vector", ngrams.NAME, len(vector), None,
                                as_text(vector)))  # fmt: skip
    connection.execute(definition)
    connection.execute("vacuum (analyze) ops.memory_items, ops.memory_vectors")
    return spent / len(texts) * 1e3


def _near(unit: Unit, repo_id: str, question: Question, exact: int) -> list[float]:
    """How near the nearest are, nearest first."""
    asked = (repo_id, "", question.vector, ngrams.NAME, 50, exact, K)
    return [row[1] for row in unit.driver.execute(RECALL, asked)]


def _compare(report: Report, home: Home, repo_id: str, questions: list[Question], count: int) -> None:
    """The index against every vector. Found is what is as near as the tenth: of equals any will do."""
    exactly: list[float] = []
    quickly: list[float] = []
    hits = 0

    def one(unit: Unit, question: Question) -> int:
        began = time.perf_counter()
        exact = _near(unit, repo_id, question, 10**9)
        between = time.perf_counter()
        near = _near(unit, repo_id, question, 0)
        exactly.append((between - began) * 1e3)
        quickly.append((time.perf_counter() - between) * 1e3)
        return sum(similarity >= exact[-1] for similarity in near)

    for question in questions:
        hits += perform(home.context, Call(home.owner), lambda unit, q=question: one(unit, q), read_only=True)
    how = f"{count:,} items, {len(questions)} questions; found by the index against all compared"
    report.at_least(f"recall@{K} of vectors", hits / (K * len(questions)), 0.99, how)
    report.shown("vectors by the index [ms]", statistics.median(quickly), f"p50; {count:,} items")
    report.shown("vectors, all compared [ms]", statistics.median(exactly), f"p50; {count:,} items")


def _whole(report: Report, home: Home, repo_id: str, questions: list[Question], count: int) -> None:
    """A question as agents ask it: its vector made, words and vectors looked for, both fused, the items read."""
    scope, took = Scope(repo_id), list[float]()
    for question in questions:
        began = time.perf_counter()
        found = perform(
            home.context,
            Call(home.owner),
            lambda unit, q=question: recall(unit, scope, q.text, K),
            read_only=True,
        )
        took.append((time.perf_counter() - began) * 1e3)
        if not found.items:
            raise RuntimeError("nothing was found")
    spread = statistics.quantiles(took, n=20)
    way = "by the index" if count > EXACT // 5 else "all compared"
    how = f"{count:,} items, {way}; p95 {spread[-1]:.1f} ms; policy aside, in process"
    report.at_most("recall by words and vectors [ms]", statistics.median(took), 15, how)


def _cpu_ms(home: Home, repo_id: str, questions: list[Question]) -> float:
    """CPU of one question for vectors alone: of this process and of the database's."""

    def all_(unit: Unit) -> float:
        row = unit.driver.execute("select pg_backend_pid()").fetchone()
        assert row is not None
        own, backend = time.process_time(), _spent(row[0])
        for question in questions:
            _near(unit, repo_id, question, EXACT)
        return time.process_time() - own + _spent(row[0]) - backend

    perform(home.context, Call(home.owner), all_, read_only=True)
    return perform(home.context, Call(home.owner), all_, read_only=True) / len(questions) * 1e3


def _spent(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# Through apsw: the sqlite3 of many Pythons cannot load extensions.
_RIVAL = """
import json, struct, sys, time
import apsw, sqlite_vec
data = json.load(open(sys.argv[1]))
db = apsw.Connection(":memory:")
db.enable_load_extension(True)
db.load_extension(sqlite_vec.loadable_path())
dim = len(json.loads(data["questions"][0]))
db.execute(f"create virtual table v using vec0(emb float[{dim}] distance_metric=cosine)")
pack = lambda text: struct.pack(f"{dim}f", *json.loads(text))
with open(sys.argv[2]) as lines, db:
    db.executemany("insert into v(emb) values (?)", ((pack(line),) for line in lines))
questions = [pack(text) for text in data["questions"]]
ask = lambda q: db.execute("select rowid from v where emb match ? order by distance limit 10", (q,)).fetchall()
ask(questions[0])
began = time.process_time()
for question in questions:
    ask(question)
print((time.process_time() - began) / len(questions) * 1e3)
"""


def _sqlite_vec(place: Path, texts: list[str], questions: list[Question]) -> float:
    """CPU of one question of its flat scan over the same vectors, in milliseconds; in an environment of its own."""
    env = place / "sqlite-vec"
    subprocess.run([sys.executable, "-m", "venv", str(env)], check=True)
    python = env / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", "sqlite-vec", "apsw"], check=True)
    asked, lines = place / "questions.json", place / "vectors.txt"
    asked.write_text(json.dumps({"questions": [q.vector for q in questions]}))
    with lines.open("w") as file:
        file.writelines(as_text(ngrams.vector(text)) + "\n" for text in texts)
    done = subprocess.run(
        [str(python), "-c", _RIVAL, str(asked), str(lines)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)
