"""Operations on deployments."""

from builderos.core.operations import Operations, Reply
from builderos.core.unit import Unit

from . import reading
from .schema import (
    DeployIn,
    Deployment,
    DeploymentHealth,
    DeploymentIn,
    DeploymentList,
    DeploymentListIn,
    DeploymentLogs,
    DeploymentLogsIn,
    DeploymentRollbackIn,
    DeployStarted,
)

routes = Operations("deployments")


@routes.post("/v1/deployments", "createDeployment", status=202, consequential=True)
def create_deployment(unit: Unit, body: DeployIn) -> Reply[DeployStarted]:
    """Deploy a branch that has a deploy.yaml, in a run that verifies what it deployed."""
    return reading.start(unit, body)


@routes.get("/v1/deployments", "listDeployments")
def list_deployments(unit: Unit, body: DeploymentListIn) -> DeploymentList:
    """List deployments, newest first."""
    return reading.listed(unit, body)


@routes.get("/v1/deployments/{id}", "showDeployment")
def show_deployment(unit: Unit, body: DeploymentIn) -> Deployment:
    """Show one deployment: where it is, how it stands, what it was made of."""
    return reading.show(unit, body)


@routes.post("/v1/deployments/{id}/rollback", "rollbackDeployment", consequential=True)
def roll_back_deployment(unit: Unit, body: DeploymentRollbackIn) -> Deployment:
    """Have the deployment before a live one live again."""
    return reading.roll_back(unit, body)


@routes.post("/v1/deployments/{id}/stop", "stopDeployment", consequential=True)
def stop_deployment(unit: Unit, body: DeploymentRollbackIn) -> Deployment:
    """Take a live deployment away, and put nothing in its place."""
    return reading.stop(unit, body)


@routes.get("/v1/deployments/{id}/logs", "deploymentLogs")
def deployment_logs(unit: Unit, body: DeploymentLogsIn) -> DeploymentLogs:
    """Read what a deployment printed, its build included."""
    return reading.logs(unit, body)


@routes.get("/v1/deployments/{id}/health", "deploymentHealth")
def deployment_health(unit: Unit, body: DeploymentIn) -> DeploymentHealth:
    """Tell how a deployment was when it was looked at last."""
    return reading.health(unit, body)
