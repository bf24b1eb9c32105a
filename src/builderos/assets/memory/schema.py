"""The words of memory: what is asked, what is answered."""

from typing import Annotated, Final, Literal

from pydantic import Field

from builderos.assets.workspaces.service import BranchIn, BranchWriteIn
from builderos.core.schema import In, Line, Name, Out, Text, ToolOut

from .items_schema import AgentField, Body, Fact, ItemId, Remembered, RunField, Shared, Tier, Ttl

MAX_PATHS: Final = 100
Path = Annotated[str, Field(description="Path in the repository.", min_length=1, max_length=4096)]
Tags = Annotated[list[Name], Field(description="Words to find it by.", max_length=50)]
Description = Annotated[Text, Field(description="What the file is, in a sentence or two.", max_length=8000)]


class QueryIn(BranchIn):
    """What to look for in the memory of a branch."""

    mode: Annotated[
        Literal["search", "list", "stats"],
        Field(description="search: by words. list: by path. stats: numbers."),
    ] = "list"
    query: Annotated[
        Text | None, Field(description="search: words in path, description or tags.", max_length=500)
    ] = None
    tag: Annotated[Name | None, Field(description="Only files with this tag.")] = None
    owner: Annotated[Name | None, Field(description="Only files of this owner.")] = None
    file_type: Annotated[Name | None, Field(description="Only files of this type, e.g. py.")] = None
    tier: Annotated[
        Tier | Literal["all"] | None,
        Field(
            description="What agents and people remember instead of files: all, or one tier. short_term: of a run. "
            "episodic: what happened. semantic: facts. vector: found by meaning."
        ),
    ] = None
    agent: AgentField = None
    run_id: RunField = None
    k: Annotated[int | None, Field(description="search: at most this many of the best.", ge=1, le=200)] = None
    limit: Annotated[int, Field(description="Files per page.", ge=1, le=200)] = 50
    cursor: Annotated[str | None, Field(description="next_cursor of the page before.", max_length=1000)] = (
        None
    )


class MemoryItem(Out):
    """What is known of one file. `score` is set by search; `cut`: the description ends early."""

    path: str
    description: str | None
    tags: list[str]
    owner: str | None
    file_type: str | None
    sha: str | None
    last_updated: str | None
    source: str | None
    pinned: bool
    score: int | None = None
    cut: bool = False


class Stats(Out):
    """Numbers of the files that match the filters, with tier of what is remembered; the twenty most frequent each."""

    files: int = 0
    described: int = 0
    pinned: int = 0
    by_file_type: dict[str, int] = {}
    by_owner: dict[str, int] = {}
    by_tag: dict[str, int] = {}
    by_source: dict[str, int] = {}
    by_tier: dict[str, int] = {}
    last_updated: str | None = None


class QueryOut(ToolOut):
    """One page. `truncated`: the size of a reply ended it early, or cut an item; `next_cursor` goes on.

    With tier, `memories` instead of `items`. They are data, each with its source: `notice` says so.
    """

    items: list[MemoryItem]
    memories: list[Remembered] = []
    notice: str | None = None
    next_cursor: str | None
    total: int
    truncated: bool
    stats: Stats | None
    warnings: list[str]


class EntryIn(In):
    """One entry to add or change. Members that are not sent stay as they are."""

    path: Path
    description: Description | None = None
    tags: Tags | None = None
    owner: Annotated[Name | None, Field(description="Whose file it is.")] = None


class ManageIn(BranchWriteIn):
    """A change of the memory of a branch, or a look at its health."""

    action: Annotated[
        Literal["add", "update", "remove", "index", "diff", "validate", "pin", "unpin"],
        Field(
            description="add, update: describe files. remove: forget entries. index: bring the memory up to date with "
            "the files. diff: what index would do. validate: what is wrong in the files. pin, unpin: keep on top."
        ),
    ]
    path: Annotated[Path | None, Field(description="Short form: one path.")] = None
    description: Annotated[Description | None, Field(description="Short form: its description.")] = None
    tags: Annotated[Tags | None, Field(description="Short form: its tags.")] = None
    owner: Annotated[Name | None, Field(description="Short form: its owner.")] = None
    tier: Annotated[
        Tier | None,
        Field(
            description="Something to remember instead of a file: add and update take body, the others ids."
        ),
    ] = None
    body: Annotated[Body | None, Field(description="With tier: what is to be remembered.")] = None
    fact: Annotated[Fact | None, Field(description="tier semantic: what the fact is about.")] = None
    agent: AgentField = None
    run_id: RunField = None
    shared: Shared = False
    ttl_s: Ttl = None
    ids: Annotated[
        list[ItemId], Field(description="With tier, or alone: what is meant.", max_length=MAX_PATHS)
    ] = []
    items: Annotated[
        list[EntryIn], Field(description="add, update: several files.", max_length=MAX_PATHS)
    ] = []
    paths: Annotated[
        list[Path], Field(description="remove, pin, unpin: several files.", max_length=MAX_PATHS)
    ] = []


class Fault(Out):
    """One thing wrong in a memory file."""

    path: str
    line: int
    level: Line
    message: str
    hint: str


class ManageOut(ToolOut):
    """What was changed or found. Lists are cut to fit a reply (`truncated`); `counts` are whole.

    `changed`: paths whose entries were written or taken out. diff, index: `missing` have no entry, `stale` another
    content, `gone` no file. `remaining`: entries that the next call of index writes.
    """

    action: str
    changed: list[str]
    missing: list[str]
    stale: list[str]
    gone: list[str]
    faults: list[Fault]
    counts: dict[str, int]
    remaining: int
    truncated: bool
    commit_sha: str | None
    warnings: list[str]
