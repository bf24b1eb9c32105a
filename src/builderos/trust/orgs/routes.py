"""Doors of the API keys."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import service

routes = Operations("orgs")


@routes.post("/v1/api-keys", "createKey", status=201, consequential=True)
def create_key(unit: Unit, body: service.KeyIn) -> service.NewKey:
    """Make an API key with scopes."""
    return service.create_key(unit, body)


@routes.get("/v1/api-keys", "listKeys")
def list_keys(unit: Unit, body: service.KeyListIn) -> service.KeyList:
    """List the live API keys."""
    return service.list_keys(unit, body)


@routes.delete("/v1/api-keys/{id}", "revokeKey", consequential=True)
def revoke_key(unit: Unit, body: service.KeyRevokeIn) -> service.KeyRevoked:
    """End an API key."""
    return service.revoke_key(unit, body)
