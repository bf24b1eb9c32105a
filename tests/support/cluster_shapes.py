"""Which members the objects of a Kubernetes API have, of those that a Job of ours needs; from the published OpenAPI."""

from typing import Any

_META = {"name", "labels", "annotations", "ownerReferences"}
# The members that are used of the objects in the published OpenAPI: path → names. "*" is any name.
_SHAPES: dict[str, set[str]] = {
    "": {"apiVersion", "kind", "metadata", "spec"},
    "metadata": _META, "metadata.labels": {"*"}, "metadata.annotations": {"*"},
    "spec": {"backoffLimit", "completions", "parallelism", "activeDeadlineSeconds", "template"},
    "spec.template": {"metadata", "spec"}, "spec.template.metadata": {"labels"}, "spec.template.metadata.labels": {"*"},
    "spec.template.spec": {
        "restartPolicy", "automountServiceAccountToken", "enableServiceLinks", "terminationGracePeriodSeconds",
        "hostname", "securityContext", "volumes", "initContainers", "containers",
    },
    "spec.template.spec.securityContext": {"runAsUser", "runAsGroup", "fsGroup", "runAsNonRoot", "seccompProfile"},
    "spec.template.spec.securityContext.seccompProfile": {"type"},
    "spec.template.spec.volumes": {"name", "emptyDir", "secret"},
    "spec.template.spec.volumes.emptyDir": {"medium", "sizeLimit"},
    "spec.template.spec.volumes.secret": {"secretName", "defaultMode"},
}  # fmt: skip
_CONTAINER: dict[str, set[str]] = {
    "": {"name", "image", "command", "securityContext", "volumeMounts", "resources", "workingDir", "env"},
    "securityContext": {"allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"},
    "securityContext.capabilities": {"drop"}, "volumeMounts": {"name", "mountPath", "readOnly"},
    "resources": {"limits", "requests"}, "resources.limits": {"cpu", "memory", "nvidia.com/gpu"},
    "resources.requests": {"cpu", "memory", "nvidia.com/gpu"}, "env": {"name", "value"},
}  # fmt: skip
for _kind in ("initContainers", "containers"):
    for _path, _names in _CONTAINER.items():
        _SHAPES[".".join(filter(None, ("spec.template.spec", _kind, _path)))] = _names


def fault_in(value: Any, path: str = "") -> str:
    """What a strict API server says of an unknown member; empty where all are known."""
    if isinstance(value, list):
        return next(filter(None, (fault_in(item, path) for item in value)), "")
    if not isinstance(value, dict):
        return ""
    names = _SHAPES.get(path, set())
    for name, item in value.items():
        if name not in names and "*" not in names:
            return f'strict decoding error: unknown field "{path}.{name}"'
        if fault := fault_in(item, f"{path}.{name}".lstrip(".")):
            return fault
    return ""
