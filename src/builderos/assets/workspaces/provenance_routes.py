"""Doors of provenance: where a commit, a promotion, an approval or a line of code comes from."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import attestation, provenance, why

routes = Operations("provenance")


@routes.get("/v1/provenance/{id}", "getProvenance")
def get_provenance(unit: Unit, body: provenance.ProvenanceIn) -> provenance.ProvenanceOut:
    """Show where a commit, a promotion or an approval comes from: call, actor, rules, who approved what."""
    return provenance.provenance(unit, body)


@routes.get("/v1/provenance/{id}/attestation", "attestCommit")
def attest_commit(unit: Unit, body: attestation.AttestationIn) -> attestation.AttestationOut:
    """Give the provenance of a commit as a signed in-toto statement, for verifiers that are not ours."""
    return attestation.attest(unit, body)


@routes.get("/v1/why", "explainLine")
def explain_line(unit: Unit, body: why.WhyIn) -> why.WhyOut:
    """Tell why a line of code is there: its commit, who made it with which tool, and who approved it."""
    return why.why(unit, body)
