"""One valid call of every operation, on a scene: what refuses it is the guard and nothing else."""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.support.upstreams import provider_file
from tests.support.world import Json

if TYPE_CHECKING:
    from .scenes import Scene

numbers = itertools.count()
PROMPT = "name: {name}\nversion: 1.0.0\nchangelog: First.\ninputs: {{goal: string}}\ntemplate: Do {{{{ goal }}}}.\n"


def prompt_file(name: str) -> str:
    """A prompt that says what to do."""
    return PROMPT.format(name=name)


def _task(scene: "Scene") -> str:
    """A task of the scene that can be completed."""
    name = f"task_{next(numbers)}"
    make = {"action": "create", "task_id": name, "title": "Do it", "phase": "1"}
    scene.sandbox.post("/tasks/lifecycle", **make)
    for action in ("activate", "start"):
        scene.sandbox.post("/tasks/lifecycle", action=action, task_id=name)
    return name


def _program(s: "Scene") -> str:
    """A program of the organisation."""
    body = {"name": "x", "redirect_uris": ["https://chat.example/cb"]}
    return s.world.ok(s.world.as_owner("POST", "/v1/oauth-clients", json=body), 201)["id"]


_PROVIDER: Json = {"label": "x", "issuer": "https://id.scene.example", "client_id": "x"}


def _provider(s: "Scene") -> str:
    """The one provider of the organisation that is removed."""
    world = s.world
    for made in world.ok(world.as_owner("GET", "/v1/identity-providers"))["items"]:
        world.ok(world.as_owner("DELETE", f"/v1/identity-providers/{made['id']}"))
    return world.ok(world.as_owner("POST", "/v1/identity-providers", json=_PROVIDER), 201)["id"]


def _replay(s: "Scene") -> str:
    """A replay of a run that is over."""
    path = f"/v1/runs/{s.fresh_run('cancelled')}/replay"
    return s.world.ok(s.world.http.post(path, json={}, headers=s.sandbox.headers), 202)["run_id"]


def _model(s: "Scene") -> Json:
    """A question to a model that there is, and that says nothing."""
    provider_file(s.world.home, "providers: {scripts: {kind: recorded, mode: scripted, folder: none}}")
    return {"model": "scripts/any", "messages": [{"role": "user", "content": "hi"}]}


