"""The composition root: settings → keys, database, stores, policy → an `Application`. The only file that knows
everything.
"""

import functools
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from starlette.types import ASGIApp

from builderos.assets.artifacts import service as artifacts
from builderos.assets.artifacts.ports import Runs
from builderos.assets.artifacts.routes import routes as artifact_routes
from builderos.assets.memory.routes import routes as memory_routes
from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.routes import routes as repository_routes
from builderos.assets.repositories.service import ObjectCache, RepositoryStore, Torn
from builderos.assets.workspaces import service as workspaces
from builderos.assets.workspaces.ports import Examiners, GitHosts, Origins, Projection, Projections
from builderos.assets.workspaces.routes import admin_routes, provenance_routes, sandbox_routes, task_routes
from builderos.assets.workspaces.routes import routes as workspace_routes
from builderos.core import logs, tracing
from builderos.core.actor import system_actor
from builderos.core.application import Application
from builderos.core.cleaning import clean_with
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.dialing import networks_of
from builderos.core.home import ARTIFACTS, EXECUTIONS, REPOSITORIES
from builderos.core.ids import new_id
from builderos.core.keys import ServerKeys, load_keys
from builderos.core.metrics import Metrics
from builderos.core.migrations import migrate
from builderos.core.problems import Problem
from builderos.core.settings import Settings, load_settings
from builderos.core.steps import Actions, Gates
from builderos.core.unit import Call, Unit, as_system, perform
from builderos.engine import outbox
from builderos.engine.durable import Durable
from builderos.engine.service import Engine
from builderos.execution.compute.ports import SandboxProvider
from builderos.execution.compute.routes import routes as compute_routes
from builderos.execution.compute.service import Approved, SandboxProviders
from builderos.execution.compute.service import soundness as compute_soundness
from builderos.execution.runs import service as execution
from builderos.execution.runs.pipelines_routes import routes as pipeline_routes
from builderos.execution.runs.replay_routes import routes as replay_routes
from builderos.execution.runs.routes import routes as run_routes
from builderos.execution.runs.view_routes import routes as run_view_routes
from builderos.integrations.bwrap.service import LocalSandboxes
from builderos.integrations.docker import service as docker
from builderos.integrations.embedded_postgres import service as embedded_postgres
from builderos.integrations.kubernetes import service as kubernetes
from builderos.integrations.local_forge.service import LocalForge
from builderos.integrations.oidc.service import OidcProvider
from builderos.integrations.otlp.service import OtlpTracer
from builderos.integrations.s3.service import S3Carrier, open_store
from builderos.integrations.sinks.service import FileCarrier, SyslogCarrier, WebhookCarrier
from builderos.integrations.smtp import service as smtp
from builderos.integrations.vercel import service as vercel
from builderos.interfaces.git.routes import add_git
from builderos.interfaces.http import idempotency, process
from builderos.interfaces.http.actions import routes as action_routes
from builderos.interfaces.http.behind import Behind
from builderos.interfaces.http.cookies import Cookies
from builderos.interfaces.http.gpt import add_chat
from builderos.interfaces.http.health import add_health, health_only
from builderos.interfaces.http.live import Streams
from builderos.interfaces.http.metrics import add_metrics
from builderos.interfaces.http.oauth_consent import add_consent
from builderos.interfaces.http.oauth_tokens import add_oauth
from builderos.interfaces.http.server import Extension, build_api, wrap
from builderos.interfaces.http.sign_in import add_sign_in
from builderos.interfaces.http.traffic import Traffic
from builderos.interfaces.http.uploads import add_uploads
from builderos.interfaces.mcp.door import add_mcp
from builderos.trust.audit import service as audit
from builderos.trust.audit.ports import Alarms, Carriers, Erasers, Witnesses
from builderos.trust.audit.routes import routes as audit_routes
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices
from builderos.trust.notices.ports import Directory
from builderos.trust.notices.routes import inbox_routes, webhook_routes
from builderos.trust.notices.routes import routes as alert_routes
from builderos.trust.orgs import service as orgs
from builderos.trust.orgs.ports import Alarm, Elsewhere, Holds, Providers, Subjects
from builderos.trust.orgs.routes import place_routes
from builderos.trust.orgs.routes import routes as key_routes
from builderos.trust.policy.ports import Readings
from builderos.trust.policy.routes import routes as approval_routes
from builderos.trust.policy.service import InForce, Policy, Verdicts, approvals, proposing
from builderos.trust.policy.service import witness as policy_witness
from builderos.trust.quotas import service as quotas
from builderos.trust.quotas.routes import routes as usage_routes
from builderos.trust.quotas.service import Rates
from builderos.trust.secrets.service import Box, Keyring
from builderos.trust.signing.service import Signer
from builderos.trust.vault import service as vault
from builderos.trust.vault.routes import routes as vault_routes

