"""Operations on apps. Opening one is a door of its own, for what it answers is its own."""

from builderos.core.operations import Operations, Reply
from builderos.core.unit import Unit

from . import reading, releasing, schema, tokens, verbs

routes = Operations("apps")


@routes.post("/v1/apps", "createApp", status=201, consequential=True)
def create_app(unit: Unit, body: schema.AppCreateIn) -> Reply[schema.App]:
    """Make an app of a repository: streamlit, flask (WSGI or ASGI), Next.js, files, or a command of its own."""
    return verbs.create(unit, body)


@routes.get("/v1/apps", "listApps")
def list_apps(unit: Unit, body: schema.AppListIn) -> schema.AppList:
    """List apps, newest first."""
    return reading.listed(unit, body)


@routes.get("/v1/apps/{id}", "showApp")
def show_app(unit: Unit, body: schema.AppIn) -> schema.App:
    """Show an app: what it is made of, which release is live, where it is; `id` may be its name, too."""
    return reading.show(unit, body)


@routes.post("/v1/apps/{id}", "changeApp", consequential=True)
def change_app(unit: Unit, body: schema.AppChangeIn) -> schema.App:
    """Change who may open an app, at once; or how it is built and started, from its next release on."""
    return verbs.change(unit, body)


@routes.delete("/v1/apps/{id}", "deleteApp", consequential=True)
def delete_app(unit: Unit, body: schema.AppActIn) -> schema.App:
    """Stop an app for good; its name is free again, its releases stay for the audit."""
    return verbs.delete(unit, body)


@routes.post("/v1/apps/{id}/releases", "releaseApp", status=202, consequential=True)
def release_app(unit: Unit, body: schema.ReleaseIn) -> Reply[schema.AppRelease]:
    """Have a commit become the app: it is built, started beside what is live, and takes over once it is well."""
    return releasing.release(unit, body)


@routes.get("/v1/apps/{id}/releases", "listAppReleases")
def list_app_releases(unit: Unit, body: schema.ReleaseListIn) -> schema.ReleaseList:
    """List the releases of an app, newest first."""
    return reading.releases_listed(unit, body)


@routes.post("/v1/apps/{id}/rollback", "rollBackApp", status=202, consequential=True)
def roll_back_app(unit: Unit, body: schema.RollbackIn) -> Reply[schema.AppRelease]:
    """Have the release before be live again; what is live goes on until that one is well."""
    return releasing.roll_back(unit, body)


@routes.post("/v1/apps/{id}/stop", "stopApp", consequential=True)
def stop_app(unit: Unit, body: schema.AppActIn) -> schema.App:
    """Stop an app: its processes end, and nothing answers there."""
    return verbs.stop(unit, body)


@routes.post("/v1/apps/{id}/start", "startApp", status=202, consequential=True)
def start_app(unit: Unit, body: schema.AppActIn) -> Reply[schema.App]:
    """Start an app that was stopped, with the release that was live."""
    return verbs.start(unit, body)


@routes.post("/v1/apps/{id}/token", "openApp", status=201, secret_reply=True)
def open_app(unit: Unit, body: schema.OpenIn) -> Reply[schema.AppToken]:
    """Get a way into an app: a token for programs, an address for a browser."""
    return tokens.issue(unit, body)


@routes.get("/v1/apps/{id}/logs", "appLogs")
def app_logs(unit: Unit, body: schema.AppLogsIn) -> schema.AppLogs:
    """Read what the build or the process of a release printed, from a byte on."""
    return reading.logs(unit, body)
