"""What a change could do, said before it is approved."""

import pytest

from builderos.trust.policy.risk import assess
from tests.support.lab import Lab


@pytest.mark.parametrize(
    ("paths", "deleted", "lines", "risk", "reasons"),
    [
        (["src/a.py"], [], 400, "low", []),
        (["src/a.py"], [], 401, "medium", ["401 changed lines are more than 400"]),
        (["a/requirements-dev.txt"], [], 1, "medium", ["changes dependencies: a/requirements-dev.txt"]),
        (["Cargo.lock", "go.mod"], [], 1, "medium", ["changes dependencies: Cargo.lock, go.mod"]),
        (
            [".github/workflows/ci.yml"],
            [],
            1,
            "medium",
            ["changes workflows or rules: .github/workflows/ci.yml"],
        ),
        (["builderos.policy.yaml"], [], 1, "medium", ["changes workflows or rules: builderos.policy.yaml"]),
        (["db/migrations/7.py"], [], 1, "high", ["changes the schema of a database: db/migrations/7.py"]),
        (["seed.sql"], [], 1, "high", ["changes the schema of a database: seed.sql"]),
        (["b", "a"], ["b", "a"], 1, "high", ["deletes a, b"]),
        (list("abcde"), list("abcde"), 1, "high", ["deletes a, b, c and 2 more"]),
        (["src/requirements.py", "docs/migration.md", "sql"], [], 1, "low", []),
    ],
)
def test_the_risk_of_a_change_has_reasons(
    paths: list[str], deleted: list[str], lines: int, risk: str, reasons: list[str]
) -> None:
    assert assess(target="dev", main=False, paths=paths, deleted=deleted, lines=lines) == (risk, reasons)
    found = assess(target="main", main=True, paths=paths, deleted=deleted, lines=lines)
    assert found[0] == "high"
    assert found[1][0] == "changes main"
    assert sorted(found[1][1:]) == sorted(reasons)


def test_whoever_approves_reads_why_it_is_risky(lab: Lab) -> None:
    box = lab.open_sandbox()
    box.commit({"README.md": None, "requirements.txt": "x==1\n"})
    asked = lab.ok(box.try_post("/git/promote", title="Trim"))["approval_id"]
    found = lab.ok(lab.as_owner("GET", f"/v1/approvals/{asked}"))
    assert found["risk"] == "high"
    assert found["risk_reasons"] == [
        "changes main",
        "deletes README.md",
        "changes dependencies: requirements.txt",
    ]