log = logging.getLogger("builderos.app")
CUT_OFF_S = 5.0
GROUPS = [
    workspace_routes,
    task_routes,
    memory_routes,
    action_routes,
    sandbox_routes,
    repository_routes,
    approval_routes,
    audit_routes,
    provenance_routes,
    key_routes,
    place_routes,
    alert_routes,
    webhook_routes,
    inbox_routes,
    usage_routes,
    vault_routes,
    admin_routes,
    compute_routes,
    artifact_routes,
    run_routes,
    replay_routes,
    pipeline_routes,
    run_view_routes,
]
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


def assemble(settings: Settings, keys: ServerKeys, database: Database) -> Context:
    """Every adapter and store of one server."""
    context = Context()
    context.put(Settings, settings)
    context.put(ServerKeys, keys)
    context.put(Database, database)
    context.put(RepositoryStore, RepositoryStore(settings.home_dir / REPOSITORIES))
    context.put(ObjectCache, ObjectCache())
    context.put(Torn, Torn())
    context.put(identity.Hasher, identity.Hasher(keys))
    context.put(Box, Box(keys))
    context.put(Keyring, Keyring(keys, settings.newer_keys))
    known = vault.Known()
    context.put(vault.Known, known)
    clean_with(known.clean)
    context.put(Policy, Policy.default())
    context.put(InForce, InForce())
    _put_counters(context, settings)
    verdicts = Verdicts()
    verdicts.enrol("pull.merge", workspaces.on_verdict)
    verdicts.enrol("git.release", workspaces.on_verdict)
    verdicts.enrol(execution.APPROVE, execution.on_verdict)
    verdicts.enrol(proposing.ACTIVATE, proposing.on_verdict)
    context.put(Verdicts, verdicts)
    hosts = GitHosts()
    hosts.enrol(LocalForge.name, LocalForge())
    context.put(GitHosts, hosts)
    witnesses = Witnesses()
    witnesses.enrol("commits", workspaces.unlogged_commits)
    witnesses.enrol("accesses", audit.access.unsealed)
    context.put(Readings, Readings(lambda unit, *what: audit.access.note(unit, *what[:2], paths=what[2])))
    witnesses.enrol("index", ledger.misplaced)
    witnesses.enrol("decisions", policy_witness.findings)
    context.put(Witnesses, witnesses)
    context.put(Signer, Signer(keys))
    context.put(Cookies, Cookies(keys, settings))
    subjects = Subjects()
    for prefix, finder in workspaces.SUBJECTS.items():
        subjects.enrol(prefix, finder)
    context.put(Subjects, subjects)
    holds = Holds()
    holds.enrol("legal hold", audit.keeping.held)
    context.put(Holds, holds)
    _put_artifacts(context, settings)
    _enrol_sign_in(context, settings)
    context.put(Alarms, Alarms(notices.raise_alert))
    _put_carriers(context, settings)
    erasers = Erasers()
    erasers.enrol("approvals", approvals.forget_words)
    erasers.enrol("promotions", workspaces.forget_words)
    erasers.enrol("deliveries", notices.deliveries.forget)
    context.put(Erasers, erasers)
    context.put(outbox.Bell, outbox.Bell())
    context.put(Directory, Directory(orgs.members.address_of))
    _put_runs(context, settings)
    _put_compute(context, settings)
    return context


def _put_carriers(context: Context, settings: Settings) -> None:
    """Where the record may be carried to."""
    carriers = Carriers()
    for kind, carrier in (
        ("webhook", WebhookCarrier),
        ("syslog", SyslogCarrier),
        ("file", FileCarrier),
        ("s3", S3Carrier),
    ):
        carriers.enrol(kind, carrier(settings))
    context.put(Carriers, carriers)


