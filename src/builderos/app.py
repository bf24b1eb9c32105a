"""The composition root: settings → keys, database, `assembly` → an `Application`, its engine, its process."""

if __name__ == "__main__":  # while what stands below is loaded, the database starts
    import sys

    from builderos import early

    if isinstance(code := early.begin(), int):
        sys.exit(code)

import functools
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp

from builderos import early
from builderos.assembly import assemble
from builderos.assets.artifacts import service as artifacts
from builderos.assets.memory import service as memory
from builderos.assets.prompts import service as prompts
from builderos.assets.repositories import service as repositories
from builderos.assets.workspaces import service as workspaces
from builderos.core import logs, tracing
from builderos.core.actor import system_actor
from builderos.core.application import Application
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.ids import new_id
from builderos.core.keys import load_keys
from builderos.core.migrations import migrate
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.unit import Call, Unit, as_system, perform
from builderos.early import Begun, told
from builderos.engine import news, outbox
from builderos.engine.durable import Durable
from builderos.engine.service import Engine
from builderos.execution.compute.service import SandboxProviders
from builderos.execution.gateway import service as gateway
from builderos.execution.runs import service as execution
from builderos.groups import GROUPS
from builderos.integrations.embedded_postgres import service as embedded_postgres
from builderos.integrations.otlp.service import OtlpTracer
from builderos.integrations.smtp import service as smtp
from builderos.interfaces.console.door import add_console
from builderos.interfaces.git.routes import add_git
from builderos.interfaces.http import idempotency, process
from builderos.interfaces.http.behind import Behind
from builderos.interfaces.http.gpt import add_chat
from builderos.interfaces.http.health import add_health, health_only
from builderos.interfaces.http.hooks import add_hooks
from builderos.interfaces.http.invocations import add_invocations
from builderos.interfaces.http.metrics import add_metrics
from builderos.interfaces.http.oauth_consent import add_consent
from builderos.interfaces.http.oauth_tokens import add_oauth
from builderos.interfaces.http.server import Extension, build_api, wrap
from builderos.interfaces.http.sign_in import add_sign_in
from builderos.interfaces.http.traffic import Traffic
from builderos.interfaces.http.uploads import add_uploads
from builderos.interfaces.mcp.door import add_mcp
from builderos.interfaces.mlflow.door import add_mlflow
from builderos.interfaces.openai.door import add_openai
from builderos.interfaces.proxy import front as proxy
from builderos.trust.audit import service as audit
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices
from builderos.trust.orgs import service as orgs
from builderos.trust.policy.service import approvals
from builderos.trust.quotas import service as quotas
from builderos.trust.vault import service as vault
from builderos.workloads.apps import service as apps
from builderos.workloads.deployments import service as deployments
from builderos.workloads.endpoints import service as endpoints
from builderos.workloads.lineage import service as lineage
from builderos.workloads.sessions import service as sessions

log = logging.getLogger("builderos.app")
CUT_OFF_S = 5.0
EXTENSIONS: tuple[Extension, ...] = (
    add_health,
    add_metrics,
    add_sign_in,
    add_oauth,
    add_consent,
    add_git,
    add_chat,
    add_mcp,
    add_uploads,
    add_invocations,
    add_openai,
    add_mlflow,
    add_hooks,
    add_console,
)


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


def ensure_owner(context: Context, org_id: str) -> str:
    """The local owner's credential, kept in the home with mode 0600; made anew when the file is lost or no longer
    valid.
    """
    path = context.get(Settings).home_dir / "owner.token"
    if path.exists():
        secret = path.read_text().strip()
        if (
            identity.authenticate(context.get(Database), context.get(identity.Hasher), secret).presented
            == "valid"
        ):
            return secret
    call = Call(actor=system_actor(org_id), request_id=new_id("req"), door="start")

    def create(unit: Unit) -> str:
        credential = identity.issue(unit, "owner", actor_name="owner", profile="full", label="local owner")
        ledger.record(unit, "credential.created", credential.id, {"kind": "owner"})
        return credential.secret

    secret = perform(context, call, create)
    draft = path.with_name(".owner.token")
    draft.unlink(missing_ok=True)
    draft.touch(0o600)
    draft.write_text(secret + "\n")
    draft.rename(path)
    return secret


