"""Operations on endpoints. Calling one is a door of its own, for its body is the model's."""

from builderos.core.operations import Operations, Reply
from builderos.core.unit import Unit

from . import schema, verbs

routes = Operations("endpoints")


@routes.post("/v1/endpoints", "createEndpoint", status=202, consequential=True)
def create_endpoint(unit: Unit, body: schema.CreateIn) -> Reply[schema.Endpoint]:
    """Make an endpoint: a version of a model that answers, in a sandbox, to whom its policy names."""
    return verbs.create(unit, body)


@routes.get("/v1/endpoints", "listEndpoints")
def list_endpoints(unit: Unit, body: schema.ListIn) -> schema.EndpointList:
    """List endpoints, newest first."""
    return verbs.listed(unit, body)


@routes.get("/v1/endpoints/{id}", "showEndpoint")
def show_endpoint(unit: Unit, body: schema.WhichIn) -> schema.Endpoint:
    """Show an endpoint: what answers there, with which share of the calls; `id` may be its name, too."""
    return verbs.show(unit, body)


@routes.post("/v1/endpoints/{id}/deploy", "deployModel", status=202, consequential=True)
def deploy_model(unit: Unit, body: schema.DeployIn) -> Reply[schema.Endpoint]:
    """Give an endpoint another version; it gets its share of the calls once it answers."""
    return verbs.deploy(unit, body)


@routes.post("/v1/endpoints/{id}/traffic", "splitTraffic", consequential=True)
def split_traffic(unit: Unit, body: schema.TrafficIn) -> schema.Endpoint:
    """Say which share of an endpoint's calls each deployment gets, at once."""
    return verbs.traffic(unit, body)


@routes.post("/v1/endpoints/{id}/rollback", "rollBackEndpoint", consequential=True)
def roll_back_endpoint(unit: Unit, body: schema.ActIn) -> schema.Endpoint:
    """Have an endpoint answer as before the last change of its traffic, at once."""
    return verbs.roll_back(unit, body)


@routes.post("/v1/endpoints/{id}/stop", "stopEndpoint", consequential=True)
def stop_endpoint(unit: Unit, body: schema.ActIn) -> schema.Endpoint:
    """Stop an endpoint: its processes end, and nothing answers there."""
    return verbs.stop(unit, body)


@routes.get("/v1/endpoints/{id}/metrics", "endpointMetrics")
def endpoint_metrics(unit: Unit, body: schema.MetricsIn) -> schema.EndpointMetrics:
    """Tell how an endpoint did lately: calls, errors, latency at 50 and 95 percent."""
    return verbs.metrics(unit, body)
