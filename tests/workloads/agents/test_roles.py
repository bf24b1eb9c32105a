"""The roles at work on seeded repositories: the reviewer blocks, the deployer takes back, the migration applies."""

import pytest

from tests.support.deploying import STATIC, Harbour
from tests.support.models import Json, Scripted, say, use
from tests.support.runs import Ship

UNSAFE = """import sqlite3


def find(name):
    rows = sqlite3.connect("lab.db").execute(f"select * from users where name = '{name}'")
    return list(rows)
"""
REVIEW = """
steps:
  - {id: review, agent: reviewer, title: "Review src/users.py"}
  - {id: pr, needs: [review], action: git.open_pr, inputs: {title: Users, target: main}}
"""
FINDING = {"path": "src/users.py", "line": 5, "severity": "blocker",
           "message": "A name from outside becomes a part of the SQL."}  # fmt: skip


def verdict(word: str, *findings: Json, risk: str = "high") -> Json:
    answer = {"verdict": word, "risk": risk, "summary": "Looked at it.", "findings": list(findings)}
    return use(("final_answer", answer))


def test_the_reviewer_blocks_a_high_risk_change_by_file_and_line_and_nothing_is_proposed(
    ship: Ship, model: Scripted
) -> None:
    ship.box.commit({"src/users.py": UNSAFE})
    model.lines["reviewer"] = [use(("read_file", {"path": "src/users.py"})), verdict("block", FINDING)]
    run = ship.done(REVIEW)
    assert ship.statuses(run) == {"review": "failed", "pr": "skipped"}
    step = ship.steps(run)["review"]
    assert step["reason"] == "gate"
    assert step["error"] == (
        "Reviewer: block; src/users.py:5: A name from outside becomes a part of the SQL."
    )
    assert step["result"]["findings"] == [FINDING]
    assert UNSAFE.splitlines()[FINDING["line"] - 1].strip().startswith("rows = sqlite3")


def test_what_the_reviewer_lets_through_goes_on(ship: Ship, model: Scripted) -> None:
    ship.box.commit({"src/users.py": UNSAFE.replace('f"', '"').replace("'{name}'", "?")})
    model.lines["reviewer"] = [verdict("approve", risk="low")]
    run = ship.done(REVIEW)
    assert ship.statuses(run) == {"review": "succeeded", "pr": "succeeded"}


@pytest.mark.parametrize(
    "answer", ["looks good", '{"verdict": "approve"}', '{"verdict": "maybe", "risk": "low"}']
)
def test_a_verdict_that_is_none_passes_nothing(ship: Ship, model: Scripted, answer: str) -> None:
    model.lines["reviewer"] = [say(answer)] * 9
    run = ship.done(REVIEW)
    assert ship.statuses(run) == {"review": "failed", "pr": "skipped"}


DEPLOY = """
steps:
  - {id: preview, action: deploy.preview}
  - {id: probe, run: "grep -q two site/index.html", needs: [preview], on_fail: continue}
  - {id: decide, agent: deployer, title: Does it stay?, needs: [preview, probe], on_fail: rollback,
     inputs: {url: "${{ steps.preview.outputs.url }}"}}
"""


def test_the_deployer_takes_a_bad_version_back_and_the_one_before_serves_again(
    ship: Ship, model: Scripted
) -> None:
    harbour = Harbour(ship)
    ship.box.commit({"site/index.html": "<p>one</p>", "deploy.yaml": STATIC})
    good = harbour.deploy()
    url = ship.steps(good)["preview"]["result"]["url"]
    ship.box.commit({"site/index.html": "<p>broken</p>"})
    reason = "The probe found no 'two' on the page."
    model.lines["deployer"] = [use(("final_answer", {"decision": "rollback", "reason": reason}))]
    run = ship.done(DEPLOY)
    assert ship.steps(run)["decide"]["error"] == "Deployer: rollback"
    assert ship.steps(run)["decide"]["result"]["reason"] == reason
    assert harbour.deployment(run)["status"] == "rolled_back"
    assert "one" in harbour.until_says(url, "<p>one").text


MIGRATE = """
steps:
  - {id: write, agent: dataengineer, title: Give users an e-mail address}
  - id: apply
    needs: [write]
    run: |
      python3 - <<'EOF'
      import pathlib, sqlite3
      db = sqlite3.connect("lab.db")
      for file in sorted(pathlib.Path("migrations").glob("*.sql")):
          db.executescript(file.read_text())
      db.execute("insert into users(name, email) values ('Ada', 'ada@example.com')")
      assert db.execute("select name, email from users order by id").fetchall() == [
          ("Grace", ""), ("Ada", "ada@example.com")]
      EOF
"""
FIRST = "create table users(id integer primary key, name text not null);\ninsert into users(name) values ('Grace');\n"
SECOND = "alter table users add column email text not null default '';\n"
TRY = (
    "cat migrations/*.sql | python3 -c \"import sqlite3,sys; db = sqlite3.connect(':memory:'); "
    "db.executescript(sys.stdin.read()); print(db.execute('select name, email from users').fetchall())\""
)


def test_the_migration_of_the_data_engineer_is_tried_in_the_jail_and_applies(
    ship: Ship, model: Scripted
) -> None:
    ship.box.commit({"migrations/0001_users.sql": FIRST})
    wrong = "alter table users add column email text not null;\n"
    model.lines["dataengineer"] = [
        use(("write_file", {"path": "migrations/0002_email.sql", "content": wrong}), ("run_shell", {"command": TRY})),
        use(("write_file", {"path": "migrations/0002_email.sql", "content": SECOND}), ("run_shell", {"command": TRY})),
        say("Added migrations/0002_email.sql; tried on a fresh copy."),
    ]  # fmt: skip
    run = ship.done(MIGRATE)
    assert ship.statuses(run) == {"write": "succeeded", "apply": "succeeded"}, run["steps"][1]["error"]
    told = [m["content"] for m in model.requests("dataengineer")[-1]["messages"] if m["role"] == "tool"]
    assert "Cannot add a NOT NULL column" in told[1]
    assert told[3] == "[exit code 0]\n[('Grace', '')]\n"
