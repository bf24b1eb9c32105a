"""Operations on what is left of a run: replays and receipts."""

from builderos.core.operations import Download, Operations, Reply
from builderos.core.unit import Unit

from . import receipts, replay, replay_view
from .receipts import ReceiptIn, ReceiptOut
from .replay_schema import ReplayIn, ReplayResult, ReplayResultIn, ReplayStarted

routes = Operations("replays")


@routes.post("/v1/runs/{id}/replay", "replayRun", status=202, consequential=True)
def replay_run(unit: Unit, body: ReplayIn) -> Reply[ReplayStarted]:
    """Execute a run again from its records, without the network and without any effect; or with one thing changed."""
    return replay.start(unit, body)


@routes.get("/v1/runs/{id}/replay", "showReplay")
def show_replay(unit: Unit, body: ReplayResultIn) -> ReplayResult:
    """Tell how a replay came out: a verdict for each step, and the first divergence down to the file."""
    return replay_view.result(unit, body)


@routes.get("/v1/runs/{id}/receipt", "showReceipt")
def show_receipt(unit: Unit, body: ReceiptIn) -> ReceiptOut:
    """Show the signed receipt of a run that has ended: in-toto and SLSA provenance in a DSSE envelope."""
    return receipts.show(unit, body)


@routes.get("/v1/runs/{id}/receipt/page", "showReceiptPage", media_types=("text/markdown",))
def show_receipt_page(unit: Unit, body: ReceiptIn) -> Download:
    """Show the receipt of a run as one page of Markdown."""
    return receipts.show_page(unit, body)
