"""What the engine asks of the library beside its main road."""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbos import StepOptions

log = logging.getLogger("builderos.engine")


def attempts(name: str) -> "StepOptions":
    """A few quick attempts; longer pauses belong into a row or to the next tick, not into a waiting thread."""
    return {
        "name": name,
        "retries_allowed": True,
        "max_attempts": 3,
        "interval_seconds": 0.25,
        "backoff_rate": 2,
    }


def take_over(executor_id: str) -> None:
    """Do the unfinished work of an executor that is gone."""
    from dbos import DBOS

    log.warning("taking over the unfinished work of %s", executor_id)
    DBOS._recover_pending_workflows([executor_id])  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001  # no public form; pinned minor, tested


def lost_of(ids: list[str], executor_id: str) -> set[str]:
    """Those of these unfinished runs that are not this executor's any more."""
    from dbos import DBOS

    mine: set[str] = set()
    for at in range(0, len(ids), 500):
        some = ids[at : at + 500]
        for w in DBOS.list_workflows(workflow_ids=some, load_input=False, load_output=False):
            if w.status == "PENDING" and w.executor_id == executor_id:
                mine.add(w.workflow_id)
    return set(ids) - mine


def forgotten(executor_id: str) -> set[str]:
    """Unfinished runs of this executor that this process does not carry out: their end was not kept."""
    from dbos import DBOS
    from dbos._dbos import _get_dbos_instance  # pyright: ignore[reportPrivateUsage]

    unfinished = DBOS.list_workflows(
        status="PENDING", executor_id=executor_id, load_input=False, load_output=False
    )
    active = _get_dbos_instance()._active_workflows_set.activeList()  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001  # pinned minor, tested
    return {w.workflow_id for w in unfinished} - set(active)


def do_again(workflow_id: str, executor_id: str) -> None:
    """Put an unfinished run of this executor back into its queue; nothing happens where it is not one any more."""
    from dbos._dbos import _get_dbos_instance  # pyright: ignore[reportPrivateUsage]
    from dbos._utils import INTERNAL_QUEUE_NAME

    log.warning("the end of %s was not kept; it is done again", workflow_id)
    _get_dbos_instance()._sys_db.reenqueue_for_recovery(workflow_id, [executor_id], INTERNAL_QUEUE_NAME)  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001  # pinned minor, tested


def look_often(interval_s: float) -> None:
    """What is taken over waits in the library's own queue, at which every process looks once a second by itself."""
    from dbos._dbos import _get_dbos_instance  # pyright: ignore[reportPrivateUsage]

    queue = _get_dbos_instance()._registry.get_internal_queue()  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001
    queue._polling_interval_sec = interval_s  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001  # pinned minor, tested


def log_like_us() -> None:
    """The library prints for itself; its lines are to come out of the server's own log, in its own form."""
    theirs = logging.getLogger("dbos")
    theirs.handlers.clear()
    theirs.propagate = True
