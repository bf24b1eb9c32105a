"""`mode: project`: write what a project needs to tell its story, in one commit, never over anything that is there."""

from typing import Annotated

from pydantic import Field

from builderos.assets.repositories.service import check_path, colliding
from builderos.core.clock import rfc3339
from builderos.core.problems import Problem
from builderos.core.schema import ToolOut
from builderos.core.unit import Unit

from . import delivery, templating
from .content import Content, TreeFiles, batch_of, tree_of
from .layout import config_issues, layout_of
from .places import BranchWriteIn, Place, locate
from .sandboxes import InitFields
from .writing import Change, reminder, write

TASK_ID = "project_init"
REASONING = f"outputs/{TASK_ID}/reasoning_trace.md"
PROMPTS = f"outputs/{TASK_ID}/prompt_log.md"


class ProjectOut(ToolOut):
    """A project that is ready. `kept` files were there already and were not touched."""

    created: list[str]
    kept: list[str]
    commit_sha: Annotated[
        str, Field(description="The commit that wrote the files; the tip when none was needed.")
    ]
    warnings: list[str] = []


def init_project(unit: Unit, body: InitFields) -> ProjectOut:
    """Scaffold a project on the caller's branch; a second call adds only what is missing.

    Raises `branch_required` without an own branch, `validation_failed` for an unknown template (with `known`), and what
    `locate` and `write` raise.
    """
    _require_branch(unit, body)
    template = templating.find(body.template)
    where = BranchWriteIn(repo_name=body.repo_name, repo_owner=body.repo_owner, branch=body.branch)
    place = locate(
        unit, where, "sandbox.scaffold", lock=True, paths=tuple(_paths(delivery.Layout(), template))
    )
    batch = batch_of(unit, place.branch)
    tip = TreeFiles(batch, tree_of(batch, place.branch.tip))
    layout = layout_of(tip)
    paths = _paths(layout, template)
    created = [path for path in paths if tip.entry(path) is None]
    kept = [path for path in paths if path not in created]
    _refuse_twins(tip, created)
    if not created:
        warnings = [f"{i.path}:{i.line}: {i.message}. {i.hint}" for i in config_issues(tip)]
        return _reply(place, created, kept, place.branch.tip, warnings)
    change = _change(unit, place, body, template, tip, created)
    written = write(unit, place, change)
    reply = _reply(place, created, kept, written.sha, written.warnings)
    return reply.model_copy(update={"message": reply.message + reminder(unit, written)})


def _require_branch(unit: Unit, body: InitFields) -> None:
    """Nobody without a credential has a branch; one that was refused is named as such."""
    if unit.actor.role != "anonymous":
        return
    if unit.call.presented in ("expired", "revoked", "invalid"):
        code = "token_expired" if unit.call.presented == "expired" else "token_invalid"
        hint = "Open a workspace with mode branch first."
        raise Problem(code, f"the token you sent is {unit.call.presented}", hint=hint)
    more = ", and a name alone opens none" if body.branch else ""
    raise Problem(
        "branch_required", f"a project needs a branch of your own{more}",
        hint="Call initSandbox with mode branch, then again with mode project and the reuse_token it gave you.",
    )  # fmt: skip


def _paths(layout: delivery.Layout, template: templating.Template) -> list[str]:
    own = [layout.task, layout.memory, layout.changelog, layout.goals, REASONING, PROMPTS]
    return [*own, *template.files]


def _refuse_twins(tip: TreeFiles, created: list[str]) -> None:
    for path in created:
        twin = colliding(tip.batch, tip.tree, check_path(path))
        if twin is not None:
            raise Problem(
                "invalid_path", f"{path} and the existing {twin} are the same file on some computers",
                hint=f"Rename {twin}, or set another place in {delivery.CONFIG}: paths.",
            )  # fmt: skip


