"""Operations on registered models and promotions."""

from builderos.core.operations import Operations, Reply
from builderos.core.unit import Unit

from . import schema, service

routes = Operations("registry")


@routes.post("/v1/models", "registerModel", status=201)
def register_model(unit: Unit, body: schema.RegisterModelIn) -> schema.Model:
    """Register a model, as yet without versions."""
    return service.register_model(unit, body)


@routes.get("/v1/models", "listRegisteredModels")
def list_models(unit: Unit, body: schema.ListModelsIn) -> schema.ModelList:
    """List registered models by name."""
    return service.list_models(unit, body)


@routes.get("/v1/models/{name}", "showRegisteredModel")
def show_model(unit: Unit, body: schema.WhichModelIn) -> schema.Model:
    """Show a registered model: its aliases, tags, newest version and the one in production."""
    return service.show_model(unit, body)


@routes.route("PATCH", "/v1/models/{name}", "changeRegisteredModel", effect="write")
def change_model(unit: Unit, body: schema.ChangeModelIn) -> schema.Model:
    """Give a registered model another name or description."""
    return service.change_model(unit, body)


@routes.delete("/v1/models/{name}", "deleteRegisteredModel")
def delete_model(unit: Unit, body: schema.WhichModelWriteIn) -> schema.ModelGone:
    """Take a registered model and its versions out of the registry; rows and files stay."""
    return service.delete_model(unit, body)


@routes.post("/v1/models/{name}/versions", "createModelVersion", status=201)
def create_version(unit: Unit, body: schema.CreateVersionIn) -> schema.ModelVersion:
    """Make the next version of a model from a run's folder, a logged model or artifacts."""
    return service.create_version(unit, body)


@routes.get("/v1/model-versions", "listModelVersions")
def list_versions(unit: Unit, body: schema.ListVersionsIn) -> schema.ModelVersionList:
    """List versions of models, newest first."""
    return service.list_versions(unit, body)


@routes.get("/v1/models/{name}/versions/{version}", "showModelVersion")
def show_version(unit: Unit, body: schema.WhichVersionIn) -> schema.ModelVersion:
    """Show a version of a model with its files and hashes."""
    return service.show_version(unit, body)


@routes.route("PATCH", "/v1/models/{name}/versions/{version}", "changeModelVersion", effect="write")
def change_version(unit: Unit, body: schema.ChangeVersionIn) -> schema.ModelVersion:
    """Give a version of a model another description."""
    return service.change_version(unit, body)


@routes.delete("/v1/models/{name}/versions/{version}", "deleteModelVersion")
def delete_version(unit: Unit, body: schema.WhichVersionWriteIn) -> schema.ModelGone:
    """Take a version that is not in production out of the registry; its row and files stay."""
    return service.delete_version(unit, body)


@routes.post("/v1/models/{name}/versions/{version}/stage", "stageModelVersion")
def stage_version(unit: Unit, body: schema.TransitionIn) -> schema.ModelVersion:
    """Let a version be registered, staged or retired; into production it comes with an approval."""
    return service.transition(unit, body)


@routes.post("/v1/models/{name}/aliases", "setModelAlias")
def set_alias(unit: Unit, body: schema.SetAliasIn) -> schema.Model:
    """Let an alias of a model name a version."""
    return service.set_alias(unit, body)


@routes.get("/v1/models/{name}/aliases/{alias}", "showModelAlias")
def by_alias(unit: Unit, body: schema.AliasIn) -> schema.ModelVersion:
    """Show the version that an alias of a model names."""
    return service.by_alias(unit, body)


@routes.delete("/v1/models/{name}/aliases/{alias}", "deleteModelAlias")
def delete_alias(unit: Unit, body: schema.DeleteAliasIn) -> schema.Model:
    """Forget an alias of a model."""
    return service.delete_alias(unit, body)


@routes.post("/v1/models/{name}/tags", "setModelTag")
def set_tag(unit: Unit, body: schema.SetTagIn) -> schema.Model | schema.ModelVersion:
    """Tag a model, or one of its versions."""
    return service.set_tag(unit, body)


@routes.delete("/v1/models/{name}/tags", "deleteModelTag")
def delete_tag(unit: Unit, body: schema.DeleteTagIn) -> schema.Model | schema.ModelVersion:
    """Forget a tag of a model, or of one of its versions."""
    return service.delete_tag(unit, body)


@routes.post("/v1/promotions", "requestPromotion", status=201, consequential=True, may_wait=True)
def request_promotion(unit: Unit, body: schema.PromoteModelIn) -> Reply[schema.Promotion]:
    """Ask for a promotion: of a run to a model, of a staged version into production, of a sandbox to a pull request."""
    return service.promote(unit, body)


@routes.get("/v1/promotions", "listPromotions")
def list_promotions(unit: Unit, body: schema.ListPromotionsIn) -> schema.PromotionList:
    """List promotions of models, newest first."""
    return service.list_promotions(unit, body)


@routes.get("/v1/promotions/{id}", "showPromotion")
def show_promotion(unit: Unit, body: schema.WhichPromotionIn) -> schema.Promotion:
    """Show a promotion with what whoever decides is shown: metrics side by side, evals, lineage."""
    return service.show_promotion(unit, body)


@routes.post("/v1/promotions/{id}/rollback", "rollBackPromotion", consequential=True)
def roll_back_promotion(unit: Unit, body: schema.RollBackPromotionIn) -> schema.Promotion:
    """Have things as they were before a promotion was applied."""
    return service.roll_back(unit, body)
