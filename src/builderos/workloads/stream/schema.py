"""Words in and out of the stream."""

from typing import Annotated, Any

from pydantic import Field

from builderos.core.schema import In, Line, Out

from .places import LONGEST


class StreamIn(In):
    """What to follow."""

    topics: Annotated[
        Line,
        Field(
            max_length=6000,
            description="Topics, separated by commas: runs, approvals, inbox, alerts, sandboxes, commits, pulls, "
            "deployments, prompts, evals, policies, memory, artifacts, members, webhooks, projects, experiments, "
            "models, datasets, endpoints, sessions, apps, audit; of one object e.g. run:<id>, deployment:<id>, "
            "prompt:<name>.",
        ),
    ]
    stream: Annotated[
        bool, Field(description="Server-Sent Events; false: what happened behind `cursor`, as JSON.")
    ] = True
    cursor: Annotated[
        str | None, Field(max_length=LONGEST, description="Of a page: where the one before it ended.")
    ] = None
    last_event_id: Annotated[
        str | None, Field(max_length=LONGEST, description="Go on behind this message.")
    ] = None


class Item(Out):
    """Something that happened. `version` grows for each topic and object."""

    id: str
    topic: str
    type: str
    object: str
    version: int
    at: str
    repo: str | None
    branch: str | None
    run_id: str | None
    data: dict[str, Any] | None


class Page(Out):
    """What happened behind a place."""

    topics: list[str]
    refused: Annotated[list[str], Field(description="Topics that you may not see.")]
    items: list[Item]
    refetch: Annotated[bool, Field(description="More happened than is told: look at everything again.")]
    next_cursor: Annotated[str, Field(description="Ask again from here.")]
