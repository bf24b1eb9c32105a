"""Doors for looking after sandboxes."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import doctor, manage, protection, refresh, sharing

routes = Operations("sandboxes")
admin_routes = Operations("admin")


@routes.get("/v1/sandboxes", "listSandboxes")
def list_sandboxes(unit: Unit, body: manage.SandboxListIn) -> manage.SandboxList:
    """List the sandboxes of your organisation, newest first."""
    return manage.listed(unit, body)


@routes.get("/v1/sandboxes/{id}", "getSandbox")
def get_sandbox(unit: Unit, body: manage.SandboxIn) -> manage.SandboxDetail:
    """Show one sandbox."""
    return manage.show(unit, body)


@routes.post("/v1/sandboxes/{id}/token", "changeToken", consequential=True, secret_reply=True)
def change_token(unit: Unit, body: manage.TokenIn) -> manage.TokenOut:
    """Rotate or revoke the token of a sandbox, or renew an expired one."""
    return manage.change_token(unit, body)


@routes.post("/v1/sandboxes/{id}/reset", "resetSandbox", consequential=True)
def reset_sandbox(unit: Unit, body: refresh.ResetIn) -> refresh.ResetOut:
    """Bring a sandbox to the files of main, of an earlier commit or of a backup, with one new commit."""
    return refresh.reset(unit, body)


@routes.post("/v1/sandboxes/{id}/update", "updateSandbox")
def update_sandbox(unit: Unit, body: refresh.UpdateIn) -> refresh.UpdateOut:
    """Bring main's news into a sandbox; conflicts come back as data and can be settled in the next call."""
    return refresh.update(unit, body)


@routes.post("/v1/sandboxes/{id}/archive", "archiveSandbox", consequential=True)
def archive_sandbox(unit: Unit, body: manage.SandboxWriteIn) -> manage.SandboxStateOut:
    """Put a sandbox away until an owner renews it."""
    return manage.archive(unit, body)


@routes.delete("/v1/sandboxes/{id}", "deleteSandbox", consequential=True)
def delete_sandbox(unit: Unit, body: manage.SandboxWriteIn) -> manage.SandboxStateOut:
    """Delete a sandbox's branch; a backup of it is made first."""
    return manage.delete(unit, body)


@routes.post("/v1/sandboxes/{id}/share", "shareSandbox", status=201, secret_reply=True)
def share_sandbox(unit: Unit, body: sharing.ShareIn) -> sharing.ShareOut:
    """Make a link for reading one sandbox."""
    return sharing.share(unit, body)


@routes.delete("/v1/shares/{id}", "revokeShare")
def revoke_share(unit: Unit, body: sharing.ShareRevokeIn) -> sharing.ShareRevokedOut:
    """End a link."""
    return sharing.revoke(unit, body)


@routes.get("/v1/shared/{share_token}", "viewShared")
def view_shared(unit: Unit, body: sharing.SharedIn) -> sharing.SharedOut:
    """What a link shows: files and history of one branch, for reading."""
    return sharing.view(unit, body)


@routes.post("/v1/repos/{id}/protect", "protectRepo")
def protect_repo(unit: Unit, body: protection.ProtectIn) -> protection.ProtectOut:
    """Make sure that main and the other shared branches are protected, and show how."""
    return protection.protect(unit, body)


@admin_routes.post("/v1/admin/doctor", "runDoctor")
def run_doctor(unit: Unit, body: doctor.DoctorIn) -> doctor.DoctorOut:
    """Check that this installation is whole, and mend what can be mended safely."""
    return doctor.examine(unit, body)
