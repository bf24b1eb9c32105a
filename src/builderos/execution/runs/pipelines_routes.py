"""Operations on pipelines."""

from builderos.core.operations import Operations, Reply
from builderos.core.unit import Unit

from . import hooks, pipelines, triggers
from .pipelines_schema import (
    PipelineCheck,
    PipelineIn,
    PipelineList,
    PipelineListIn,
    PipelineOut,
    PipelinePublished,
    PipelinePublishIn,
    PipelineValidateIn,
)
from .triggers_schema import (
    TriggerIn,
    TriggerList,
    TriggerListIn,
    TriggerOff,
    TriggerSecret,
    TriggerSecretIn,
    TriggersOn,
    TriggersOnIn,
)

routes = Operations("pipelines")


@routes.post("/v1/pipelines/validate", "validatePipeline", effect="read")
def validate_pipeline(unit: Unit, body: PipelineValidateIn) -> PipelineCheck:
    """Look a pipeline file over: every mistake with its line; nothing is kept."""
    return pipelines.validate(unit, body)


@routes.get("/v1/pipelines", "listPipelines")
def list_pipelines(unit: Unit, body: PipelineListIn) -> PipelineList:
    """List the pipelines of your organisation and those that come with BuilderOS."""
    return pipelines.listed(unit, body)


@routes.post("/v1/pipelines", "publishPipeline", status=201)
def publish_pipeline(unit: Unit, body: PipelinePublishIn) -> Reply[PipelinePublished]:
    """Publish a version of a pipeline; it never changes afterwards."""
    return pipelines.publish(unit, body)


@routes.get("/v1/pipelines/{name}", "showPipeline")
def show_pipeline(unit: Unit, body: PipelineIn) -> PipelineOut:
    """Show a pipeline with its file, steps, params and versions."""
    return pipelines.show(unit, body)


@routes.post("/v1/pipelines/{name}/triggers", "switchOnTriggers", consequential=True, secret_reply=True)
def switch_on_triggers(unit: Unit, body: TriggersOnIn) -> TriggersOn:
    """Let the triggers of a branch's pipeline start runs from now on, on your behalf."""
    return triggers.switch_on(unit, body)


@routes.get("/v1/triggers", "listTriggers")
def list_triggers(unit: Unit, body: TriggerListIn) -> TriggerList:
    """List what starts runs by itself, newest first."""
    return triggers.listed(unit, body)


@routes.post("/v1/triggers/{id}/secret", "rotateTriggerSecret", consequential=True, secret_reply=True)
def rotate_trigger_secret(unit: Unit, body: TriggerSecretIn) -> TriggerSecret:
    """Give a webhook that starts runs a new secret; the one so far counts, too, while its sender is changed."""
    return hooks.rotate(unit, body)


@routes.delete("/v1/triggers/{id}", "switchOffTrigger")
def switch_off_trigger(unit: Unit, body: TriggerIn) -> TriggerOff:
    """Switch a trigger off; runs that it has started go on."""
    return triggers.switch_off(unit, body)
