"""What is asked of the cluster for one command: a Job, a Secret that belongs to it, a policy that lets nothing out.

The Job's pod has three containers over one volume: `receive` waits until the workspace was sent, `command` runs it,
`keeper` holds the volume until it was fetched. Secrets stand in the Secret alone.
"""

import base64
from typing import Any, Final

from builderos.execution.compute.schema import Spec
from builderos.execution.compute.service import (
    ACCOUNT,
    HOME,
    SECRETS,
    WORKSPACE,
    command_of,
    environment_of,
    short_name,
)

Manifest = dict[str, Any]
COMMAND: Final = "command"
RECEIVE: Final = "receive"
KEEPER: Final = "keeper"
MARK: Final = "builderos.dev/fingerprint"
LABEL: Final = "builderos.dev/execution"
_CONTROL: Final = "/control"
_AFTERWARDS_S: Final = 900  # for fetching what it made
# The first process of a container cannot be killed from inside and ignores what it does not handle: this one stands in.
_SUPERVISE: Final = (
    'trap : TERM; "$@" & p=$!; while :; do wait $p; c=$?; kill -0 $p 2>/dev/null || exit $c; done'
)
_WAIT: Final = "until [ -e /control/ready ]; do sleep 0.1; done"
_KEEP: Final = "trap 'exit 0' TERM; while :; do sleep 1; done"


def job(spec: Spec, fingerprint: str, helper: str) -> Manifest:
    """The Job; `helper` is an image with `sh` and `tar`, pinned by its digest."""
    name = short_name(spec.id)
    return {
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "labels": {LABEL: name}, "annotations": {MARK: fingerprint}},
        "spec": {
            "backoffLimit": 0, "completions": 1, "parallelism": 1,
            "activeDeadlineSeconds": int(spec.limits.wall_s + spec.limits.grace_s) + _AFTERWARDS_S,
            "template": {"metadata": {"labels": {LABEL: name}}, "spec": _pod(spec, name, helper)},
        },
    }  # fmt: skip


def secret(spec: Spec, owner: str) -> Manifest:
    """The Secret with the values; it goes with the Job whose uid is `owner`."""
    name = short_name(spec.id)
    data = {secret.name: base64.b64encode(secret.value.encode()).decode() for secret in spec.secrets}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": _owned(name, owner),
        "data": data,
    }


def policy(spec: Spec, owner: str) -> Manifest:
    """No way in or out, where the cluster's network enforces policies."""
    name = short_name(spec.id)
    return {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": _owned(name, owner),
        "spec": {"podSelector": {"matchLabels": {LABEL: name}}, "policyTypes": ["Ingress", "Egress"]},
    }  # fmt: skip


def _owned(name: str, owner: str) -> Manifest:
    job = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": owner}
    return {"name": name, "labels": {LABEL: name}, "ownerReferences": [job]}


def _pod(spec: Spec, name: str, helper: str) -> Manifest:
    volumes: list[Manifest] = [
        {"name": "workspace", "emptyDir": {"sizeLimit": str(spec.limits.disk)}},
        {"name": "control", "emptyDir": {"sizeLimit": "1Mi"}},
        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": str(spec.limits.scratch)}},
        {"name": "home", "emptyDir": {"medium": "Memory", "sizeLimit": str(spec.limits.scratch)}},
    ]
    if spec.secrets:
        volumes.append({"name": "secrets", "secret": {"secretName": name, "defaultMode": 0o440}})
    return {
        "restartPolicy": "Never", "automountServiceAccountToken": False, "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1, "hostname": "sandbox",
        "securityContext": {
            "runAsUser": ACCOUNT, "runAsGroup": ACCOUNT, "fsGroup": ACCOUNT, "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": volumes,
        "initContainers": [_helper(RECEIVE, helper, _WAIT)],
        "containers": [_command(spec), _helper(KEEPER, helper, _KEEP)],
    }  # fmt: skip


def _command(spec: Spec) -> Manifest:
    limits: dict[str, str] = {"cpu": f"{int(spec.limits.cpu * 1000)}m", "memory": str(spec.limits.memory)}
    if spec.gpu:
        limits["nvidia.com/gpu"] = str(spec.gpu)
    mounts = [
        {"name": "workspace", "mountPath": WORKSPACE, "readOnly": not spec.writable},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  in the container
        {"name": "home", "mountPath": HOME},
    ]
    if spec.secrets:
        mounts.append({"name": "secrets", "mountPath": SECRETS, "readOnly": True})
    return {
        "name": COMMAND, "image": spec.image, "command": ["/bin/sh", "-c", _SUPERVISE, "sh", *command_of(spec)],
        "workingDir": f"{WORKSPACE}/{spec.cwd}".rstrip("/"), "volumeMounts": mounts,
        "env": [{"name": key, "value": value.replace("$(", "$$(")} for key, value in environment_of(spec).items()],
        "resources": {"limits": limits, "requests": limits}, "securityContext": _narrow(),
    }  # fmt: skip


def _helper(name: str, image: str, script: str) -> Manifest:
    small = {"cpu": "100m", "memory": "64Mi"}
    return {
        "name": name, "image": image, "command": ["/bin/sh", "-c", script], "securityContext": _narrow(),
        "volumeMounts": [{"name": "workspace", "mountPath": WORKSPACE}, {"name": "control", "mountPath": _CONTROL}],
        "resources": {"limits": small, "requests": small},
    }  # fmt: skip


def _narrow() -> Manifest:
    return {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
