"""What each file may say: the published JSON Schemas of SPEC §4 as Pydantic models.

Files that people edit are read leniently (unknown members stay, and are pointed out); what the server writes
is checked strictly. Members not given are not written.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from builderos.assets.workspaces.delivery.parse import DEPTH
from builderos.core.problems import Problem

# RFC 3339, or a date alone.
STAMP: Final = r"^\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:[Zz]|[+-]\d\d:?\d\d)?)?$"
ITEM_DEPTH: Final = DEPTH // 2
ITEM_VALUES: Final = 10_000
ITEM_CHARS: Final = 32 << 10  # six bytes each at worst, so that a block never outgrows what is read back
TASK_ID: Final = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$"

Stamp = Annotated[str, StringConstraints(pattern=STAMP)]
TaskId = Annotated[str, StringConstraints(pattern=TASK_ID)]
Path = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Name = Annotated[str, StringConstraints(max_length=4096)]  # wide: what a commit is called must not fail it
Text = Annotated[str, StringConstraints(max_length=16_384)]


_TASK_ID: Final = re.compile(TASK_ID.removesuffix("$") + r"\Z")


def is_task_id(text: str) -> bool:
    """Whether `text` can name a task."""
    return _TASK_ID.match(text) is not None


class TaskStatus(StrEnum):
    """States of a delivery task (SPEC §3.5)."""

    BACKLOG = "backlog"
    READY = "ready"
    IN_PROGRESS = "in_progress"
    BLOCKED = "blocked"
    DONE = "done"
    FAILED = "failed"


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", use_enum_values=True)


class Task(_Open):
    """One task of `project/task.yaml`."""

    title: Text | None = None
    phase: Name | None = None
    assigned_pod: Name | None = None
    status: TaskStatus = TaskStatus.BACKLOG
    prompt: Name | None = None
    inputs: list[Path] = []
    outputs: list[Path] = []
    depends_on: list[TaskId] = []
    created_at: Stamp | None = None
    updated_at: Stamp | None = None


class MemoryEntry(_Open):
    """What is known of one file (`project/memory.yaml` and its shards)."""

    path: Path
    description: Text | None = None
    tags: list[Name] = []
    owner: Name | None = None
    file_type: Name | None = None
    sha: Name | None = None
    last_updated: Stamp | None = None
    source: Literal["tool", "webhook", "human"] | None = None


class ChangelogEntry(_Open):
    """One commit in `project/changelog.yaml` or a rotated block. `paths_omitted`: how many paths did not fit."""

    id: Id
    timestamp: Stamp
    paths: list[Path] = []
    message: Text | None = None
    task_id: Name | None = None
    committed_by: Name | None = None
    branch: Name | None = None
    tool: Name | None = None
    agent_version: Name | None = None
    run_id: Name | None = None
    reverts: Name | None = None
    paths_omitted: int | None = Field(default=None, ge=0)


class RevertedCommit(_Open):
    """One revert in `.logs/reverted_commits.yaml`; `new_sha_of` is the changelog entry of the reverting commit."""

    reverted_sha: Id
    new_sha_of: Id
    paths: list[Path] = []
    reason: Text | None = None
    by: Name | None = None
    at: Stamp | None = None
    paths_omitted: int | None = Field(default=None, ge=0)


class TaskFile(_Open):
    """`project/task.yaml`."""

    version: Literal[1] = 1
    tasks: dict[TaskId, Task] | None = None


class MemoryFile(_Open):
    """`project/memory.yaml` and `project/memory/<prefix>.yaml`."""

    version: Literal[1] = 1
    files: list[MemoryEntry] | None = None


class _Part(_Open):
    pass


class ConfigProject(_Part):
    """`builderos.yaml: project`."""

    name: Name | None = None
    stack: list[Name] = []
    description: Text | None = None


class ConfigRepo(_Part):
    """`builderos.yaml: repo`."""

    host: Literal["local", "github", "gitlab"] | None = None
    owner: Name | None = None
    name: Name | None = None
    base_branch: Name | None = None


class ConfigProviders(_Part):
    """`builderos.yaml: providers`; the values are names of installed adapters."""

    inference: Name | None = None
    sandbox: Name | None = None
    deploy: Name | None = None
    db: Name | None = None


class ConfigDefaults(_Part):
    """`builderos.yaml: defaults`; `timeout` is a number with a unit, e.g. `10m`."""

    write_branch: Name | None = None
    timeout: Annotated[str, StringConstraints(pattern=r"^\d{1,6}(?:ms|s|m|h|d)$")] | None = None


class ConfigPaths(_Part):
    """`builderos.yaml: paths`: where the delivery files lie."""

    task: Path | None = None
    memory: Path | None = None
    changelog: Path | None = None
    goals: Path | None = None
    reverted: Path | None = None


class Config(_Open):
    """`builderos.yaml`."""

    version: Literal[1] = 1
    project: ConfigProject | None = None
    envs: list[Literal["dev", "stage", "staging", "prod"]] | None = None
    desks: list[Name] | None = None
    prompts: list[Name] | None = None
    repo: ConfigRepo | None = None
    providers: ConfigProviders | None = None
    defaults: ConfigDefaults | None = None
    paths: ConfigPaths | None = None


_SCHEMAS: Final[dict[str, tuple[type[BaseModel], bool]]] = {
    "task": (TaskFile, False),
    "memory": (MemoryFile, False),
    "changelog": (ChangelogEntry, True),
    "reverted_commits": (RevertedCommit, True),
    "builderos": (Config, False),
}


def schemas() -> dict[str, dict[str, Any]]:
    """The published JSON Schemas (draft 2020-12) by name of file."""
    out: dict[str, dict[str, Any]] = {}
    for name, (model, listed) in _SCHEMAS.items():
        body = model.model_json_schema()
        if listed:
            defs = body.pop("$defs", {})
            body = {"type": "array", "items": body, "title": name} | ({"$defs": defs} if defs else {})
        out[name] = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | body
    return out


def checked(model: type[BaseModel], item: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The given members in the order of the schema, unknown ones last. Raises Problem(validation_failed)."""
    _bound(item, what)
    try:
        return model.model_validate(item).model_dump(exclude_unset=True)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Problem(
            "validation_failed",
            f"{what}: {where}: {first['msg']}.",
            hint=f"Correct the field {where!r}.",
            field=where,
        ) from exc


def _bound(item: Mapping[str, Any], what: str) -> None:
    """Refuse what the reader's own limits could not take back. Raises Problem(validation_failed)."""
    level: list[Any] = [item]
    values = chars = depth = 0
    while level:
        values, depth = values + len(level), depth + 1
        chars += sum([len(value) for value in level if isinstance(value, str)])
        if values > ITEM_VALUES or depth > ITEM_DEPTH or chars > ITEM_CHARS:
            limits = f"{ITEM_CHARS} characters, {ITEM_VALUES} values, {ITEM_DEPTH} levels"
            hint = "Put such data into a file of its own and name its path."
            raise Problem("validation_failed", f"{what}: more than an entry holds ({limits}).", hint=hint)
        level = [inner for value in level for inner in _inside(value)]


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return cast("Mapping[Any, Any]", value).values()
    return cast("list[Any]", value) if isinstance(value, (list, tuple)) else ()
