"""Turns documents into rows, and predictions into documents."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false
# What models and callers bring has no types.

import importlib
import json
import math
from collections.abc import Sequence
from typing import Any, Final

from .drifting import Drift
from .loading import Model

V2: Final = {
    "float64": "FP64", "float32": "FP32", "int64": "INT64", "int32": "INT32", "bool": "BOOL", "object": "BYTES",
}  # fmt: skip
DTYPES: Final = {
    "FP64": "f8", "FP32": "f4", "INT64": "i8", "INT32": "i4", "INT16": "i2", "INT8": "i1", "UINT8": "u1", "BOOL": "?",
    "BYTES": "O",
}  # fmt: skip


V2_ACTS: Final = ("infer", "generate", "generate_stream")
STREAM: Final = "text/event-stream"
KINDS: Final[dict[str, tuple[str, tuple[type, ...]]]] = {
    "double": ("a number", (int, float)), "float": ("a number", (int, float)), "long": ("a whole number", (int,)),
    "integer": ("a whole number", (int,)), "boolean": ("true or false", (bool,)), "string": ("a text", (str,)),
}  # fmt: skip
"""Types of columns, as signatures of MLflow name them."""


class Wrong(Exception):
    """A request that is none: the caller's fault."""


class Misfit(Wrong):
    """A request that is one, and does not fit what the model says of its rows. `where`: a column, or a place."""

    def __init__(self, why: str, *where: str) -> None:
        super().__init__(why)
        self.where = where


class Broken(Exception):
    """An answer that does not fit what the model says of its answers."""


class Scorer:
    """Turns documents into rows and predictions into documents."""

    def __init__(self, model: Model, name: str, version: str) -> None:
        self._model = model
        self._numpy: Any = importlib.import_module("numpy")
        self._pandas: Any = importlib.import_module("pandas") if model.frame else None
        self._drift = Drift([column for column, _, _ in model.columns], model.folder)
        self._name = name
        self._version = version

    def answer(self, method: str, path: str, body: bytes, accept: str = "") -> tuple[int, Any]:
        """Status and document of one request; an iterator of documents where it is answered piece by piece."""
        place = path.partition("?")[0].rstrip("/")
        if method == "GET":
            return self._told(place)
        act = place.rpartition("/")[2]
        known = place in ("/invocations", "/invoke") or (place.startswith("/v2/models/") and act in V2_ACTS)
        if method != "POST" or not known:
            return no(404, "there is no such path")
        try:
            asked = json.loads(body)
            if not isinstance(asked, dict):
                raise Wrong("the body must be an object")
            if act in ("generate", "generate_stream") or STREAM in accept:
                return self._generated(asked, whole=act == "generate")
            is_v2 = act == "infer" or (act == "invoke" and _is_v2(asked))
            return 200, self._v2(asked) if is_v2 else {
                "predictions": _plain(self._predict(self._rows(asked)))
            }
        except Misfit as misfit:
            status, document = no(422, str(misfit)[:1000])
            return status, {**document, "where": list(misfit.where[:20])}
        except (Wrong, KeyError, TypeError, ValueError, IndexError) as error:
            why = str(error) if isinstance(error, Wrong) else f"{type(error).__name__}: {error}"
            return no(400, why[:1000])
        except Exception as error:  # noqa: BLE001 - the model's own code: whatever it raises is told
            return no(500, f"the model failed: {type(error).__name__}: {error}"[:1000])

    def score(self, names: list[str], rows: Sequence[Any]) -> Any:
        """Answers to rows of these columns. Raises `Misfit`, `Broken`, and whatever the model raises."""
        return _plain(self._predict(self._fit(rows, names)))

    def _generated(self, asked: dict[str, Any], *, whole: bool) -> tuple[int, Any]:
        """A text, or rows, answered piece by piece; `whole`: put together."""
        if self._model.stream is None:
            return no(406, "this model does not answer piece by piece: it has no predict_stream")
        text = asked.get("text_input")
        pieces = iter(self._model.stream([text] if text is not None else self._rows(asked)))
        head = {"model_name": self._name, "model_version": self._version}
        if whole:
            return 200, {**head, "text_output": "".join(str(piece) for piece in pieces)}
        if text is not None:
            return 200, ({**head, "text_output": str(piece)} for piece in pieces)
        return 200, ({"predictions": _plain(piece)} for piece in pieces)

    def _told(self, place: str) -> tuple[int, Any]:
        if place in ("/ping", "/health", "/v2/health/live", "/v2/health/ready") or place.endswith("/ready"):
            return 200, {"name": self._name, "ready": True}
        if place == "/drift":
            return 200, {"columns": self._drift.told()}
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
        optional = {name for name, _, required in self._model.columns if not required}
        absent = {name for name in names for row in records if name not in row} - optional
        if absent:
            raise Misfit(f"columns are missing: {', '.join(sorted(absent)[:20])}", *sorted(absent))
        return self._fit([[row.get(name) for name in names] for row in records], names)

    def _fit(self, rows: Sequence[Any], names: list[str] | None) -> Any:
        columns = self._model.columns
        if columns and names is not None:
            rows = self._in_order(rows, names)
        width = len(columns) or self._model.width
        if width:
            for number, row in enumerate(rows):
                if not hasattr(row, "__len__") or isinstance(row, str) or len(row) != width:
                    raise Misfit(
                        f"each row needs {width} values; row {number} does not have them", f"row {number}"
                    )
        if columns:
            _hold(rows, columns)
        if self._pandas is not None:
            return self._pandas.DataFrame(rows, columns=[name for name, _, _ in columns] or names)
        found = self._numpy.asarray(rows)
        if self._model.tensor is not None:
            return self._formed(found, *self._model.tensor)
        return found

    def _in_order(self, rows: Sequence[Any], names: list[str]) -> Sequence[Any]:
        """The columns as the model has them; those it does not know are left out."""
        wanted = [name for name, _, _ in self._model.columns]
        missing = [name for name, _, required in self._model.columns if required and name not in names]
        if missing:
            raise Misfit(f"columns are missing: {', '.join(missing[:20])}", *missing)
        if names == wanted:
            return rows
        for number, row in enumerate(rows):
            if len(row) != len(names):
                raise Misfit(
                    f"each row needs {len(names)} values; row {number} does not have them", f"row {number}"
                )
        at = {name: number for number, name in enumerate(names)}
        return [[row[at[name]] if name in at else None for name in wanted] for row in rows]

    def _formed(self, found: Any, dtype: str, shape: tuple[int, ...]) -> Any:
        """A tensor of the type that the model names, and of its shape."""
        fits = len(found.shape) == len(shape) and all(
            want in (-1, has) for want, has in zip(shape, found.shape, strict=True)
        )
        if not fits:
            raise Misfit(f"the shape has to be {list(shape)}; it is {list(found.shape)}", "shape")
        try:
            return found.astype(dtype, casting="same_kind" if found.dtype.kind == "f" else "unsafe")
        except (TypeError, ValueError) as error:
            raise Misfit(f"the values have to be {dtype}; they are {found.dtype.name}", "datatype") from error

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
        found = self._model.call(rows)
        self._drift.see(rows)
        if self._model.answers or self._model.answer is not None:
            self._keeps_its_word(found)
        return found

    def _keeps_its_word(self, found: Any) -> None:
        """Raises `Broken` where an answer is not what the model said its answers are."""
        if self._model.answers and hasattr(found, "columns"):
            absent = [name for name, _, _ in self._model.answers if name not in list(found.columns)]
            if absent:
                raise Broken(f"its answer has no {', '.join(absent[:20])}, as its schema says")
        if self._model.answer is not None:
            shape, has = self._model.answer[1], self._numpy.asarray(found).shape
            same = len(shape) == len(has) and all(
                want in (-1, one) for want, one in zip(shape, has, strict=True)
            )
            if not same:
                raise Broken(f"its answer has the shape {list(has)}, its schema says {list(shape)}")


