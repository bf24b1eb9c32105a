"""Doors of organisations, members, invites, tokens, sessions, API keys, programs and providers."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import clients, invites, keys, me, members, organisations, providers, schema, sessions, tokens
from .place_routes import place_routes

__all__ = ["place_routes", "routes"]

routes = Operations("orgs")


@routes.post("/v1/api-keys", "createKey", status=201, consequential=True, secret_reply=True)
def create_key(unit: Unit, body: keys.KeyIn) -> keys.NewKey:
    """Make an API key with scopes."""
    return keys.create_key(unit, body)


@routes.get("/v1/api-keys", "listKeys")
def list_keys(unit: Unit, body: keys.KeyListIn) -> keys.KeyList:
    """List the live API keys."""
    return keys.list_keys(unit, body)


@routes.delete("/v1/api-keys/{id}", "revokeKey", consequential=True)
def revoke_key(unit: Unit, body: keys.KeyRevokeIn) -> keys.KeyRevoked:
    """End an API key."""
    return keys.revoke_key(unit, body)


@routes.post("/v1/orgs", "createOrg", status=201, consequential=True, secret_reply=True)
def create_org(unit: Unit, body: schema.OrgIn) -> schema.NewOrg:
    """Make an organisation and an invite for its first owner."""
    return organisations.create(unit, body)


@routes.get("/v1/members", "listMembers")
def list_members(unit: Unit, body: schema.Nothing) -> schema.MemberList:
    """List the members of the organisation."""
    return members.listed(unit, body)


@routes.post("/v1/members/{id}", "changeMember", consequential=True)
def change_member(unit: Unit, body: schema.MemberIn) -> schema.Member:
    """Give a member another role."""
    return members.change(unit, body)


@routes.delete("/v1/members/{id}", "removeMember", consequential=True)
def remove_member(unit: Unit, body: schema.Which) -> schema.Gone:
    """End a membership and everything that acts on its behalf."""
    return members.remove(unit, body)


@routes.post("/v1/members/{id}/ownership", "handOver", consequential=True)
def hand_over(unit: Unit, body: schema.HandOverIn) -> schema.Member:
    """Hand the organisation over: the other becomes an owner, you an admin."""
    return members.hand_over(unit, body)


@routes.delete("/v1/me/membership", "leaveOrg", consequential=True)
def leave_org(unit: Unit, body: schema.Leaving) -> schema.Gone:
    """Leave the organisation: your membership ends with everything that acts on your behalf."""
    return members.leave(unit, body)


@routes.post("/v1/service-accounts", "createServiceAccount", status=201, consequential=True)
def create_service_account(unit: Unit, body: schema.ServiceIn) -> schema.Member:
    """Make a service account for a program."""
    return members.create_service(unit, body)


@routes.post("/v1/invites", "createInvite", status=201, consequential=True, secret_reply=True)
def create_invite(unit: Unit, body: schema.InviteIn) -> schema.NewInvite:
    """Invite a person to the organisation."""
    return invites.create(unit, body)


@routes.get("/v1/invites", "listInvites")
def list_invites(unit: Unit, body: schema.Nothing) -> schema.InviteList:
    """List the invites that can still be accepted."""
    return invites.listed(unit, body)


@routes.delete("/v1/invites/{id}", "revokeInvite", consequential=True)
def revoke_invite(unit: Unit, body: schema.Which) -> schema.Gone:
    """End an invite."""
    return invites.revoke(unit, body)


@routes.post("/v1/invites/accept", "acceptInvite", consequential=True)
def accept_invite(unit: Unit, body: schema.AcceptIn) -> schema.Tokens:
    """Accept an invite: become a member and sign in."""
    return invites.accept(unit, body)


@routes.post("/v1/tokens", "createToken", status=201, consequential=True, secret_reply=True)
def create_token(unit: Unit, body: schema.TokenIn) -> schema.NewToken:
    """Make a personal token, or a token of a service account."""
    return tokens.create(unit, body)


@routes.get("/v1/tokens", "listTokens")
def list_tokens(unit: Unit, body: schema.Nothing) -> schema.TokenList:
    """List your live tokens, and those of service accounts if you manage them."""
    return tokens.listed(unit, body)


@routes.delete("/v1/tokens/{id}", "revokeToken", consequential=True)
def revoke_token(unit: Unit, body: schema.Which) -> schema.Gone:
    """End a token."""
    return tokens.revoke(unit, body)


@routes.get("/v1/me/sessions", "listSessions")
def list_sessions(unit: Unit, body: schema.Nothing) -> schema.SessionList:
    """List your sign-ins that have not ended."""
    return sessions.listed(unit, body)


@routes.delete("/v1/me/sessions/{id}", "endSession", consequential=True)
def end_session(unit: Unit, body: schema.Which) -> schema.Gone:
    """Sign out of one of your sessions."""
    return sessions.end_own(unit, body)


@routes.get("/v1/me", "getMe")
def get_me(unit: Unit, body: schema.Nothing) -> me.Me:
    """Show who you are to this server."""
    return me.show(unit, body)


@routes.get("/v1/me/permissions", "getPermissions")
def get_permissions(unit: Unit, body: me.PermissionsIn) -> me.Permissions:
    """Explain what you may do to an object, with the rules that decide."""
    return me.permissions(unit, body)


@routes.post("/v1/oauth-clients", "createOauthClient", status=201, consequential=True, secret_reply=True)
def create_oauth_client(unit: Unit, body: schema.ClientIn) -> schema.NewClient:
    """Register a program whose users sign in here, e.g. the action of a chat model."""
    return clients.create(unit, body)


@routes.get("/v1/oauth-clients", "listOauthClients")
def list_oauth_clients(unit: Unit, body: schema.Nothing) -> schema.ClientList:
    """List the programs that the organisation has registered."""
    return clients.listed(unit, body)


@routes.post("/v1/oauth-clients/{id}", "changeOauthClient", consequential=True)
def change_oauth_client(unit: Unit, body: schema.ClientChangeIn) -> schema.OAuthClient:
    """Change where a program may be sent back to."""
    return clients.change(unit, body)


@routes.delete("/v1/oauth-clients/{id}", "removeOauthClient", consequential=True)
def remove_oauth_client(unit: Unit, body: schema.Which) -> schema.Gone:
    """Remove a program and end everything that members let it do."""
    return clients.remove(unit, body)


@routes.post("/v1/identity-providers", "createIdentityProvider", status=201, consequential=True)
def create_identity_provider(unit: Unit, body: schema.ProviderIn) -> schema.Provider:
    """Let members of the organisation sign in at an OpenID Connect provider of its own."""
    return providers.create(unit, body)


@routes.get("/v1/identity-providers", "listIdentityProviders")
def list_identity_providers(unit: Unit, body: schema.Nothing) -> schema.ProviderList:
    """List the providers at which members of the organisation sign in."""
    return providers.listed(unit, body)


@routes.post("/v1/identity-providers/{id}", "changeIdentityProvider", consequential=True)
def change_identity_provider(unit: Unit, body: schema.ProviderChangeIn) -> schema.Provider:
    """Change a provider of the organisation, e.g. give it a new secret."""
    return providers.change(unit, body)


@routes.delete("/v1/identity-providers/{id}", "removeIdentityProvider", consequential=True)
def remove_identity_provider(unit: Unit, body: schema.Which) -> schema.Gone:
    """Let nobody sign in at a provider any more."""
    return providers.remove(unit, body)
