"""Turns documents into rows, and predictions into documents."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false
# What models and callers bring has no types.

import importlib
import json
import math
from collections.abc import Sequence
from typing import Any, Final

from .loading import NUMBERS, Model

V2: Final = {
    "float64": "FP64", "float32": "FP32", "int64": "INT64", "int32": "INT32", "bool": "BOOL", "object": "BYTES",
}  # fmt: skip
DTYPES: Final = {
    "FP64": "f8", "FP32": "f4", "INT64": "i8", "INT32": "i4", "INT16": "i2", "INT8": "i1", "UINT8": "u1", "BOOL": "?",
    "BYTES": "O",
}  # fmt: skip


class Wrong(Exception):
    """A request that does not fit the model: the caller's fault."""


class Scorer:
    """Turns documents into rows and predictions into documents."""

    def __init__(self, model: Model, name: str, version: str) -> None:
        self._model = model
        self._numpy: Any = importlib.import_module("numpy")
        self._pandas: Any = importlib.import_module("pandas") if model.frame else None
        self._name = name
        self._version = version

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Status and document of one request."""
        place = path.partition("?")[0].rstrip("/")
        if method == "GET":
            return self._told(place)
        infer = place.startswith("/v2/models/") and place.endswith("/infer")
        if method != "POST" or not (infer or place in ("/invocations", "/invoke")):
            return no(404, "there is no such path")
        try:
            asked = json.loads(body)
            if not isinstance(asked, dict):
                raise Wrong("the body must be an object")
            is_v2 = infer or (place == "/invoke" and _is_v2(asked))
            return 200, self._v2(asked) if is_v2 else {
                "predictions": _plain(self._predict(self._rows(asked)))
            }
        except (Wrong, KeyError, TypeError, ValueError, IndexError) as error:
            why = str(error) if isinstance(error, Wrong) else f"{type(error).__name__}: {error}"
            return no(400, why[:1000])
        except Exception as error:  # noqa: BLE001 - the model's own code: whatever it raises is told
            return no(500, f"the model failed: {type(error).__name__}: {error}"[:1000])

    def _told(self, place: str) -> tuple[int, Any]:
        if place in ("/ping", "/health", "/v2/health/live", "/v2/health/ready") or place.endswith("/ready"):
            return 200, {"name": self._name, "ready": True}
        if place.startswith("/v2/models/"):
            inputs = [
                {"name": name, "datatype": kind, "shape": [-1, 1]} for name, kind, _ in self._model.columns
            ]
            return 200, {"name": self._name, "versions": [self._version], "platform": "builderos", "inputs": inputs,
                         "outputs": [{"name": "predict", "datatype": "FP64", "shape": [-1]}]}  # fmt: skip
        return no(404, "there is no such path")

    def _rows(self, asked: dict[str, Any]) -> Any:
        """What the model is given: rows, held against the columns that it says it has."""
        if "dataframe_split" in asked:
            split = asked["dataframe_split"]
            return self._fit(split["data"], split.get("columns"))
        if "dataframe_records" in asked:
            return self._records(asked["dataframe_records"])
        given = asked["inputs"] if "inputs" in asked else asked.get("instances")
        if given is None:
            raise Wrong("say dataframe_split, dataframe_records, instances or inputs")
        if isinstance(given, dict):
            names = list(given)
            return self._fit([list(row) for row in zip(*(given[name] for name in names), strict=True)], names)
        return self._records(given) if given and isinstance(given[0], dict) else self._fit(given, None)

    def _records(self, records: list[dict[str, Any]]) -> Any:
        names = [name for name, _, _ in self._model.columns] or (list(records[0]) if records else [])
        absent = [name for name in names for row in records if name not in row]
        if absent:
            raise Wrong(f"columns are missing: {', '.join(sorted(set(absent))[:20])}")
        return self._fit([[row[name] for name in names] for row in records], names)

    def _fit(self, rows: Sequence[Any], names: list[str] | None) -> Any:
        columns = self._model.columns
        if columns and names is not None:
            wanted = [name for name, _, _ in columns]
            missing = [name for name, _, required in columns if required and name not in names]
            if missing:
                raise Wrong(f"columns are missing: {', '.join(missing[:20])}")
            if names != wanted:
                at = {name: number for number, name in enumerate(names)}
                rows = [[row[at[name]] if name in at else None for name in wanted] for row in rows]
        width = len(columns) or self._model.width
        if width and any(not hasattr(row, "__len__") or len(row) != width for row in rows):
            raise Wrong(f"each row needs {width} values")
        for number, (name, kind, _) in enumerate(columns):
            if kind in NUMBERS and any(isinstance(row[number], str | bool | list | dict) for row in rows):
                raise Wrong(f"{name} has to be a number ({kind})")
        if self._pandas is not None:
            return self._pandas.DataFrame(rows, columns=[name for name, _, _ in columns] or names)
        return self._numpy.asarray(rows)

    def _v2(self, asked: dict[str, Any]) -> dict[str, Any]:
        tensors = asked["inputs"]
        arrays = [
            self._numpy.asarray(one["data"], DTYPES[one["datatype"]]).reshape(one["shape"]) for one in tensors
        ]
        if len(arrays) == 1:
            rows = arrays[0]
            rows = self._fit(rows.tolist(), None) if self._model.columns else self._fit(rows, None)
        else:
            names = [str(one["name"]) for one in tensors]
            rows = self._fit(
                [list(row) for row in zip(*(one.ravel().tolist() for one in arrays), strict=True)], names
            )
        found = self._numpy.asarray(self._predict(rows))
        output = {"name": "predict", "shape": list(found.shape), "datatype": V2.get(found.dtype.name, "BYTES"),
                  "data": _plain(found.ravel())}  # fmt: skip
        reply = {"model_name": self._name, "model_version": self._version, "outputs": [output]}
        return reply | ({"id": asked["id"]} if "id" in asked else {})

    def _predict(self, rows: Any) -> Any:
        return self._model.call(rows)


def _is_v2(asked: dict[str, Any]) -> bool:
    given = asked.get("inputs")
    return isinstance(given, list) and bool(given) and isinstance(given[0], dict) and "datatype" in given[0]


def _plain(found: Any) -> Any:
    if hasattr(found, "to_dict") and hasattr(found, "columns"):
        return found.to_dict("records")
    return found.tolist() if hasattr(found, "tolist") else found


def no(status: int, message: str) -> tuple[int, Any]:
    """A refusal, as MLflow's scoring server words it."""
    code = {400: "BAD_REQUEST", 404: "ENDPOINT_NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "BAD_REQUEST"}.get(
        status
    )
    return status, {"error_code": code or "INTERNAL_ERROR", "message": message}


def finite(value: Any) -> Any:
    """JSON knows neither NaN nor infinities: as text, which MLflow's clients read."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    return [finite(one) for one in value] if isinstance(value, list | tuple) else value