def _hold(rows: Sequence[Any], columns: list[tuple[str, str, bool]]) -> None:
    """Hold each value against the type of its column. Raises `Misfit`."""
    for at, (name, kind, required) in enumerate(columns):
        if kind not in KINDS:
            continue
        told, kinds = KINDS[kind]
        for number, row in enumerate(rows):
            value = row[at]
            if value is None and not required:
                continue
            whole = kinds == (int,) and isinstance(value, float) and value.is_integer()
            if not whole and (
                not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)
            ):
                raise Misfit(
                    f"{name} has to be {told} ({kind}); in row {number} it is {_named(value)}",
                    name,
                    f"row {number}",
                )


def _named(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {json.dumps(value)[:60]}"


def _is_v2(asked: dict[str, Any]) -> bool:
    given = asked.get("inputs")
    return isinstance(given, list) and bool(given) and isinstance(given[0], dict) and "datatype" in given[0]


def _plain(found: Any) -> Any:
    if hasattr(found, "to_dict") and hasattr(found, "columns"):
        return found.to_dict("records")
    return found.tolist() if hasattr(found, "tolist") else found


def no(status: int, message: str) -> tuple[int, Any]:
    """A refusal, as MLflow's scoring server words it."""
    code = {
        400: "BAD_REQUEST",
        404: "ENDPOINT_NOT_FOUND",
        405: "METHOD_NOT_ALLOWED",
        406: "NOT_IMPLEMENTED",
        413: "BAD_REQUEST",
        422: "BAD_REQUEST",
    }.get(status)
    return status, {"error_code": code or "INTERNAL_ERROR", "message": message}


def finite(value: Any) -> Any:
    """JSON knows neither NaN nor infinities: as text, which MLflow's clients read."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    return [finite(one) for one in value] if isinstance(value, list | tuple) else value