def _put_compute(context: Context, settings: Settings) -> None:
    """What is approved to run, who runs it, and what the doctor says of that."""
    approved = Approved(settings.ssot or settings.home_dir)
    context.put(Approved, approved)
    context.put(SandboxProviders, _sandbox_providers(settings, approved))
    examiners = Examiners()
    examiners.enrol("commands", compute_soundness)
    context.put(Examiners, examiners)


def _sandbox_providers(settings: Settings, approved: Approved) -> SandboxProviders:
    """Where commands may run. Nothing is built before the first command; SDKs are loaded by what needs them."""
    state = settings.home_dir / EXECUTIONS
    providers = SandboxProviders(settings.home_dir)
    providers.enrol("local", lambda: LocalSandboxes(state / "local"))
    for name, build in (("docker", docker.provider), ("kubernetes", kubernetes.provider)):
        providers.enrol(name, functools.partial(_remote, build, approved, name, state / name))
    token = settings.vercel_token
    on_vercel = functools.partial(vercel.provider, token=lambda: token.get_secret_value() if token else None)
    providers.enrol("vercel", functools.partial(_remote, on_vercel, approved, "vercel", state / "vercel"))
    return providers


def _put_runs(context: Context, settings: Settings) -> None:
    """What runs are carried out with, and what their steps can do."""
    actions, gates = Actions(), Gates()
    execution.builtin(actions)
    execution.builtin_gates(gates)
    context.put(Actions, actions)
    context.put(Gates, gates)
    origins = Origins()
    for prefix, origin in execution.ORIGINS.items():
        origins.enrol(prefix, origin)
    context.put(Origins, origins)
    variants = execution.Variants()
    execution.builtin_variants(variants)
    context.put(execution.Variants, variants)
    context.put(execution.EffectHandlers, execution.EffectHandlers())
    context.put(execution.Callers, execution.Callers())
    context.put(execution.Followers, execution.Followers(context))
    context.put(execution.Tails, execution.Tails())
    context.put(execution.LocalFiles, execution.LocalFiles(context))
    projections = Projections()
    projections.enrol("runs", Projection(execution.local_files.missing, execution.local_files.rebuild))
    context.put(Projections, projections)
    durable = Durable(context, _slots(settings))
    durable.enrol(execution.NODE, execution.node, execution.elsewhere)
    durable.enrol(execution.UNDO, execution.undo)
    context.put(Durable, durable)


def _slots(settings: Settings) -> dict[str, int]:
    """How many commands this process has run at once, by queue: 0 where others serve it."""
    wanted = {name.strip() for name in settings.queues.split(",")} - {""}
    known = (execution.QUEUE,)
    if unknown := wanted.difference(known):
        raise Problem(
            "validation_failed",
            f"there is no queue {', '.join(sorted(unknown))}",
            hint=f"There is {', '.join(known)}.",
        )
    return {name: settings.run_slots if name in wanted else 0 for name in known}


def _put_artifacts(context: Context, settings: Settings) -> None:
    """Where artifacts lie, and who removes those of an organisation that is erased."""
    root = settings.home_dir / ARTIFACTS
    stores = artifacts.Stores(artifacts.FolderStore(root, settings.disk_reserve), settings.artifact_url)
    stores.enrol("s3", functools.partial(open_store, drafts=root))
    stores.enrol("file", functools.partial(artifacts.open_shared, reserve=settings.disk_reserve))
    context.put(artifacts.Stores, stores)
    url = settings.artifact_url
    context.put(
        repositories.Nodes, repositories.Nodes(stores.at(repositories.place_of(url)) if url else None)
    )
    context.put(artifacts.Progress, artifacts.Progress())
    context.put(Runs, Runs(execution.facts_of))
    elsewhere = Elsewhere()
    elsewhere.enrol("artifacts", artifacts.tidying.erase)
    elsewhere.enrol("repositories", repositories.erase_elsewhere)
    context.put(Elsewhere, elsewhere)


def _remote(
    build: Callable[[Mapping[str, str], Path], SandboxProvider], approved: Approved, name: str, state: Path
) -> SandboxProvider:
    """A provider on another machine, reached as the server's file says when it is first needed."""
    return build(approved.options(name), state)


