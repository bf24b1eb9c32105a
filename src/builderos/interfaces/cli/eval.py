"""Evals: try a suite, look at what came of it, look a file over."""

import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from builderos.client.following import follow
from builderos.client.http import Client, Json

from .caller import Caller
from .commands import Noun
from .faults import FAILED
from .options import fields, on_branch, paged
from .output import table
from .run_follow import closing, code_of, path_of

FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
OUT: Final = click.Path(dir_okay=False, path_type=Path)
LIST: Final = (
    ("suite", "SUITE"), ("prompt", "PROMPT"), ("version", "VERSION"), ("verdict", "VERDICT"), ("pass_rate", "PASSED"),
    ("cases", "CASES"), ("regressions", "WORSE"), ("flaky", "FLAKY"), ("branch", "BRANCH"), ("run_id", "RUN"),
)  # fmt: skip
CASES: Final = (("id", "CASE"), ("status", "STATUS"), ("of", "TRIES"), ("reason", "REASON"))
_NAMED: Final = re.compile(r"(?<![\w/.-])(?:file://)?(?:\./)?([\w-][\w/.-]*\.(?:txt|md|json))\b")
_WORKFLOW: Final = Path(__file__).with_name("eval_workflow.yaml")


@click.group("eval", cls=Noun)
def command() -> None:
    """Try suites of cases on prompts and models."""


@command.command()
@click.argument("suite")
@click.option("--baseline", metavar="VERSION", help="What to compare with; a run, or none, too.")
@click.option("--prompt", metavar="NAME@VERSION", help="Another version to try.")
@click.option("--repeats", type=click.IntRange(1, 100), help="How often each case is tried.")
@click.option("--model", "models", multiple=True, help="Another model to try; repeat for more.")
@click.option("--junit", type=OUT, metavar="FILE", help="Write the results as JUnit XML.")
@click.option("--markdown", type=OUT, metavar="FILE", help="Write a summary for a pull request.")
@on_branch
@click.pass_obj
def run(
    caller: Caller, suite: str, junit: Path | None, markdown: Path | None, repo: str | None, branch: str | None,
    **more: Any,
) -> int:  # fmt: skip
    """Try the suite evals/<SUITE>.yaml of a branch; ends with 1 when too little passes or something is worse."""
    client, body = caller.place(repo, branch)
    path = f"/v1/evals/{quote(suite, safe='')}"
    begun = client.call("POST", f"{path}/run", fields(**body, **more), once=True)
    run_id = str(begun["run_id"])
    caller.say(str(begun["message"]))
    state = _wait(client, run_id)
    shown = _result(client, path, run_id)
    if shown is None:
        caller.show(state, closing(state))
        return code_of(str(state["status"])) or FAILED
    for form, file in (("junit", junit), ("markdown", markdown)):
        if file is not None:
            text = client.call("GET", f"{path}/results", {"run_id": run_id, "format": form})["text"]
            file.write_text(str(text), encoding="utf-8")
    return _show(caller, shown)


@command.command()
@click.argument("suite")
@click.option("--version", "version_", metavar="VERSION", help="Of this version of the prompt.")
@click.option("--run", "run_id", metavar="RUN", help="Of this run.")
@click.option("--format", "form", type=click.Choice(["table", "junit", "markdown"]), default="table", show_default=True,
              help="The form.")  # fmt: skip
@click.pass_obj
def show(caller: Caller, suite: str, version_: str | None, run_id: str | None, form: str) -> int:
    """Show the newest result of a suite; ends with 1 when it did not pass."""
    query = fields(version=version_, run_id=run_id, format=None if form == "table" else form)
    reply = caller.client().call("GET", f"/v1/evals/{quote(suite, safe='')}/results", query)
    if form != "table":
        return caller.show(reply, str(reply["text"]).rstrip("\n"))
    return _show(caller, reply)


