"""What a sandbox adds to starting a command."""

import subprocess
import time
from pathlib import Path

from builderos.execution.compute.schema import Spec
from builderos.integrations.bwrap.service import LocalSandboxes

from .report import Report
from .timing import interleave, medians

_BREATH_S = 0.05  # between two steps there is an engine at work: time in which the next seats are made ready


def starts(report: Report, place: Path, rounds: int) -> None:
    """`true` in a sandbox of its own, from the order to the known result, beside `true` as a plain subprocess."""
    workspace = place / "jail-workspace"
    workspace.mkdir()
    provider = LocalSandboxes(place / "jail-state")
    tier = provider.probe().tier
    assert tier == "strong", f"this machine lends only the tier {tier}: {provider.probe().missing}"

    def sandboxed(number: int) -> None:
        provider.start(Spec(f"bench.true.{number}", ("true",), str(workspace)))
        done = provider.wait(f"bench.true.{number}", 30)
        assert done.state == "success"

    def plain(_: int) -> None:
        subprocess.run(["true"], env={}, stdin=subprocess.DEVNULL, capture_output=True, check=True)

    def breath(_: int) -> None:
        time.sleep(_BREATH_S)

    try:
        took = medians(interleave(rounds, {"plain": plain, "breath": breath, "sandboxed": sandboxed}))
    finally:
        provider.close()
    report.shown("plain subprocess, ms", took["plain"], "true, start to exit")
    extra = took["sandboxed"] - took["plain"]
    report.at_most("sandboxed step start - plain subprocess, ms", extra, 15, "true, order to result, median")