def _enrol_sign_in(context: Context, settings: Settings) -> None:
    """Who says who somebody is, and who hears of stolen secrets."""
    networks = networks_of(settings.oidc_networks)
    own = OidcProvider.configured(settings)
    context.put(Providers, Providers(own, lambda at: OidcProvider.of_organisation(at, networks)))
    context.put(Alarm, Alarm(notices.raise_alert))


def _put_counters(context: Context, settings: Settings) -> None:
    """What this process counts and remembers in memory."""
    context.put(Rates, Rates(settings))
    context.put(quotas.Crowds, quotas.Crowds(settings.token_callers))
    context.put(quotas.metering.Meter, quotas.metering.Meter())
    context.put(quotas.budgets.Budgets, quotas.budgets.Budgets())
    context.put(notices.watch.Told, notices.watch.Told())
    context.put(notices.sending.Lanes, notices.sending.Lanes())
    context.put(Metrics, Metrics())
    context.put(Traffic, Traffic())
    context.put(Streams, Streams(context.get(Traffic)))


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
    engine.feed(notices.feed.pass_on)
    engine.feed(audit.shipping.wake)
    watch, durable = execution.Watch(), context.get(Durable)
    engine.feed(watch.look)
    engine.feed(execution.fire_triggers)
    engine.word(execution.INTERRUPT, durable.interrupt)
    engine.word(execution.WAKE, lambda _run_id: context.get(outbox.Bell).ring())
    engine.cron("inbox-sweep", "31 3 * * *", lambda c, org: as_system(c, org, notices.inbox.sweep))
    engine.cron("delivery-sweep", "29 3 * * *", lambda c, org: as_system(c, org, notices.deliveries.sweep))
    engine.cron("org-erasure", "47 * * * *", orgs.closing.erase_due, each_org=False)
    engine.cron("artifact-tidy", "17 * * * *", artifacts.tidy, catch_up=True)
    engine.cron("rewrap-keys", "*/20 * * * *", lambda c, org: as_system(c, org, vault.rewrap), catch_up=True)
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
    engine.cron("run-files", "27 * * * *", execution.local_files.catch_up, catch_up=True)
    engine.cron("git-tidy", "41 3 * * *", repositories.tidy, each_org=False, catch_up=True)
    context.put(Engine, engine)
    return engine


def http_app(started: Started) -> ASGIApp:
    """The server's ASGI application with every extension."""
    api = build_api(started.app, EXTENSIONS)
    return wrap(api, started.app)


def serve(settings: Settings, *, doors: bool = True) -> int:
    """Run a server in this process until it is told to stop; returns the exit code.

    Without `doors` it is a worker: its engine, and two addresses that tell how it is.
    """
    logs.configure(settings)
    home, what = settings.home_dir, "BuilderOS" if doors else "The worker"
    try:
        lock = process.acquire(home)
    except process.AlreadyRunning as running:
        print(f"BuilderOS is already serving at {running.info.get('url', 'an unknown address')}", flush=True)
        return 0
    with lock:
        try:
            sock = process.listen(settings)
            settings = process.with_address(settings, sock)
            tracer = OtlpTracer.configured(settings)
            tracing.install(tracer)
            if not doors:
                _fit_for_work(settings)
            started = build(settings)
        except Problem as problem:
            print(f"{problem.detail}\n{problem.hint}", file=sys.stderr, flush=True)
            return 1
        if doors:
            ensure_owner(started.app.context, ensure_default_org(started.app.context))
        repositories.prepare(started.app.context)
        revive = None if settings.database_url else functools.partial(_revive, home)
        behind = Behind(started.app.context, build_engine(started), revive)

        def ready(url: str) -> None:
            print(f"{what} is serving at {url}", flush=True)
            behind.start()

        try:
            traffic = started.app.context.get(Traffic)
            asgi = http_app(started) if doors else health_only(started.app)
            process.run(asgi, settings, sock, traffic, ready, lambda: _cut_off(settings, behind))
        finally:
            drained = behind.stop()
            started.app.context.get(SandboxProviders).close()
            started.app.context.get(execution.LocalFiles).close()
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
    if embedded_postgres.status(home).state == "stopped":
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
    try:
        settings = load_settings()
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            print(
                f"setting {'.'.join(map(str, item['loc'])) or 'combination'}: {item['msg']}", file=sys.stderr
            )
        return 2
    return serve(settings, doors=sys.argv[1:] != ["worker"])


if __name__ == "__main__":
    sys.exit(main())