@command.command("list")
@click.option("--suite", help="Only this suite.")
@click.option("--prompt", help="Only results on this prompt.")
@paged
@click.pass_obj
def list_(caller: Caller, suite: str | None, prompt: str | None, limit: int, cursor: str | None) -> int:
    """List results, newest first."""
    query = fields(suite=suite, prompt=prompt, limit=limit, cursor=cursor)
    reply = caller.client().call("GET", "/v1/evals", query)
    rows = [{**item, "pass_rate": f"{item['pass_rate']:.0%}"} for item in reply["items"]]
    return caller.listing(reply, LIST, "Nothing was tried yet.", rows)


@command.command()
@click.argument("file", type=FILE)
@click.pass_obj
def lint(caller: Caller, file: Path) -> int:
    """Look a suite over, ours or promptfoo's; ends with 1 when something is wrong or not supported."""
    content = file.read_text(encoding="utf-8")
    body = {"content": content, "suite": file.stem, "files": _beside(file, content)}
    reply = caller.client().call("POST", "/v1/evals/lint", body)
    if reply["valid"]:
        said = f"{file}: {reply['cases']} cases, {reply['tries']} tries ({reply['format']}), no mistake"
        return caller.show(reply, said)
    return caller.show(reply, [line for error in reply["errors"] for line in _lines(file, error)]) or 1


@command.command()
@click.pass_obj
def workflow(caller: Caller) -> int:
    """Print a workflow for GitHub Actions that tries every suite in pull requests."""
    text = _WORKFLOW.read_text(encoding="utf-8")
    return caller.show({"path": ".github/workflows/evals.yaml", "content": text}, text.rstrip("\n"))


def _beside(file: Path, content: str) -> dict[str, str]:
    """Files below the suite's folder whose paths stand in it."""
    folder = file.parent.resolve()
    found: dict[str, str] = {}
    for name in dict.fromkeys(_NAMED.findall(content)):
        place = (folder / name).resolve()
        if place.is_relative_to(folder) and place.is_file():
            found[name] = place.read_text(encoding="utf-8", errors="replace")
    return found


def _wait(client: Client, run_id: str) -> Json:
    """The run once it is over."""
    for _ in follow(client, path_of(run_id, "/events"), over=lambda said: said.type == "run.ended"):
        pass
    return client.call("GET", path_of(run_id))


def _result(client: Client, path: str, run_id: str) -> Json | None:
    found: list[Json] = client.call("GET", "/v1/evals", {"suite": path.rpartition("/")[2], "limit": 200})[
        "items"
    ]
    if all(item["run_id"] != run_id for item in found):
        return None
    return client.call("GET", f"{path}/results", {"run_id": run_id})


def _show(caller: Caller, shown: Json) -> int:
    said: Json = shown["document"]
    cases: list[Json] = said["cases"]
    rows = [{**case, "of": f"{case['passed']}/{case['tried']}"} for case in cases if case["status"] != "pass"]
    low, high = said["trials"]["interval"]
    passed = sum(case["status"] == "pass" for case in cases)
    what = f" on {said['prompt_ref']}@{said['version']}" if said["version"] else ""
    lines = [
        f"{said['suite_id']}{what}: {said['verdict']}, {passed} of {len(cases)} cases ({low:.0%} to {high:.0%})"
    ]
    if said["baseline"]:
        worse = ", ".join(regression["id"] for regression in said["regressions"]) or "nothing"
        lines.append(
            f"Against {said['baseline']}: worse is {worse}; better is {', '.join(said['improvements']) or 'nothing'}"
        )
    if said["flaky"]:
        lines.append(f"Flaky: {', '.join(said['flaky'])}")
    code = caller.show(shown, [*lines, *(["", table(rows, CASES)] if rows else [])])
    return code or (0 if said["verdict"] == "pass" else 1)


def _lines(file: Path, error: Json) -> list[str]:
    where = f"{error['where']}: " if error["where"] else ""
    said = f"{file}:{error['line']}:{error['column']}: {where}{error['message']}"
    return [said, f"  {error['hint']}"] if error["hint"] else [said]