def outbox_handlers() -> outbox.Handlers:
    """Who carries out which message of the outbox."""
    handlers = outbox.Handlers()
    handlers.enrol(orgs.signing_in.MAIL, smtp.send_sign_in)
    handlers.enrol(notices.mail.KIND, smtp.send_notice)
    handlers.enrol(notices.deliveries.KIND, notices.sending.send)
    handlers.enrol(audit.sinks.MESSAGE, audit.shipping.carry)
    handlers.enrol(lineage.telling.KIND, lineage.telling.carry)
    return handlers


def build_engine(started: Started) -> Engine:
    """The engine with every schedule and outbox handler; not started. It costs nothing until it is."""
    context = started.app.context
    engine = Engine(started.engine_url, context, handlers=outbox_handlers())
    engine.cron("backup-daily", "10 0 * * *", workspaces.back_up_daily, catch_up=True)
    engine.cron("export-weekly", "20 0 * * 1", workspaces.export_weekly, catch_up=True)
    engine.cron("sandbox-ages", "30 0 * * *", workspaces.age_sandboxes, catch_up=True)
    engine.cron("approval-expiry", "15 * * * *", lambda c, org: as_system(c, org, approvals.expire_overdue))
    engine.cron("idempotency-sweep", "7 * * * *", lambda c, org: as_system(c, org, idempotency.sweep))
    engine.cron("sign-in-sweep", "37 * * * *", lambda c, org: as_system(c, org, orgs.signing_in.sweep))
    for feed in (notices.feed.pass_on, audit.shipping.wake, lineage.telling.pass_on):
        engine.feed(feed)
    watch, durable = execution.Watch(), context.get(Durable)
    engine.feed(watch.look)
    engine.feed(execution.fire_triggers)
    engine.feed(execution.check_tasks)
    for word, kind in (
        (deployments.WORD, deployments.Care), (sessions.WORD, sessions.Keeper), (endpoints.WORD, endpoints.Keeper),
        (apps.WORD, apps.Keeper),
    ):  # fmt: skip
        keeper = context.get(kind)
        engine.feed(keeper.look)
        engine.word(word, keeper.heard)
    engine.cron("app-tidy", "53 * * * *", apps.tidy, catch_up=True)
    engine.cron("session-tidy", "43 * * * *", sessions.tidy, catch_up=True)
    engine.cron("deployment-tidy", "13 * * * *", deployments.tidy, catch_up=True)
    engine.word(execution.INTERRUPT, durable.interrupt)
    engine.word(news.WORD, context.get(news.News).heard)
    engine.word(news.WANTED, context.get(news.News).wanted)
    engine.word(execution.WAKE, lambda _run_id: context.get(outbox.Bell).ring())
    engine.cron("inbox-sweep", "31 3 * * *", lambda c, org: as_system(c, org, notices.inbox.sweep))
    engine.cron("delivery-sweep", "29 3 * * *", lambda c, org: as_system(c, org, notices.deliveries.sweep))
    engine.cron("org-erasure", "47 * * * *", orgs.closing.erase_due, each_org=False)
    engine.cron("artifact-tidy", "17 * * * *", artifacts.tidy, catch_up=True)
    engine.cron("rewrap-keys", "*/20 * * * *", lambda c, org: as_system(c, org, vault.rewrap), catch_up=True)
    engine.cron("memory-tidy", "*/10 * * * *", memory.tidying.tidy, catch_up=True)
    engine.cron("findings-sweep", "43 3 * * *", lambda c, org: as_system(c, org, vault.findings.sweep))
    engine.cron("usage-sweep", "33 3 * * *", lambda c, org: as_system(c, org, quotas.metering.sweep))
    engine.cron(
        "usage-close",
        "11 0 * * *",
        lambda c, org: as_system(c, org, quotas.usage.close_periods),
        catch_up=True,
    )
    engine.cron("outbox-sweep", "23 3 * * *", lambda c, org: as_system(c, org, outbox.sweep))
    engine.cron("git-checkpoint", "*/5 * * * *", repositories.checkpoint, each_org=False)
    engine.cron("ledger-checkpoint", "*/10 * * * *", workspaces.sign_ledger)
    engine.cron("access-seal", "*/10 * * * *", audit.access.seal_all)
    engine.cron("retention", "53 3 * * *", audit.keeping.forget_old, catch_up=True)
    engine.cron("prompt-files", "24 * * * *", prompts.local_files.catch_up, catch_up=True)
    engine.cron("ai-overdue", "*/5 * * * *", lambda c, org: as_system(c, org, gateway.sweep), catch_up=True)
    engine.cron("ai-usage-sweep", "49 3 * * *", lambda c, org: as_system(c, org, gateway.forget))
    engine.cron("run-files", "27 * * * *", execution.local_files.catch_up, catch_up=True)
    engine.cron("run-tidy", "57 3 * * *", execution.tidy, catch_up=True)
    engine.cron("git-tidy", "41 3 * * *", repositories.tidy, each_org=False, catch_up=True)
    context.put(Engine, engine)
    return engine


