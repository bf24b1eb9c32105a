"""Every group of operations that a server has, in the order of the contract: a new one is enrolled here."""

from builderos.assets.artifacts.routes import routes as artifact_routes
from builderos.assets.memory.items_routes import routes as memory_item_routes
from builderos.assets.memory.routes import routes as memory_routes
from builderos.assets.prompts.routes import routes as prompt_routes
from builderos.assets.repositories.routes import routes as repository_routes
from builderos.assets.workspaces.routes import admin_routes, provenance_routes, sandbox_routes, task_routes
from builderos.assets.workspaces.routes import routes as workspace_routes
from builderos.execution.compute.routes import routes as compute_routes
from builderos.execution.gateway.routes import routes as model_routes
from builderos.execution.runs.pipelines_routes import routes as pipeline_routes
from builderos.execution.runs.replay_routes import routes as replay_routes
from builderos.execution.runs.routes import routes as run_routes
from builderos.execution.runs.view_routes import routes as run_view_routes
from builderos.interfaces.http.actions import routes as action_routes
from builderos.trust.audit.routes import routes as audit_routes
from builderos.trust.notices.routes import inbox_routes, webhook_routes
from builderos.trust.notices.routes import routes as alert_routes
from builderos.trust.orgs.routes import place_routes
from builderos.trust.orgs.routes import routes as key_routes
from builderos.trust.policy.routes import routes as approval_routes
from builderos.trust.quotas.routes import routes as usage_routes
from builderos.trust.vault.routes import routes as vault_routes
from builderos.workloads.agents.routes import routes as agent_routes
from builderos.workloads.agents.trace_routes import routes as trace_routes
from builderos.workloads.apps.routes import routes as app_routes
from builderos.workloads.datasets.routes import routes as dataset_routes
from builderos.workloads.deployments.routes import routes as deployment_routes
from builderos.workloads.endpoints.routes import routes as endpoint_routes
from builderos.workloads.evals.routes import routes as eval_routes
from builderos.workloads.experiments.routes import routes as experiment_routes
from builderos.workloads.lineage.routes import routes as lineage_routes
from builderos.workloads.models.routes import routes as registry_routes
from builderos.workloads.sessions.routes import routes as session_routes
from builderos.workloads.stream.routes import routes as stream_routes

GROUPS = [
    workspace_routes,
    task_routes,
    memory_routes,
    memory_item_routes,
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
    prompt_routes,
    eval_routes,
    experiment_routes,
    run_view_routes,
    agent_routes,
    trace_routes,
    deployment_routes,
    model_routes,
    stream_routes,
    lineage_routes,
    dataset_routes,
    registry_routes,
    endpoint_routes,
    session_routes,
    app_routes,
]
