"""Doors of the audit."""

from builderos.core.operations import Download, Operations
from builderos.core.unit import Unit

from . import proofs, service

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
