"""Operations on endpoints. Calling one is a door of its own, for its body is the model's."""

from builderos.core.operations import Operations, Reply
from builderos.core.unit import Unit

from . import batch, batch_schema, logs, payloads, schema, verbs

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


@routes.post("/v1/endpoints/{id}/settings", "changeEndpoint", consequential=True)
def change_endpoint(unit: Unit, body: schema.ChangeIn) -> schema.Endpoint:
    """Change who may call an endpoint, how many processes answer there, or which calls are kept with their payloads."""
    return verbs.change(unit, body)


@routes.get("/v1/endpoints/{id}/logs", "endpointLogs")
def endpoint_logs(unit: Unit, body: schema.EndpointLogsIn) -> schema.EndpointLogs:
    """Read what a process of an endpoint printed."""
    return logs.read(unit, body)


@routes.get("/v1/endpoints/{id}/payloads", "listEndpointPayloads")
def list_endpoint_payloads(unit: Unit, body: schema.PayloadsIn) -> schema.PayloadList:
    """List what some calls of an endpoint were asked and answered, where it keeps that; newest first."""
    return payloads.listed(unit, body)


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


@routes.post("/v1/models/{name}/score", "scoreDataset", status=202, consequential=True)
def score_dataset(unit: Unit, body: batch_schema.ScoreIn) -> Reply[batch_schema.ScoringJob]:
    """Have a version of a model score a dataset, as a run in its sandbox; the result is an artifact."""
    return batch.score(unit, body)


@routes.get("/v1/scoring-jobs", "listScoringJobs")
def list_scoring_jobs(unit: Unit, body: batch_schema.JobListIn) -> batch_schema.ScoringJobList:
    """List the jobs of batch scoring, newest first."""
    return batch.listed(unit, body)


@routes.get("/v1/scoring-jobs/{id}", "showScoringJob")
def show_scoring_job(unit: Unit, body: batch_schema.JobIn) -> batch_schema.ScoringJob:
    """Show a job of batch scoring: how many rows are scored, the result, or the row and column that did not fit."""
    return batch.show(unit, body)