def http_app(started: Started) -> ASGIApp:
    """The server's ASGI application with every extension."""
    api = build_api(started.app, EXTENSIONS)
    return wrap(api, started.app)


def serve(begun: Begun) -> int:
    """Run a server in this process until it is told to stop; returns the exit code.

    Without doors it is a worker: its engine, and two addresses that tell how it is.
    """
    settings, sock, doors = begun.settings, begun.sock, begun.doors
    logs.configure(settings)
    home, what = settings.home_dir, "BuilderOS" if doors else "The worker"
    with begun.lock:
        try:
            tracer = OtlpTracer.configured(settings)
            tracing.install(tracer)
            if not doors:
                _fit_for_work(settings)
            begun.database.wait()
            started = build(settings)
        except Problem as problem:
            begun.database.call_off()
            return told(problem)
        if doors:
            ensure_owner(started.app.context, ensure_default_org(started.app.context))
        repositories.prepare(started.app.context)
        revive = None if settings.database_url else functools.partial(_revive, home)
        front = proxy.Front(started.app.context)
        behind = Behind(started.app.context, build_engine(started), revive)

        def ready(url: str) -> None:
            print(f"{what} is serving at {url}", flush=True)
            behind.start()

        try:
            traffic = started.app.context.get(Traffic)
            if doors:
                front.open(proxy.listen(settings, sock.getsockname()[1]))
            asgi = http_app(started) if doors else health_only(started.app)
            process.run(
                asgi, settings, sock, traffic, ready, lambda: _cut_off(settings, behind), {"proxy_port": front.port},
                jails=doors,
            )  # fmt: skip
        finally:
            front.close()
            drained = behind.stop()
            started.app.context.get(sessions.Keeper).close()
            started.app.context.get(endpoints.Keeper).close()
            started.app.context.get(apps.Keeper).close()
            started.app.context.get(deployments.Care).close()
            started.app.context.get(SandboxProviders).close()
            started.app.context.get(execution.LocalFiles).close()
            started.app.context.get(gateway.Gateway).close()
            started.app.context.get(memory.Files).close()
            started.app.context.get(Database).close()
            if settings.database_url is None:
                embedded_postgres.stop(home)
            if tracer is not None:
                tracer.stop()
    if not drained:
        # A scheduled run did not end in time. Its thread would hold the process up; it is repeated after the next
        # start.
        os._exit(0)
    return 0


def _fit_for_work(settings: Settings) -> None:
    """A worker shares database, secret key and store of the other machines. Raises `validation_failed`."""
    missing = [
        name
        for name, value in (
            ("BUILDEROS_DATABASE_URL", settings.database_url), ("BUILDEROS_SECRET_KEY", settings.secret_key),
            ("BUILDEROS_ARTIFACT_URL", settings.artifact_url),
        )
        if value is None
    ]  # fmt: skip
    if missing or not settings.engine:
        what = f"{', '.join(missing)} is not set" if missing else "BUILDEROS_ENGINE is off"
        hint = "Give a worker the environment of the server that it works for, and a state folder of its own."
        raise Problem("validation_failed", f"a worker cannot work so: {what}", hint=hint)


def _revive(home: Path) -> None:
    """Start the embedded database again when something killed it; a folder that is gone is not made anew."""
    if embedded_postgres.has_stopped(home):
        log.warning("the embedded database had stopped; it is started again")
        embedded_postgres.start(home)


def _cut_off(settings: Settings, behind: Behind) -> None:
    """End this process while threads of it still work: what they had not committed did not happen."""
    log.error("some work did not end in time; the server ends without it")
    try:
        behind.halt()
        if settings.database_url is None:
            embedded_postgres.stop(settings.home_dir, wait_s=CUT_OFF_S)
    finally:
        os._exit(1)


def main() -> int:
    """`python -m builderos.app`: the server that `builderos up` starts; with `worker`: what `builderos worker` does."""
    begun = early.begin()
    return begun if isinstance(begun, int) else serve(begun)


if __name__ == "__main__":
    sys.exit(main())