CALLS: dict[str, Callable[["Scene"], Json]] = {
    "initSandbox": lambda s: {"repo_name": "lab"},
    "initBranch": lambda s: {"repo_name": "lab"},
    "getStarted": lambda s: {"repo_name": "lab"},
    "initProject": lambda s: {**s.here, "project_name": "Scene"},
    "commit_and_log": lambda s: {**s.here, "message": "x", "file_path": f"n{next(numbers)}", "content": "x"},
    "commitAndLogOutput": lambda s: {
        **s.here,
        "message": "x",
        "file_path": f"n{next(numbers)}",
        "content": "x",
    },
    "fetchFiles": lambda s: {**s.here, "path": "README.md"},
    "gitLog": lambda s: s.here,
    "gitDiff": lambda s: s.here,
    "rollback": lambda s: {**s.here, "commit_sha": s.commit_sha, "reason": "x"},
    "createBackup": lambda s: s.here,
    "listBackups": lambda s: s.here,
    "getBackups": lambda s: s.here,
    "restoreBackup": lambda s: {**s.here, "id": s.backup_id},
    "promote": lambda s: {**s.here, "title": "A scene"},
    "taskLifecycle": lambda s: {
        **s.here,
        "action": "create",
        "task_id": f"t{next(numbers)}",
        "title": "x",
        "phase": "1",
    },
    "completeTask": lambda s: {**s.here, "task_id": _task(s), "reasoning": "done"},
    "handoff": lambda s: {
        **s.here,
        "action": "append",
        "task_id": _task(s),
        "to": "x",
        "reason": "x",
        "next_prompt": "x",
    },
    "logReasoning": lambda s: {**s.here, "task_id": _task(s), "kind": "thought", "text": "x"},
    "taskQuery": lambda s: {**s.here, "mode": "list"},
    "memoryQuery": lambda s: s.here,
    "memoryManage": lambda s: {**s.here, "action": "index"},
    "systemMetrics": lambda s: {**s.here, "mode": "summary"},
    "listActions": lambda s: {},
    "getActions": lambda s: {},
    "listPulls": lambda s: {"repo_name": "lab"},
    "getPull": lambda s: {"id": s.promotion["promotion_id"]},
    "reviewPull": lambda s: {"id": s.promotion["promotion_id"], "verdict": "comment", "comment": "x"},
    "mergePull": lambda s: {"id": s.promotion["promotion_id"]},
    "listSandboxes": lambda s: {},
    "getSandbox": lambda s: {"id": s.sandbox_id},
    "changeToken": lambda s: {"id": s.sandbox_id, "action": "rotate"},
    "resetSandbox": lambda s: {"id": s.sandbox_id, "to": "main"},
    "updateSandbox": lambda s: {"id": s.sandbox_id},
    "archiveSandbox": lambda s: {"id": s.sandbox_id},
    "deleteSandbox": lambda s: {"id": s.sandbox_id},
    "shareSandbox": lambda s: {"id": s.sandbox_id},
    "revokeShare": lambda s: {"id": s.share["share_id"]},
    "viewShared": lambda s: {"share_token": s.share["share_token"]},
    "importRepo": lambda s: {"source": str(s.grounds.source), "name": f"import-{next(numbers)}"},
    "createRepo": lambda s: {"name": f"made-{next(numbers)}"},
    "listRepos": lambda s: {},
    "getRepo": lambda s: {"id": s.grounds.repo_id},
    "createDevBranch": lambda s: {"id": s.grounds.repo_id, "branch": f"dev-{next(numbers)}"},
    "protectRepo": lambda s: {"id": s.grounds.repo_id, "dry_run": True},
    "setSecret": lambda s: {"key_name": f"SCENE_{next(numbers)}", "value": "the value of a scene"},
    "listSecrets": lambda s: {},
    "changeSecret": lambda s: {"id": s.secret_id, "state": "disabled"},
    "deleteSecret": lambda s: {"id": s.secret_id},
    "rotateVaultKey": lambda s: {},
    "listSecretFindings": lambda s: {},
    "decideSecretFinding": lambda s: {
        "fingerprint": s.fingerprint,
        "decision": "allow",
        "reason": "A scene.",
    },
    "getPolicy": lambda s: {},
    "proposePolicy": lambda s: {"content": f"version: 1 # {next(numbers)}", "reason": "x"},
    "explainPolicy": lambda s: {"action": "files.write"},
    "simulatePolicy": lambda s: {"questions": [{"action": "files.write"}]},
    "diffPolicy": lambda s: {"content": "version: 1"},
    "listApprovals": lambda s: {},
    "getApproval": lambda s: {"id": s.promotion["approval_id"]},
    "decideApproval": lambda s: {"id": s.promotion["approval_id"], "decision": "approve"},
    "searchAudit": lambda s: {},
    "exportAudit": lambda s: {"format": "jsonl"},
    "verifyAudit": lambda s: {},
    "getCheckpoint": lambda s: {},
    "makeCheckpoint": lambda s: {},
    "proveLine": lambda s: {"seq": 1},
    "proveGrowth": lambda s: {"from": 1},
    "getProvenance": lambda s: {"id": s.commit_sha},
    "attestCommit": lambda s: {"id": s.commit_sha},
    "traceCommit": lambda s: {"id": s.commit_sha},
    "listFiles": lambda s: s.here,
    "explainLine": lambda s: {**s.here, "path": "README.md", "line": 1},
    "runDoctor": lambda s: {},
    "createOrg": lambda s: {
        "slug": f"scene-{next(numbers)}",
        "name": "x",
        "owner_email": "x@scene.example",
    },
    "getOrg": lambda s: {"id": s.world.org_id},
    "changeOrg": lambda s: {"id": s.world.org_id, "anonymous": True},
    "closeOrg": lambda s: {
        "id": s.world.org_id,
        "confirm": "local",
    },  # the server owner's own: nobody closes it
    "keepOrg": lambda s: {"id": s.world.org_id},
    "routeOrg": lambda s: {"id": s.grounds.foreign_org, "patterns": [f"scene{next(numbers)}-*"]},
    "handOver": lambda s: {"id": s.member_id},  # a program, which owns nothing
    "leaveOrg": lambda s: {"confirm": "another"},  # so that everybody is still there for the next call
    "createWorkspace": lambda s: {"name": f"Scene {next(numbers)}"},
    "listWorkspaces": lambda s: {},
    "getWorkspace": lambda s: {"id": s.project["workspace_id"]},
    "changeWorkspace": lambda s: {"id": s.project["workspace_id"], "archived": False},
    "createProject": lambda s: {"workspace_id": s.project["workspace_id"], "name": f"scene-{next(numbers)}"},
    "listProjects": lambda s: {},
    "getProject": lambda s: {"id": s.project["id"]},
    "changeProject": lambda s: {"id": s.project["id"], "stack": ["python"]},
    "moveRepo": lambda s: {"id": s.grounds.repo_id, "project_id": None},
    "createGrant": lambda s: {"member_id": s.member_id, "role": "viewer", "place": s.project["id"]},
    "listGrants": lambda s: {},
    "endGrant": lambda s: {"id": s.grant_id},
    "listMembers": lambda s: {},
    "changeMember": lambda s: {"id": s.member_id, "role": "viewer"},
    "removeMember": lambda s: {"id": s.member_id},
    "createServiceAccount": lambda s: {"label": "x", "role": "viewer"},
    "createOauthClient": lambda s: {"name": "x", "redirect_uris": ["https://chat.example/cb"]},
    "listOauthClients": lambda s: {},
    "changeOauthClient": lambda s: {"id": _program(s), "redirect_uris": ["https://chat.example/new"]},
    "removeOauthClient": lambda s: {"id": _program(s)},
    "createIdentityProvider": lambda s: _PROVIDER,
    "listIdentityProviders": lambda s: {},
    "changeIdentityProvider": lambda s: {"id": _provider(s), "listed": False},
    "removeIdentityProvider": lambda s: {"id": _provider(s)},
    "createInvite": lambda s: {"email": f"n{next(numbers)}@scene.example", "role": "viewer"},
    "listInvites": lambda s: {},
    "revokeInvite": lambda s: {"id": s.invite["id"]},
    "acceptInvite": lambda s: {"invite_token": s.invite["invite_token"]},
    "createToken": lambda s: {"label": "x", "scopes": ["read"]},
    "listTokens": lambda s: {},
    "revokeToken": lambda s: {"id": s.token_id},
    "getMe": lambda s: {},
    "getPermissions": lambda s: {"object": s.sandbox_id},
    "listSessions": lambda s: {},
    "endSession": lambda s: {"id": s.session_id},
    "createKey": lambda s: {"label": "x", "scopes": ["read"]},
    "listKeys": lambda s: {},
    "revokeKey": lambda s: {"id": s.key_id},
    "listAlerts": lambda s: {},
    "ackAlert": lambda s: {"id": s.alert_id},
    "getUsage": lambda s: {"by": "day"},
    "listRuntimes": lambda s: {},
    "listProviders": lambda s: {},
    "listSandboxRuns": lambda s: {},
    "listBudgets": lambda s: {},
    "streamCompletion": _model,
    "listModels": lambda s: {},
    "listModelUsage": lambda s: {},
    "sumModelUsage": lambda s: {},
    "listModelBudgets": lambda s: {},
    "setModelBudget": lambda s: {"subject": "org", "period": "total", "meter": "tokens", "amount": 10**9},
    "setBudget": lambda s: {"meter": "commits", "period": "month", "amount": 10**12},
    "getOverview": lambda s: {},
    "liftSuspension": lambda s: {"id": s.suspended_id},
    "listInbox": lambda s: {},
    "markInbox": lambda s: {"items": [s.alert_id]},
    "getPreferences": lambda s: {},
    "setPreferences": lambda s: {"mail_approvals": False},
    "searchAccess": lambda s: {"limit": 1},
    "exportAccess": lambda s: {},
    "getRetention": lambda s: {},
    "setRetention": lambda s: {"access_days": 400},
    "listHolds": lambda s: {},
    "createHold": lambda s: {"subject": "usr_nobody", "reason": "x"},
    "releaseHold": lambda s: {"id": s.hold_id},
    "erasePerson": lambda s: {"subject": "usr_somebody"},
    "listSinks": lambda s: {},
    "createSink": lambda s: {"name": f"scene-{next(numbers)}", "file": {}},
    "testSink": lambda s: {"id": s.sink_id},
    "deleteSink": lambda s: {"id": s.sink_id},
    "createWebhook": lambda s: {"url": "https://hooks.example.com/", "events": ["none"]},
    "listWebhooks": lambda s: {},
    "getWebhook": lambda s: {"id": s.webhook_id},
    "changeWebhook": lambda s: {"id": s.webhook_id, "description": "x"},
    "deleteWebhook": lambda s: {"id": s.webhook_id},
    "rotateWebhookSecret": lambda s: {"id": s.webhook_id},
    "pingWebhook": lambda s: {"id": s.webhook_id},
    "listDeliveries": lambda s: {"id": s.webhook_id},
    "getDelivery": lambda s: {"id": s.delivery_id},
    "redeliverWebhook": lambda s: {"id": s.webhook_id, "failed": True},
    "validatePipeline": lambda s: {"content": "name: a\nsteps: [{id: x, run: e}]\n"},
    "listPipelines": lambda s: {"limit": 1},
    "publishPipeline": lambda s: {"content": "name: guarded\nsteps: [{id: x, run: e}]\n"},
    "showPipeline": lambda s: {**s.here, "name": s.pipeline},
    "switchOnTriggers": lambda s: {**s.here, "name": s.pipeline},
    "listTriggers": lambda s: {"limit": 1},
    "rotateTriggerSecret": lambda s: {"id": s.triggers()[1]["id"]},
    "switchOffTrigger": lambda s: {"id": s.trigger_id},
    "listPrompts": lambda s: {"limit": 1},
    "publishPrompt": lambda s: {"content": prompt_file("guarded")},
    "lintPrompt": lambda s: {"content": prompt_file("guarded")},
    "renderPrompt": lambda s: {"prompt": s.prompt, "inputs": {"goal": "it"}},
    "exportPrompts": lambda s: {"prompts": [s.prompt]},
    "importPrompts": lambda s: {"content": s.prompt_pack},
    "showPrompt": lambda s: {"name": s.prompt},
    "listPromptVersions": lambda s: {"name": s.prompt},
    "diffPrompt": lambda s: {"name": s.prompt, "from": "1.0.0", "to": "1.0.0"},
    "labelPrompt": lambda s: {"name": s.prompt, "label": "trial", "version": "1.0.0"},
    "unlabelPrompt": lambda s: {"name": s.prompt, "label": s.prompt_label},
    "createDeployment": lambda s: {**s.here, "env": "preview"},
    "listDeployments": lambda s: {},
    "showDeployment": lambda s: {"id": s.deployment_id},
    "rollbackDeployment": lambda s: {"id": s.fresh_deployment()},
    "stopDeployment": lambda s: {"id": s.fresh_deployment()},
    "deploymentLogs": lambda s: {"id": s.deployment_id},
    "deploymentHealth": lambda s: {"id": s.deployment_id},
    "registerDataset": lambda s: {"name": f"data{next(numbers)}", "artifacts": [s.artifact_id]},
    "listDatasets": lambda s: {"limit": 1},
    "showDataset": lambda s: {"id": s.dataset_id},
    "readDataset": lambda s: {"id": s.dataset_id},
    "showLineage": lambda s: {"id": s.traced_id},
    "listEvals": lambda s: {"limit": 1},
    "lintEval": lambda s: {"content": "cases: [{id: a, golden: x}]\n"},
    "runEval": lambda s: {**s.here, "suite": s.suite},
    "showEvalResults": lambda s: {"suite": s.tried_suite},
    "createRun": lambda s: {**s.here, "pipeline": s.pipeline},
    "listArtifacts": lambda s: {"limit": 1},
    "startUpload": lambda s: {"path": "a.txt", "size": 1, "sha256": "0" * 64},
    "getUpload": lambda s: {"id": s.upload_id},
    "dropUpload": lambda s: {"id": s.upload_id},
    "getArtifactRules": lambda s: {},
    "setArtifactRules": lambda s: {"keep_days": 900},
    "moveArtifacts": lambda s: {"to": "folder"},
    "getArtifact": lambda s: {"id": s.artifact_id},
    "deleteArtifact": lambda s: {"id": s.artifact_id},
    "readArtifact": lambda s: {"id": s.artifact_id},
    "listMemoryItems": lambda s: {**s.here, "q": "what"},
    "putMemoryItem": lambda s: {**s.here, "body": f"note {next(numbers)}"},
    "getMemoryItem": lambda s: {"id": s.fresh_fact()},
    "removeMemoryItem": lambda s: {"id": s.fresh_fact()},
    "pinMemoryItem": lambda s: {"id": s.fresh_fact()},
    "setMemoryTtl": lambda s: {"id": s.fresh_fact(), "ttl_s": 60},
    "listMemoryFacts": lambda s: s.here,
    "getMemoryHistory": lambda s: {"id": s.fresh_fact()},
    "undoMemoryFact": lambda s: {"id": s.fresh_fact()},
    "exportMemory": lambda s: s.here,
    "importMemory": lambda s: {**s.here, "items": [{"tier": "vector", "body": "x"}]},
    "listRuns": lambda s: {"limit": 1},
    "showRun": lambda s: {"id": s.run_id},
    "listAgents": lambda s: s.here,
    "showAgent": lambda s: {**s.here, "name": "builder"},
    "runAgent": lambda s: {**s.here, "name": "builder", "goal": "Work"},
    "listAgentCalls": lambda s: {"id": s.fresh_agent()},
    "tellAgent": lambda s: {"id": s.fresh_agent(), "text": "Well?"},
    "commentRun": lambda s: {"id": s.run_id, "items": [{"path": "a.py", "line": 1, "body": "Why?"}]},
    "listRunComments": lambda s: {"id": s.run_id},
    "interruptAgent": lambda s: {"id": s.fresh_agent()},
    "cancelRun": lambda s: {"id": s.fresh_run("noop")},
    "pauseRun": lambda s: {"id": s.fresh_run("noop")},
    "resumeRun": lambda s: {"id": s.fresh_run("paused")},
    "rerunRun": lambda s: {"id": s.fresh_run("cancelled")},
    "replayRun": lambda s: {"id": s.fresh_run("cancelled")},
    "showReplay": lambda s: {"id": _replay(s)},
    "showReceipt": lambda s: {"id": s.fresh_run("cancelled")},
    "showReceiptPage": lambda s: {"id": s.fresh_run("cancelled")},
    "answerStep": lambda s: {"id": s.fresh_run("asking"), "answer": "yes"},
    "startRun": lambda s: {**s.here, "pipeline": s.pipeline},
    "runStatus": lambda s: {**s.here, "run_id": s.run_id},
    "answerRun": lambda s: {**s.here, "run_id": s.fresh_run("asking"), "answer": "yes"},
    "viewRun": lambda s: {"id": s.run_id},
    "showRunDiff": lambda s: {"id": s.run_id},
    "showRunContext": lambda s: {"id": s.run_id},
    "followRun": lambda s: {"id": s.run_id, "stream": False},
    "followAll": lambda _: {"topics": "sandboxes,prompts", "stream": False},
    "runLogs": lambda s: {"id": s.run_id},
    "stepLogs": lambda s: {"id": s.step_id},
}
