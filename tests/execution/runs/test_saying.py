"""What commands say by name: later steps read it, the tree does not hold it, and nobody says more than he may."""

from collections.abc import Iterator

import pytest

from tests.support.databases import Databases
from tests.support.runs import Ship, ship_in_temp

SECRET = "a-value-that-no-result-may-hold"
SAYS = r"""
steps:
  - id: count
    run: |
      mkdir sub && cd sub
      echo '{"files": 3, "word": "SECRET"}' >> "$BUILDEROS_OUTPUT"
      echo '{"files": 4, "exit_code": 9, "made_with": {"agent": "x"}, "list": [1, {"a": null}]}' >> "$BUILDEROS_OUTPUT"
      echo kept > here.txt
  - {id: tool, python: "tool:twice", inputs: {n: 21}}
  - {id: plain, python: "tool:plain"}
  - id: use
    needs: [count, tool, plain]
    when: "steps.count.outputs.files > 3 and steps.tool.outputs.n == 42 and steps.count.outputs.exit_code == 0"
    run: 'echo "$N $W $P" > said.txt; ls -A > names.txt'
    env:
      N: "${{ steps.count.outputs.files }}"
      W: "${{ steps.count.outputs.word }}"
      P: "${{ steps.plain.outputs.value }}"
  - {id: not, needs: [count], when: "steps.count.outputs.files < 4", run: "true"}
  - {id: save, needs: [use], action: git.commit, inputs: {message: Said}}
"""
TOOL = "def twice(n):\n    return {'n': 2 * n}\n\n\ndef plain():\n    return 'plain'\n"


@pytest.fixture(scope="module")
def ship(databases: Databases) -> Iterator[Ship]:
    with databases.fresh() as database, ship_in_temp(database) as made:
        secret = {"key_name": "SHY", "value": SECRET}
        made.world.ok(made.world.as_owner("POST", "/v1/secrets", json=secret), 201)
        yield made


def test_later_steps_read_what_a_command_has_said_and_the_branch_does_not_hold_it(ship: Ship) -> None:
    name = ship.pipeline(SAYS.replace("SECRET", SECRET), {"tool.py": TOOL})
    body = {"pipeline": name, "repo_name": ship.box.repo_name, "branch": ship.box.branch}
    run = ship.until(ship.world.ok(ship.world.as_owner("POST", "/v1/runs", json=body), 202)["run_id"])

    assert run["status"] == "succeeded", run
    steps = ship.steps(run)
    assert steps["not"]["status"] == "skipped"
    result = steps["count"]["result"]
    assert (result["exit_code"], "made_with" in result) == (0, False)
    assert result["outputs"]["list"] == [1, {"a": None}]
    assert SECRET not in str(run)
    files = {
        path: ship.box.post("/system/fetch_files", path=path)["files"] for path in ("said.txt", "names.txt")
    }
    assert files["said.txt"][0]["content"].startswith("4 ")
    assert files["said.txt"][0]["content"].endswith(" plain\n")
    assert ".builderos-output" not in files["names.txt"][0]["content"]
    assert not ship.box.post("/system/fetch_files", path=".builderos-output")["files"]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo '[1]' >> $BUILDEROS_OUTPUT", "no JSON object"),
        ("echo '{' >> $BUILDEROS_OUTPUT", "no JSON"),
        ("echo '{\"a b\": 1}' >> $BUILDEROS_OUTPUT", "one that is none"),
        ("head -c 70000 /dev/zero >> $BUILDEROS_OUTPUT", "more than 65536 bytes"),
        ("printf '\\377' >> $BUILDEROS_OUTPUT", "no text"),
        ("ln -s /etc/passwd $BUILDEROS_OUTPUT", "no text"),
        ("mkdir $BUILDEROS_OUTPUT", "no text"),
    ],
)
def test_what_is_no_list_of_names_fails_the_step(ship: Ship, script: str, why: str) -> None:
    run = ship.done(f"steps:\n  - id: x\n    run: |\n      {script}\n")
    step = ship.steps(run)["x"]
    assert (run["status"], step["status"]) == ("failed", "failed")
    assert why in step["error"]
    assert "root:" not in str(run)
