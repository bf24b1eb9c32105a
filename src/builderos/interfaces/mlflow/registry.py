"""The registry of models, as MLflow's clients ask for it; what it does lies in `workloads/models`."""

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from builderos.core.problems import Problem
from builderos.core.schema import In
from builderos.core.unit import Unit
from builderos.workloads.experiments.service import grammar, logged
from builderos.workloads.models import schema, service

from . import shapes
from .words import Body, invalid

Reply = dict[str, Any]
B = TypeVar("B", bound=In)
STAGES: Final = {"registered": "None", "staged": "Staging", "production": "Production", "retired": "Archived"}
_OURS: Final = {name.lower(): ours for ours, name in STAGES.items()}
PROMPT: Final = "mlflow.prompt.is_prompt"
_MODELS: Final = {"name": "name"}
_VERSIONS: Final = {name: name for name in ("name", "run_id", "source_path", "version_number")}
_OF_RUN: Final = re.compile(r"mlflow-artifacts:/+[^/]+/([^/]+)/artifacts(?:/(.*))?")
_OF_MODEL: Final = re.compile(r"mlflow-artifacts:/+[^/]+/models/([^/]+)/artifacts/?")


def create_model(unit: Unit, body: Body) -> Reply:
    """`registered-models/create`."""
    name, tags = body.text("name"), body.pairs("tags")
    if PROMPT in tags:
        raise invalid(
            "Prompts are not kept in the registry of models here. Publish them with `builderos prompt publish`, or by "
            "POST /v1/prompts: they have versions, labels, gates and approvals there."
        )
    with _told(name):
        made = service.register_model(
            unit, _in(schema.RegisterModelIn, name=name, description=body.any_text("description"), tags=tags)
        )
    return {"registered_model": _model(unit, made)}


def get_model(unit: Unit, body: Body) -> Reply:
    """`registered-models/get`."""
    return {"registered_model": _model(unit, _found(unit, body.text("name")))}


def rename_model(unit: Unit, body: Body) -> Reply:
    """`registered-models/rename`."""
    name, new = body.text("name"), body.text("new_name")
    with _told(name, new):
        return {
            "registered_model": _model(
                unit, service.change_model(unit, _in(schema.ChangeModelIn, name=name, new_name=new))
            )
        }


def update_model(unit: Unit, body: Body) -> Reply:
    """PATCH `registered-models/update`."""
    name = body.text("name")
    with _told(name):
        told = _in(schema.ChangeModelIn, name=name, description=body.any_text("description"))
        return {"registered_model": _model(unit, service.change_model(unit, told))}


def delete_model(unit: Unit, body: Body) -> Reply:
    """DELETE `registered-models/delete`."""
    name = body.text("name")
    with _told(name):
        service.delete_model(unit, _in(schema.WhichModelWriteIn, name=name))
    return {}


def search_models(unit: Unit, body: Body) -> Reply:
    """`registered-models/search`."""
    like: str | None = None
    case, tag, exact = False, None, None
    for clause in grammar.read_filter(body.any_text("filter"), _MODELS):
        value = str(clause.value)
        if clause.entity == "tag" and clause.key == PROMPT:
            if clause.operator == "=" and value == "true":
                return {}
        elif clause.entity == "tag" and clause.operator == "=":
            tag = f"{clause.key}={value}"
        elif clause.entity == "attribute" and clause.operator in ("LIKE", "ILIKE"):
            like, case = value, clause.operator == "ILIKE"
        elif clause.entity == "attribute" and clause.operator == "=":
            exact = value
        else:
            raise grammar.invalid(
                f"models are searched by name (=, LIKE, ILIKE) and tags (=), not by {clause.key[:100]}"
            )
    limit = min(body.integer("max_results", 100), 1000)
    asked = _in(
        schema.ListModelsIn, like=like if exact is None else exact.replace("_", r"\_").replace("%", r"\%"),
        ignore_case=case, tag=tag, limit=limit, cursor=body.any_text("page_token") or None,
    )  # fmt: skip
    page = service.list_models(unit, asked)
    listed = [_model(unit, one) for one in page.items if exact is None or one.name == exact]
    return _page("registered_models", listed, page.next_cursor)


def latest_versions(unit: Unit, body: Body) -> Reply:
    """`registered-models/get-latest-versions`: of each stage the newest."""
    name = body.text("name")
    wanted = {stage.lower() for stage in body.texts("stages")}
    found = _latest(unit, _found(unit, name).name)
    listed = [one for one in found if not wanted or one["current_stage"].lower() in wanted]
    return {"model_versions": listed} if listed else {}


def tag_model(unit: Unit, body: Body) -> Reply:
    """`registered-models/set-tag` and `model-versions/set-tag`."""
    name, key = body.text("name"), body.text("key")
    with _told(name, version=_number(body)):
        told = _in(schema.SetTagIn, name=name, version=_number(body), key=key, value=body.any_text("value"))
        service.set_tag(unit, told)
    return {}


