"""Doors of the vault: secrets go in, findings are decided about; no value ever comes out."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import findings, keeping, schema

routes = Operations("secrets")


@routes.post("/v1/secrets", "setSecret", status=201, consequential=True)
def set_secret(unit: Unit, body: schema.SecretIn) -> schema.Secret:
    """Keep a secret, or a new version of it."""
    return keeping.set_secret(unit, body)


@routes.get("/v1/secrets", "listSecrets")
def list_secrets(unit: Unit, body: schema.SecretListIn) -> schema.SecretList:
    """List the secrets, without their values."""
    return keeping.list_secrets(unit, body)


@routes.post("/v1/secrets/{id}", "changeSecret", consequential=True)
def change_secret(unit: Unit, body: schema.SecretChangeIn) -> schema.Secret:
    """Switch a secret off or on."""
    return keeping.change_secret(unit, body)


@routes.delete("/v1/secrets/{id}", "deleteSecret", consequential=True)
def delete_secret(unit: Unit, body: schema.SecretWhich) -> schema.SecretGone:
    """Destroy a secret with all its versions."""
    return keeping.delete_secret(unit, body)


@routes.post("/v1/vault/rotate-key", "rotateVaultKey", consequential=True)
def rotate_vault_key(unit: Unit, body: schema.RotateKeyIn) -> schema.RotatedKey:
    """Give the organisation's vault a new key and destroy the old one."""
    return keeping.rotate_key(unit, body)


@routes.get("/v1/secret-findings", "listSecretFindings")
def list_secret_findings(unit: Unit, body: schema.FindingListIn) -> schema.SecretFindings:
    """List the credentials that were kept out of git."""
    return findings.list_findings(unit, body)


@routes.post("/v1/secret-findings/{fingerprint}", "decideSecretFinding", consequential=True)
def decide_secret_finding(unit: Unit, body: schema.FindingDecisionIn) -> schema.SecretFinding:
    """Allow one finding for a while, with a reason, or take that back."""
    return findings.decide_finding(unit, body)
