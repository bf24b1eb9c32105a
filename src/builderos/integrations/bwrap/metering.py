"""What a command uses while it runs."""

import time

from builderos.execution.compute.schema import Limits, Meter

from . import tree
from .cgroups import Group


def measured(init: int, group: Group | None, limits: Limits, began: float, disk: int) -> Meter:
    """Of all processes below `init`. `began`: on the monotonic clock; `disk`: as it was looked through last.

    Raises `OSError` where the group is gone.
    """
    pids = tree.descendants(init)
    cpu_s = (group.cpu_s() if group else None) or tree.processor_s(pids)
    return Meter(
        cpu_s=round(cpu_s, 3), wall_s=round(time.monotonic() - began, 3), memory=tree.resident(pids), disk=disk,
        processes=len(pids), working=tree.works_at_terminals(pids), cpu_limit=limits.cpu, memory_limit=limits.memory,
        disk_limit=limits.disk, processes_limit=limits.pids,
    )  # fmt: skip
