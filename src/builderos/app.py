"""The composition root: settings → keys, database, stores, policy → an `Application`. The only file that knows everything."""

from dataclasses import dataclass

from builderos.assets.repositories.routes import routes as repository_routes
from builderos.assets.repositories.service import ObjectCache, RepositoryStore
from builderos.assets.workspaces.routes import routes as workspace_routes
from builderos.core.actor import system_actor
from builderos.core.application import Application
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.ids import new_id
from builderos.core.keys import ServerKeys, load_keys
from builderos.core.migrations import migrate
from builderos.core.settings import Settings
from builderos.core.unit import Call, Unit, perform
from builderos.integrations.embedded_postgres import service as embedded_postgres
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.notices.routes import routes as alert_routes
from builderos.trust.policy.service import Policy
from builderos.trust.quotas.service import Rates
from builderos.trust.secrets.service import Box

GROUPS = [workspace_routes, repository_routes, alert_routes]


@dataclass(frozen=True)
class Started:
    """An application with what the process around it needs to know."""

    app: Application
    engine_url: str


def build(settings: Settings) -> Started:
    """Build a server's application: starts or joins the embedded database unless a URL is configured, and migrates."""
    home = settings.home_dir
    home.mkdir(parents=True, exist_ok=True)
    keys = load_keys(home, settings.secret_key.get_secret_value() if settings.secret_key else None)
    if settings.database_url is not None:
        admin = settings.database_url.get_secret_value()
    else:
        admin = embedded_postgres.start(home).superuser_conninfo
    migrated = migrate(admin, keys.secret)
    context = assemble(settings, keys, Database(migrated.keys, pool_size=settings.workers + 4))
    ensure_default_org(context)
    return Started(Application(context, list(GROUPS)), migrated.engine_url)


def assemble(settings: Settings, keys: ServerKeys, database: Database) -> Context:
    """Every adapter and store of one server."""
    context = Context()
    context.put(Settings, settings)
    context.put(ServerKeys, keys)
    context.put(Database, database)
    context.put(RepositoryStore, RepositoryStore(settings.home_dir / "repos"))
    context.put(ObjectCache, ObjectCache())
    context.put(identity.Hasher, identity.Hasher(keys))
    context.put(Box, Box(keys))
    context.put(Policy, Policy.default())
    context.put(Rates, Rates(settings))
    return context


def ensure_default_org(context: Context) -> str:
    """Id of the organisation `local`, created at the first start."""
    database = context.get(Database)
    found = identity.find_org(database, identity.DEFAULT_ORG_SLUG)
    if found is not None:
        return found[0]
    org_id = new_id("org")
    call = Call(actor=system_actor(org_id), request_id=new_id("req"), door="start")

    def create(unit: Unit) -> None:
        identity.create_org(unit, identity.DEFAULT_ORG_SLUG, "Local", anonymous=True)
        ledger.record(unit, "org.created", org_id, {"slug": identity.DEFAULT_ORG_SLUG})

    perform(context, call, create)
    return org_id
