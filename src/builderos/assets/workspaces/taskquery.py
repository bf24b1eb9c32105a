"""Read the tasks of a branch: a list, one with its notes, or the graph of what waits for what."""

from typing import Annotated, Literal

from pydantic import Field

from builderos.core.paging import decode_cursor, encode_cursor, list_key
from builderos.core.problems import Problem
from builderos.core.schema import Name, Out, ToolOut
from builderos.core.unit import Unit

from . import tasknotes
from .content import TreeFiles, batch_of, tree_of
from .places import BranchIn, Place, locate
from .taskboard import Board, Status, TaskOut, board_of
from .tasks import TaskId
from .tasktalk import NoteOut, fitting

ROOM = 60_000
MAX_NOTES = 50


class QueryIn(BranchIn):
    """Which tasks."""

    mode: Annotated[
        Literal["list", "get", "graph"], Field(description="list: all. get: one. graph: who waits.")
    ] = "list"
    task_id: Annotated[TaskId | None, Field(description="mode get: the task.")] = None
    status: Annotated[Status | None, Field(description="Only tasks in this state.")] = None
    assigned_pod: Annotated[Name | None, Field(description="Only tasks of this agent or person.")] = None
    limit: Annotated[int, Field(description="Tasks per page.", ge=1, le=200)] = 50
    cursor: Annotated[str | None, Field(description="next_cursor of the page before.", max_length=1000)] = (
        None
    )


class GraphNode(Out):
    """A task in the graph; `depth` is how many steps lie before it."""

    id: str
    title: str
    status: Status
    assigned_pod: str | None
    depth: int


class Graph(Out):
    """Tasks and what they wait for: an edge [a, b] says that b depends on a. `ready`: whose turn it is."""

    nodes: list[GraphNode]
    edges: list[tuple[str, str]]
    ready: list[str]
    cycles: list[str]
    truncated: bool


class QueryOut(ToolOut):
    """`items` for lists (one item for get), `notes` for get, `graph` for graph; `counts` are of all tasks by state."""

    items: list[TaskOut]
    next_cursor: str | None
    total: int
    counts: dict[str, int]
    notes: list[NoteOut]
    graph: Graph | None
    truncated: bool
    warnings: list[str]


def query(unit: Unit, body: QueryIn) -> QueryOut:
    """Read tasks. Raises `not_found`, `validation_failed` where the task file is not YAML, and what `locate` raises."""
    place = locate(unit, body, "task.read")
    batch = batch_of(unit, place.branch)
    tip = TreeFiles(batch, tree_of(batch, place.branch.tip))
    board = board_of(unit, place, tip)
    if body.mode == "get":
        return _get(place, board, tip, body)
    chosen = [t for t in board.tasks.values() if _fits(t, body)]
    if body.mode == "graph":
        graph = _graph(board, chosen)
        return _reply(
            place,
            board,
            graph=graph,
            total=len(chosen),
            message=f"{len(graph.nodes)} tasks",
            cut=graph.truncated,
        )
    return _list(place, board, chosen, body)


def _fits(task: TaskOut, body: QueryIn) -> bool:
    return body.status in (None, task.status) and body.assigned_pod in (None, task.assigned_pod)


def _get(place: Place, board: Board, tip: TreeFiles, body: QueryIn) -> QueryOut:
    if body.task_id is None:
        raise Problem(
            "validation_failed", "mode get needs a task_id", hint="Say which task.", field="task_id"
        )
    task = board.get(body.task_id)
    notes = list(reversed(tasknotes.notes_of(tip, task.id)))
    shown, cut = fitting(notes, MAX_NOTES, ROOM)
    text = f"{task.id} is {task.status}; {len(notes)} notes"
    return _reply(place, board, items=[task], notes=shown, total=1, message=text, cut=cut)


def _list(place: Place, board: Board, chosen: list[TaskOut], body: QueryIn) -> QueryOut:
    """A page in the order of the file. A cursor names the last task seen; if that is gone, its place counts."""
    key = list_key("tasks", branch=place.branch.id, status=body.status, pod=body.assigned_pod)
    last = decode_cursor(key, body.cursor, 2)
    start = 0
    if last is not None:
        places = {task.id: number for number, task in enumerate(chosen)}
        start = places[last[0]] + 1 if last[0] in places else min(int(last[1]), len(chosen))
    items: list[TaskOut] = []
    room = ROOM
    for task in chosen[start : start + body.limit]:
        room -= len(task.model_dump_json())
        if items and room < 0:
            break
        items.append(task)
    end = start + len(items)
    cursor = encode_cursor(key, [items[-1].id, end - 1]) if items and end < len(chosen) else None
    text = f"{len(items)} of {len(chosen)} tasks"
    return _reply(place, board, items=items, cursor=cursor, total=len(chosen), message=text)


def _graph(board: Board, chosen: list[TaskOut]) -> Graph:
    depths, cycles = _depths(board)
    nodes: list[GraphNode] = []
    edges: list[tuple[str, str]] = []
    names = {task.id for task in chosen}
    room = ROOM
    for task in chosen:
        node = GraphNode(
            id=task.id, title=task.title[:200], status=task.status, assigned_pod=task.assigned_pod,
            depth=depths.get(task.id, 0),
        )  # fmt: skip
        mine = [(need, task.id) for need in task.depends_on if need in names]
        room -= len(node.model_dump_json()) + sum(len(a) + len(b) + 8 for a, b in mine)
        if room < 0:
            break
        nodes.append(node)
        edges += mine
    ready = [t.id for t in chosen if t.status == "ready" and not t.waiting_for]
    return Graph(
        nodes=nodes, edges=edges, ready=ready[:100], cycles=cycles[:100], truncated=len(nodes) < len(chosen)
    )


def _depths(board: Board) -> tuple[dict[str, int], list[str]]:
    """The number of steps before each task, and the tasks that wait in a circle (a hand edit can make one)."""
    open_ = {t.id: {need for need in t.depends_on if need in board.tasks} for t in board.tasks.values()}
    after: dict[str, list[str]] = {}
    for id_, needs in open_.items():
        for need in needs:
            after.setdefault(need, []).append(id_)
    depths: dict[str, int] = {}
    layer, depth = [id_ for id_, needs in open_.items() if not needs], 0
    while layer:
        depths |= dict.fromkeys(layer, depth)
        layer, depth = _freed(layer, open_, after), depth + 1
    return depths, [id_ for id_ in board.tasks if id_ not in depths]


def _freed(layer: list[str], open_: dict[str, set[str]], after: dict[str, list[str]]) -> list[str]:
    """The tasks that wait for nothing any more once those of `layer` are done."""
    freed: list[str] = []
    for done, then in ((id_, then) for id_ in layer for then in after.get(id_, ())):
        open_[then].discard(done)
        if not open_[then]:
            freed.append(then)
    return freed


def _reply(
    place: Place, board: Board, *, total: int, message: str, items: list[TaskOut] | None = None,
    cursor: str | None = None, notes: list[NoteOut] | None = None, graph: Graph | None = None, cut: bool = False,
) -> QueryOut:  # fmt: skip
    counts: dict[str, int] = {}
    for task in board.tasks.values():
        counts[task.status] = counts.get(task.status, 0) + 1
    return QueryOut(
        items=items or [], next_cursor=cursor, total=total, counts=counts, notes=notes or [], graph=graph,
        truncated=cut, warnings=board.warnings[:20], repo_name=place.repo_name, branch=place.branch.name,
        message=f"{message} on branch {place.branch.name} of {place.repo_name}.",
    )  # fmt: skip
