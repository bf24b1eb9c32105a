"""Doors of the vault: secrets go in, findings are decided about; no value ever comes out."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import findings, schema

routes = Operations("secrets")


@routes.get("/v1/secret-findings", "listSecretFindings")
def list_secret_findings(unit: Unit, body: schema.FindingListIn) -> schema.SecretFindings:
    """List the credentials that were kept out of git."""
    return findings.list_findings(unit, body)


@routes.post("/v1/secret-findings/{fingerprint}", "decideSecretFinding", consequential=True)
def decide_secret_finding(unit: Unit, body: schema.FindingDecisionIn) -> schema.SecretFinding:
    """Allow one finding for a while, with a reason, or take that back."""
    return findings.decide_finding(unit, body)
