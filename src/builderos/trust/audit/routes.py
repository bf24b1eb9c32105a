"""Doors of the audit."""

from builderos.core.operations import Download, Operations
from builderos.core.unit import Unit

from . import access, keeping, proofs, service, sinks

routes = Operations("audit")


@routes.get("/v1/audit", "searchAudit")
def search_audit(unit: Unit, body: service.AuditIn) -> service.AuditPage:
    """Search the record of acts, newest first."""
    return service.search(unit, body)


@routes.get("/v1/audit/export", "exportAudit", media_types=("application/jsonl", "text/csv"))
def export_audit(unit: Unit, body: service.ExportIn) -> Download:
    """Stream the whole record; the JSONL form can be verified without this server."""
    return service.export(unit, body)


@routes.get("/v1/audit/verify", "verifyAudit")
def verify_audit(unit: Unit, body: service.VerifyIn) -> service.VerifyOut:
    """Check that no line was changed and that no commit is without a line."""
    return service.verify(unit, body)


@routes.get("/v1/audit/checkpoint", "getCheckpoint")
def get_checkpoint(unit: Unit, body: proofs.CheckpointIn) -> proofs.CheckpointOut:
    """Show the latest signed checkpoint of the record; keep its note to prove later that nothing was changed."""
    return proofs.show(unit, body)


@routes.post("/v1/audit/checkpoint", "makeCheckpoint")
def make_checkpoint(unit: Unit, body: proofs.MakeCheckpointIn) -> proofs.CheckpointOut:
    """Verify and sign everything recorded so far."""
    return proofs.make(unit, body)


@routes.get("/v1/audit/proof", "proveLine")
def prove_line(unit: Unit, body: proofs.ProofIn) -> proofs.ProofOut:
    """Prove that one line is in the signed record, without showing the others."""
    return proofs.prove(unit, body)


@routes.get("/v1/audit/consistency", "proveGrowth")
def prove_growth(unit: Unit, body: proofs.GrowthIn) -> proofs.GrowthOut:
    """Prove that the record only grew between two sizes."""
    return proofs.prove_growth(unit, body)


@routes.get("/v1/audit/access", "searchAccess")
def search_access(unit: Unit, body: access.AccessIn) -> access.AccessPage:
    """Search who read which file, branch or artifact, newest first."""
    return access.search(unit, body)


@routes.get("/v1/audit/access/export", "exportAccess", media_types=("application/jsonl", "text/csv"))
def export_access(unit: Unit, body: access.AccessExportIn) -> Download:
    """Stream all that is kept of who read what, oldest first."""
    return access.export(unit, body)


@routes.get("/v1/audit/retention", "getRetention")
def get_retention(unit: Unit, body: keeping.NothingIn) -> keeping.RetentionOut:
    """Show how long it is kept who read what, and what people wrote."""
    return keeping.show_retention(unit, body)


@routes.post("/v1/audit/retention", "setRetention")
def set_retention(unit: Unit, body: keeping.RetentionIn) -> keeping.RetentionOut:
    """Set how long it is kept who read what, and what people wrote; lines of the ledger are kept always."""
    return keeping.set_retention(unit, body)


@routes.get("/v1/audit/holds", "listHolds")
def list_holds(unit: Unit, body: keeping.NothingIn) -> keeping.HoldList:
    """List legal holds, released ones too."""
    return keeping.listed(unit, body)


@routes.post("/v1/audit/holds", "createHold", status=201)
def create_hold(unit: Unit, body: keeping.HoldIn) -> keeping.Hold:
    """Hold everything, or what concerns one person: neither retention nor erasure takes it away."""
    return keeping.hold(unit, body)


@routes.delete("/v1/audit/holds/{id}", "releaseHold")
def release_hold(unit: Unit, body: keeping.WhichIn) -> keeping.Hold:
    """Release a legal hold."""
    return keeping.release(unit, body)


@routes.post("/v1/audit/erase", "erasePerson", consequential=True)
def erase_person(unit: Unit, body: keeping.EraseIn) -> keeping.Erased:
    """Erase what a person wrote; the record still verifies, because it holds commitments only."""
    return keeping.erase(unit, body)


@routes.get("/v1/audit/sinks", "listSinks")
def list_sinks(unit: Unit, body: keeping.NothingIn) -> sinks.SinkList:
    """List where the record is sent to, and how far each of them has it."""
    return sinks.listed(unit, body)


@routes.post("/v1/audit/sinks", "createSink", status=201, secret_reply=True)
def create_sink(unit: Unit, body: sinks.SinkIn) -> sinks.NewSink:
    """Send the record to a webhook, a syslog server, a file or a bucket: signed, in order, at least once."""
    return sinks.create(unit, body)


@routes.post("/v1/audit/sinks/{id}/test", "testSink")
def test_sink(unit: Unit, body: sinks.SinkTestIn) -> sinks.Sink:
    """Send a sink a test batch; the list tells a moment later what became of it."""
    return sinks.test(unit, body)


@routes.delete("/v1/audit/sinks/{id}", "deleteSink")
def delete_sink(unit: Unit, body: keeping.WhichIn) -> sinks.SinkGone:
    """Send nothing there any more."""
    return sinks.delete(unit, body)
