"""Doors of the audit."""

from builderos.core.operations import Download, Operations
from builderos.core.unit import Unit

from . import service

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