def untag_model(unit: Unit, body: Body) -> Reply:
    """DELETE `registered-models/delete-tag` and `model-versions/delete-tag`."""
    name = body.text("name")
    with _told(name, version=_number(body)):
        service.delete_tag(
            unit, _in(schema.DeleteTagIn, name=name, version=_number(body), key=body.text("key"))
        )
    return {}


def set_alias(unit: Unit, body: Body) -> Reply:
    """`registered-models/alias`."""
    name = body.text("name")
    with _told(name, version=_version(body)):
        told = _in(schema.SetAliasIn, name=name, version=_version(body), alias=body.text("alias"))
        service.set_alias(unit, told)
    return {}


def delete_alias(unit: Unit, body: Body) -> Reply:
    """DELETE `registered-models/alias`."""
    name = body.text("name")
    with _told(name):
        service.delete_alias(unit, _in(schema.DeleteAliasIn, name=name, alias=body.text("alias")))
    return {}


def by_alias(unit: Unit, body: Body) -> Reply:
    """GET `registered-models/alias`."""
    name, alias = body.text("name"), body.text("alias")
    try:
        found = service.by_alias(unit, _in(schema.AliasIn, name=name, alias=alias))
    except Problem as problem:
        if problem.code != "not_found":
            raise
        _found(unit, name)
        raise invalid(f"Registered model alias {alias[:250]} not found.") from None
    return {"model_version": _shown(found)}


def create_version(unit: Unit, body: Body) -> Reply:
    """`model-versions/create`. Of a logged model the run is the one that made it."""
    name, source = body.text("name"), _source(body.any_text("source"), body.any_text("model_id"))
    run_id = body.any_text("run_id") or None
    if run_id is None and source.startswith("models:/m-"):
        run_id = logged.find(unit, source.removeprefix("models:/"), "experiment.write").run_id
    told = _in(
        schema.CreateVersionIn, name=name, source=source, run_id=run_id, description=body.any_text("description"),
        tags=body.pairs("tags"),
    )  # fmt: skip
    with _told(name):
        return {"model_version": _shown(service.create_version(unit, told))}


def get_version(unit: Unit, body: Body) -> Reply:
    """`model-versions/get`."""
    return {"model_version": _shown(_one(unit, body))}


def download_uri(unit: Unit, body: Body) -> Reply:
    """`model-versions/get-download-uri`."""
    return {"artifact_uri": _uri(_one(unit, body).source)}


def update_version(unit: Unit, body: Body) -> Reply:
    """PATCH `model-versions/update`."""
    name, version = body.text("name"), _version(body)
    with _told(name, version=version):
        told = _in(
            schema.ChangeVersionIn, name=name, version=version, description=body.any_text("description")
        )
        return {"model_version": _shown(service.change_version(unit, told))}


def delete_version(unit: Unit, body: Body) -> Reply:
    """DELETE `model-versions/delete`."""
    name, version = body.text("name"), _version(body)
    with _told(name, version=version):
        service.delete_version(unit, _in(schema.WhichVersionWriteIn, name=name, version=version))
    return {}


def transition(unit: Unit, body: Body) -> Reply:
    """`model-versions/transition-stage`. Into production a version comes with an approval alone."""
    name, version = body.text("name"), _version(body)
    stage = _OURS.get(body.text("stage").lower())
    if stage is None:
        raise invalid(
            f"Invalid Model Version stage: {body.text('stage')[:50]}. There are {', '.join(STAGES.values())}."
        )
    with _told(name, version=version):
        told = _in(schema.TransitionIn, name=name, version=version, stage=stage)
        return {"model_version": _shown(service.transition(unit, told))}


def search_versions(unit: Unit, body: Body) -> Reply:
    """`model-versions/search`."""
    asked: dict[str, Any] = {}
    tags: dict[str, str] = {}
    for clause in grammar.read_filter(body.any_text("filter"), _VERSIONS):
        if clause.entity == "tag" and clause.key == PROMPT:
            if clause.operator == "=" and clause.value == "true":
                return {}
        elif clause.entity == "tag" and clause.operator == "=":
            tags[clause.key] = str(clause.value)
        elif clause.entity == "attribute" and clause.operator == "=" and clause.key in ("name", "run_id"):
            asked[clause.key] = clause.value
        else:
            raise grammar.invalid(
                f"versions are searched by name, run_id and tags (=), not by {clause.key[:100]}"
            )
    limit = min(body.integer("max_results", 1000), 1000)
    page = service.list_versions(
        unit, _in(schema.ListVersionsIn, limit=limit, cursor=body.any_text("page_token") or None, **asked)
    )
    listed = [_shown(one) for one in page.items if tags.items() <= dict(one.tags).items()]
    return _page("model_versions", listed, page.next_cursor)


