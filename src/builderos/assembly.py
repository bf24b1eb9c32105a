"""Which adapter and store goes where: settings → the `Context` of one server. Beside app.py, the only file that knows
everything.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

from builderos.assets.artifacts import service as artifacts
from builderos.assets.artifacts.ports import Runs
from builderos.assets.memory import service as memory
from builderos.assets.memory.ports import Embedding
from builderos.assets.prompts import service as prompts
from builderos.assets.repositories import service as repositories
from builderos.assets.repositories.service import ObjectCache, RepositoryStore, Torn
from builderos.assets.workspaces import service as workspaces
from builderos.assets.workspaces.ports import (
    Authors,
    Examiner,
    Examiners,
    GitHosts,
    Origins,
    Projection,
    Projections,
)
from builderos.core.cleaning import clean_with
from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.dialing import networks_of
from builderos.core.home import ARTIFACTS, EXECUTIONS, REPOSITORIES
from builderos.core.keys import ServerKeys
from builderos.core.metrics import Metrics
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.steps import Actions, Companions, Gates
from builderos.engine import outbox
from builderos.engine.durable import Durable
from builderos.engine.news import News
from builderos.equipment import embedding, put_models, put_workbench
from builderos.execution.compute.ports import SandboxProvider
from builderos.execution.compute.service import RUN_WEAK, Approved, SandboxProviders
from builderos.execution.compute.service import soundness as compute_soundness
from builderos.execution.runs import service as execution
from builderos.integrations.bwrap.service import LocalSandboxes
from builderos.integrations.docker import service as docker
from builderos.integrations.kubernetes import service as kubernetes
from builderos.integrations.local_deploy.service import LocalDeployer
from builderos.integrations.local_forge.service import LocalForge
from builderos.integrations.mcp.service import McpClient
from builderos.integrations.oidc.service import OidcProvider
from builderos.integrations.s3.service import S3Carrier, open_store
from builderos.integrations.sinks.service import FileCarrier, SyslogCarrier, WebhookCarrier
from builderos.integrations.smtp import steps as mailing
from builderos.integrations.vercel import service as vercel
from builderos.interfaces.http.cookies import Cookies
from builderos.interfaces.http.live import Streams
from builderos.interfaces.http.traffic import Traffic
from builderos.trust.audit import service as audit
from builderos.trust.audit.ports import Alarms, Carriers, Erasers, Witnesses
from builderos.trust.identity import service as identity
from builderos.trust.ledger import service as ledger
from builderos.trust.notices import service as notices
from builderos.trust.notices.ports import Directory, Questions
from builderos.trust.orgs import service as orgs
from builderos.trust.orgs.ports import Alarm, Elsewhere, Holds, Providers, Subjects
from builderos.trust.policy.ports import Names, Readings
from builderos.trust.policy.service import InForce, Policy, Verdicts, approvals, proposing
from builderos.trust.policy.service import witness as policy_witness
from builderos.trust.quotas import service as quotas
from builderos.trust.quotas.service import Rates
from builderos.trust.secrets.service import Box, Keyring
from builderos.trust.signing.service import Signer
from builderos.trust.vault import service as vault
from builderos.workloads.agents import service as agents
from builderos.workloads.deployments import service as deployments
from builderos.workloads.deployments.ports import Deployers
from builderos.workloads.endpoints import service as endpoints
from builderos.workloads.evals import service as evals
from builderos.workloads.experiments import service as experiments
from builderos.workloads.models import service as models
from builderos.workloads.sessions import service as sessions
from builderos.workloads.stream import service as stream


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
    _put_verdicts(context)
    hosts = GitHosts()
    hosts.enrol(LocalForge.name, LocalForge())
    context.put(GitHosts, hosts)
    witnesses = Witnesses()
    witnesses.enrol("commits", workspaces.unlogged_commits)
    witnesses.enrol("accesses", audit.access.unsealed)
    context.put(
        Readings, Readings(lambda unit, act, of, paths: audit.access.note(unit, act, of, paths=paths))
    )
    witnesses.enrol("index", ledger.misplaced)
    witnesses.enrol("decisions", policy_witness.findings)
    context.put(Witnesses, witnesses)
    context.put(Signer, Signer(keys))
    context.put(Cookies, Cookies(keys, settings))
    _put_subjects(context)
    holds = Holds()
    holds.enrol("legal hold", audit.keeping.held)
    context.put(Holds, holds)
    _put_prompts(context)
    _put_artifacts(context, settings)
    _enrol_sign_in(context, settings)
    context.put(Alarms, Alarms(notices.raise_alert))
    _put_carriers(context, settings)
    erasers = Erasers()
    erasers.enrol("approvals", approvals.forget_words)
    erasers.enrol("promotions", workspaces.forget_words)
    erasers.enrol("deliveries", notices.deliveries.forget)
    erasers.enrol("memory", memory.tidying.forget_person)
    context.put(Erasers, erasers)
    context.put(outbox.Bell, outbox.Bell())
    context.put(Directory, Directory(orgs.members.address_of))
    asking = execution.questions
    context.put(Questions, Questions(asking.for_reader, asking.find, asking.answerers))
    _put_runs(context, settings)
    _put_compute(context, settings)
    _put_deployers(context)
    put_models(context, settings)
    put_workbench(context)
    context.put(Embedding, embedding(settings))
    context.put(memory.Files, memory.Files(context))
    return context


def _put_subjects(context: Context) -> None:
    """What permissions can be asked about by its id, and what those are called whom ids stand for."""
    context.put(Names, Names(orgs.me.names))
    subjects = Subjects()
    for prefix, finder in workspaces.SUBJECTS.items():
        subjects.enrol(prefix, finder)
    subjects.enrol("run", execution.subject)
    subjects.enrol("dep", deployments.subject)
    subjects.enrol("nbs", sessions.subject)
    context.put(Subjects, subjects)


def _put_verdicts(context: Context) -> None:
    """Who waits for which approval."""
    verdicts = Verdicts()
    verdicts.enrol("pull.merge", workspaces.on_verdict)
    verdicts.enrol("git.release", workspaces.on_verdict)
    deploying = (f"deploy.{env}" for env in ("preview", "dev", "stage", "prod"))
    for action in (execution.APPROVE, RUN_WEAK, *deploying, *agents.APPROVALS):
        verdicts.enrol(action, execution.on_verdict)
    verdicts.enrol(proposing.ACTIVATE, proposing.on_verdict)
    verdicts.enrol(prompts.PROMOTE, prompts.on_verdict)
    verdicts.enrol(models.PROMOTE, models.on_verdict)
    context.put(Verdicts, verdicts)


def _put_prompts(context: Context) -> None:
    """Which versions of prompts may become `latest`, and how they did."""
    gates, scorers = prompts.Gates(), prompts.Scorers()
    gates.enrol("evals", evals.verdicts)
    scorers.enrol("evals", evals.scores)
    context.put(prompts.Gates, gates)
    context.put(prompts.Scorers, scorers)


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
    examiners.enrol("commands", Examiner(compute_soundness))
    examiners.enrol("folders of runs", Examiner(execution.leftovers.soundness, execution.leftovers.mend))
    context.put(Examiners, examiners)


def _sandbox_providers(settings: Settings, approved: Approved) -> SandboxProviders:
    """Where commands may run. Nothing is built before the first command; SDKs are loaded by what needs them."""
    state = settings.home_dir / EXECUTIONS
    providers = SandboxProviders(settings.home_dir)
    providers.enrol("local", lambda: LocalSandboxes(state / "local", networks=settings.sandbox_networks))
    for name, build in (("docker", docker.provider), ("kubernetes", kubernetes.provider)):
        providers.enrol(name, functools.partial(_remote, build, approved, name, state / name))
    token = settings.vercel_token
    on_vercel = functools.partial(vercel.provider, token=lambda: token.get_secret_value() if token else None)
    providers.enrol("vercel", functools.partial(_remote, on_vercel, approved, "vercel", state / "vercel"))
    return providers


def _put_deployers(context: Context) -> None:
    """Who serves what is deployed. Nothing is built before the first deployment."""

    def jail() -> LocalSandboxes:
        provider = context.get(SandboxProviders).provider("local")
        assert isinstance(provider, LocalSandboxes)
        return provider

    deployers = Deployers()
    deployers.enrol(LocalDeployer.name, lambda: LocalDeployer(jail))
    context.put(Deployers, deployers)
    context.put(deployments.Care, deployments.Care(context))


def _put_runs(context: Context, settings: Settings) -> None:
    """What runs are carried out with, and what their steps can do."""
    actions, gates = Actions(), Gates()
    execution.builtin(actions)
    deployments.builtin(actions)
    agents.builtin(actions)
    context.put(agents.Models, agents.GatewayModels())  # type: ignore[type-abstract]
    context.put(agents.ToolServers, McpClient())  # type: ignore[type-abstract]
    context.put(agents.McpServers, agents.McpServers(settings.ssot or settings.home_dir))
    execution.builtin_gates(gates)
    evals.builtin(actions)
    evals.builtin_gates(gates)
    context.put(Actions, actions)
    context.put(Gates, gates)
    companions = Companions()
    experiments.carrying.builtin(companions)
    endpoints.batching.builtin(companions)
    context.put(Companions, companions)
    origins = Origins()
    for prefix, origin in {**execution.ORIGINS, **deployments.ORIGINS}.items():
        origins.enrol(prefix, origin)
    context.put(Origins, origins)
    authors = Authors()
    authors.enrol("agents", agents.trace.author_of)
    context.put(Authors, authors)
    variants = execution.Variants()
    execution.builtin_variants(variants)
    context.put(execution.Variants, variants)
    handlers = execution.EffectHandlers()
    mailing.enrol(actions, handlers)
    context.put(execution.EffectHandlers, handlers)
    context.put(execution.Callers, execution.Callers())
    context.put(execution.Followers, execution.Followers(context))
    context.put(execution.Tails, execution.Tails())
    context.put(execution.LocalFiles, execution.LocalFiles(context))
    projections = Projections()
    projections.enrol("prompts", Projection(prompts.local_files.missing, prompts.local_files.rebuild))
    projections.enrol("memory", Projection(memory.rebuilding.missing, memory.rebuilding.rebuild))
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
    elsewhere.enrol("deployments", deployments.erase)
    elsewhere.enrol("endpoints", endpoints.erase)
    elsewhere.enrol("sessions", sessions.erase)
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
    context.put(
        quotas.budgets.Projects, quotas.budgets.Projects(repositories.id_of, repositories.repository_names)
    )
    context.put(notices.watch.Told, notices.watch.Told())
    context.put(notices.sending.Lanes, notices.sending.Lanes())
    context.put(Metrics, Metrics())
    context.put(Traffic, Traffic())
    context.put(Streams, Streams(context.get(Traffic)))
    context.put(News, News(context))
    context.put(stream.Hub, stream.Hub(context))
