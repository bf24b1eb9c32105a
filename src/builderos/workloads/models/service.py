"""What other rooms and doors may use of the registry of models."""

from .promoting import PROMOTE, list_promotions, on_verdict, promote, roll_back, show_promotion, transition
from .registry import (
    by_alias,
    change_model,
    delete_alias,
    delete_model,
    delete_tag,
    list_models,
    register_model,
    set_alias,
    set_tag,
    show_model,
)
from .rows import by_id, model_of, node_of, project_of, version_of
from .versions import change_version, create_version, delete_version, list_versions, show_version

__all__ = [
    "PROMOTE",
    "by_alias",
    "by_id",
    "change_model",
    "change_version",
    "create_version",
    "delete_alias",
    "delete_model",
    "delete_tag",
    "delete_version",
    "list_models",
    "list_promotions",
    "list_versions",
    "model_of",
    "node_of",
    "on_verdict",
    "project_of",
    "promote",
    "register_model",
    "roll_back",
    "set_alias",
    "set_tag",
    "show_model",
    "show_promotion",
    "show_version",
    "transition",
    "version_of",
]