def _page(name: str, listed: list[Reply], cursor: str | None) -> Reply:
    return ({name: listed} if listed else {}) | ({"next_page_token": cursor} if cursor else {})


def _in(form: Callable[..., B], **members: Any) -> B:
    """What the registry takes. Raises `validation_failed` with what does not fit."""
    try:
        return form(**members)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        named = ".".join(map(str, first["loc"]))
        raise invalid(f"Invalid value for parameter '{named}' supplied: {first['msg']}") from None


@contextmanager
def _told(name: str, new: str | None = None, version: int | None = None) -> Generator[None]:
    """What is missing or taken, in the sentences that clients look for."""
    try:
        yield
    except Problem as problem:
        if problem.code == "not_found":
            missing = f"Registered Model with name={name[:250]} not found"
            if version is not None:
                missing = f"Model Version (name={name[:250]}, version={version}) not found"
            raise Problem("not_found", missing, hint="", what="model") from None
        if problem.code in ("conflict", "version_exists") and version is None:
            taken = new if new is not None else name
            sentence = f"Registered Model (name={taken[:250]}) already exists."
            raise Problem("conflict", sentence, hint="", what="model") from None
        raise


def _found(unit: Unit, name: str) -> schema.Model:
    with _told(name):
        return service.show_model(unit, _in(schema.WhichModelIn, name=name))


def _one(unit: Unit, body: Body) -> schema.ModelVersion:
    name, version = body.text("name"), _version(body)
    with _told(name, version=version):
        return service.show_version(unit, _in(schema.WhichVersionIn, name=name, version=version))


def _version(body: Body) -> int:
    found = _number(body)
    if found is None:
        raise invalid(
            "Missing value for required parameter 'version'. See the API docs for more information about request "
            "parameters."
        )
    return found


def _number(body: Body) -> int | None:
    return body.integer("version") if body.has("version") else None


def _source(source: str, model_id: str) -> str:
    """Where a version comes from, in our words: a folder of a run, or a logged model; nothing else is taken."""
    model = _OF_MODEL.fullmatch(source)
    if model is not None or model_id:
        return f"models:/{model_id or (model[1] if model is not None else '')}"
    run = _OF_RUN.fullmatch(source)
    if run is not None:
        return f"runs:/{run[1]}/{run[2] or ''}"
    if source.startswith(("runs:/", "models:/")):
        return source
    raise invalid(
        f"Invalid model version source: '{source[:200]}'. It must be a folder of a run or a logged model of this "
        "server."
    )


def _uri(source: str) -> str:
    """Where clients find the files of a version."""
    kind, _, rest = source.partition(":/")
    owner, _, path = rest.lstrip("/").partition("/")
    if kind == "models":
        return f"mlflow-artifacts:/0/models/{owner}/artifacts"
    return f"mlflow-artifacts:/0/{owner}/artifacts" + (f"/{path}" if path else "")


def _ms(at: Any) -> int:
    return int(at.timestamp() * 1000)


def _model(unit: Unit, model: schema.Model) -> Reply:
    found: Reply = {
        "name": model.name, "creation_timestamp": _ms(model.created_at),
        "last_updated_timestamp": _ms(model.updated_at),
    }  # fmt: skip
    if model.description:
        found["description"] = model.description
    if model.tags:
        found["tags"] = shapes.pairs(sorted(model.tags.items()))
    if model.aliases:
        found["aliases"] = [
            {"alias": alias, "version": str(at)} for alias, at in sorted(model.aliases.items())
        ]
    newest = _latest(unit, model.name) if model.latest is not None else []
    return found | ({"latest_versions": newest} if newest else {})


def _latest(unit: Unit, name: str) -> list[Reply]:
    """Of each stage the newest version."""
    found: dict[str, Reply] = {}
    for stage in STAGES:
        page = service.list_versions(unit, _in(schema.ListVersionsIn, name=name, stage=stage, limit=1))
        for one in page.items:
            found[stage] = _shown(one)
    return list(found.values())


def _shown(version: schema.ModelVersion) -> Reply:
    found: Reply = {
        "name": version.name, "version": str(version.version), "creation_timestamp": _ms(version.created_at),
        "last_updated_timestamp": _ms(version.updated_at), "current_stage": STAGES[version.stage],
        "status": version.status, "source": _uri(version.source),
    }  # fmt: skip
    if version.run_id:
        found["run_id"] = version.run_id
    if version.source.startswith("models:/"):
        found["model_id"] = version.source.removeprefix("models:/").strip("/")
    if version.description:
        found["description"] = version.description
    if version.tags:
        found["tags"] = shapes.pairs(sorted(version.tags.items()))
    if version.aliases:
        found["aliases"] = list(version.aliases)
    return found
