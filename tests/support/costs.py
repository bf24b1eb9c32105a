"""What code costs in CPU time of this thread: whatever else runs on the machine does not count."""

import time
from collections.abc import Callable


def cpu_s(work: Callable[[], object], tries: int = 3) -> float:
    """The least that it took, in seconds."""
    took: list[float] = []
    for _ in range(tries):
        began = time.thread_time()
        work()
        took.append(time.thread_time() - began)
    return min(took)