def _change(
    unit: Unit,
    place: Place,
    body: InitFields,
    template: templating.Template,
    tip: TreeFiles,
    created: list[str],
) -> Change:
    layout = layout_of(tip)
    name = body.project_name or place.repo_name
    words = {"project_name": name, "goals_file": layout.goals, "task_file": layout.task}
    goals = body.goals or ["Say what this project is for."]
    edits: dict[str, Content] = {
        layout.goals: delivery.goals_text(name, body.project_description or "", goals),
        REASONING: _reasoning(unit, name, template).encode(),
        PROMPTS: _prompt(unit, body, name).encode(),
    }  # fmt: skip
    edits |= {path: templating.filled(text, words).encode() for path, text in template.files.items()}
    kept_files: dict[str, bytes | None] = {
        path: data
        for path, data in delivery.empty(layout).items()
        if path in created and path != layout.changelog  # the commit's own entry begins that one
    }
    if layout.task in created:
        kept_files |= _tasks(unit, layout, template, body, words)
    descriptions = {
        layout.goals: "What the project is for.", REASONING: "Why the project was set up as it is.",
        PROMPTS: "What was asked for, in the words of the request.",
    }  # fmt: skip
    return Change(
        edits={path: content for path, content in edits.items() if path in created}, message=f"Set up project {name}",
        tool=unit.call.tool, task_id=TASK_ID, delivery=kept_files, descriptions=descriptions, event="scaffold",
        about=tuple(path for path in created if path not in edits), details={"template": template.name},
        allow_empty=True,
    )  # fmt: skip


def _tasks(
    unit: Unit,
    layout: delivery.Layout,
    template: templating.Template,
    body: InitFields,
    words: dict[str, str],
) -> dict[str, bytes | None]:
    """The first task list as edits."""
    stamps = {"created_at": rfc3339(unit.now), "updated_at": rfc3339(unit.now)}
    first = {
        "title": "Set up the project",
        "phase": "plan",
        "status": "done",
        "outputs": [layout.goals, REASONING, PROMPTS],
    }
    made = {TASK_ID: first, **templating.tasks_of(template, body.goals, words)}
    edits: dict[str, bytes | None] = {}
    files = delivery.Overlay(_Nothing(), edits)
    for id_, task in made.items():
        edits |= delivery.tasks.upsert(files, layout, id_, {"status": "backlog", **task, **stamps})
        files = delivery.Overlay(_Nothing(), edits)
    return edits


class _Nothing:
    """A tree without files."""

    def read(self, _path: str, /) -> bytes | None:
        """There is no file."""
        return None

    def list(self, _folder: str, /) -> list[str]:
        """There is no folder."""
        return []


def _reasoning(unit: Unit, name: str, template: templating.Template) -> str:
    return (
        f"# Reasoning: {TASK_ID}\n\n## {rfc3339(unit.now)} · {unit.actor.name}\n\n"
        f"Set up {name} with the template `{template.name}`: {template.summary}\n\n"
        "The task list says what comes next, the goals say what for; every commit keeps the changelog and the memory "
        "index. Files that were there already were left alone.\n"
    )


def _prompt(unit: Unit, body: InitFields, name: str) -> str:
    goals = "".join(f"- {goal}\n" for goal in body.goals) or "- (none were given)\n"
    return (
        f"# Prompts: {TASK_ID}\n\n## {rfc3339(unit.now)} · {unit.actor.name} · {unit.call.tool}\n\n"
        f"Project: {name}\n\nDescription: {body.project_description or '(none was given)'}\n\nGoals:\n\n{goals}"
    )


def _reply(place: Place, created: list[str], kept: list[str], sha: str, warnings: list[str]) -> ProjectOut:
    where = f"branch {place.branch.name} of {place.repo_name}"
    if created:
        message = f"The project is set up in {where}: {len(created)} files were written"
        message += f", {len(kept)} were there and were kept." if kept else "."
        message += " Ask taskLifecycle for the next task."
    else:
        message = f"Everything was there already in {where}; nothing was changed."
    return ProjectOut(
        created=created, kept=kept, commit_sha=sha, warnings=warnings, repo_name=place.repo_name,
        branch=place.branch.name, message=message,
    )  # fmt: skip
