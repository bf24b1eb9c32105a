"""Answers with one model: the program that runs inside the sandbox, alone with the model's libraries.

It imports nothing of this package and, before it has looked at the model, nothing but the standard library. It speaks
`/invocations` as MLflow's scoring server does, the Open Inference Protocol V2, and `/invoke`, which takes either.

    python scorer.py FOLDER PORT NAME VERSION
"""

import asyncio
import importlib
import json
import math
import pickle
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

LIMIT: Final = 16 * 1024 * 1024
FAILED: Final = "model: "
"""Begins the line that says why a model could not be loaded."""
V2: Final = {
    "float64": "FP64", "float32": "FP32", "int64": "INT64", "int32": "INT32", "bool": "BOOL", "object": "BYTES",
}  # fmt: skip
DTYPES: Final = {
    "FP64": "f8", "FP32": "f4", "INT64": "i8", "INT32": "i4", "INT16": "i2", "INT8": "i1", "UINT8": "u1", "BOOL": "?",
    "BYTES": "O",
}  # fmt: skip
NUMBERS: Final = frozenset({"double", "float", "long", "integer"})
_TRUSTED: Final = frozenset(
    {"numpy", "scipy", "sklearn", "pandas", "xgboost", "lightgbm", "joblib", "collections"}
)
_PLAIN: Final = frozenset({
    "builtins.set", "builtins.frozenset", "builtins.dict", "builtins.list", "builtins.tuple", "builtins.slice",
    "builtins.range", "builtins.complex", "builtins.bytearray", "builtins.object", "builtins.int", "builtins.float",
    "builtins.bool", "builtins.str", "builtins.bytes", "copyreg._reconstructor", "copyreg.__newobj__",
    "_codecs.encode", "datetime.datetime", "datetime.date", "datetime.timedelta", "functools.partial",
})  # fmt: skip


class Unfit(Exception):
    """A model that is not loaded: the text says why."""


class Wrong(Exception):
    """A request that does not fit the model: the caller's fault."""


# -------------------------------------------------------------------- loading


class Model:
    """A model that was loaded. `columns`: names and types of its inputs, where it says so."""

    def __init__(
        self, call: Callable[[Any], Any], columns: list[tuple[str, str, bool]], width: int | None
    ) -> None:
        self.call = call
        self.columns = columns
        self.width = width
        self.frame = False


def load(folder: Path) -> Model:
    """The model in a folder. Raises `Unfit`, and whatever its own libraries raise."""
    said = _mlmodel(folder)
    flavors: dict[str, Any] = said.get("flavors", {})
    columns = _columns(said)
    file = _file(folder, flavors)
    if file is None:
        if "python_function" not in flavors:
            raise Unfit("there is no model.skops, .onnx, .pt, .pkl or model.py in it")
        return Model(importlib.import_module("mlflow.pyfunc").load_model(str(folder)).predict, columns, None)
    estimator = _LOADERS[file.suffix](file)
    width = getattr(estimator, "n_features_in_", None)
    model = Model(estimator if callable(estimator) and not hasattr(estimator, "predict") else estimator.predict,
                  columns, width)  # fmt: skip
    model.frame = any(kind not in NUMBERS for _, kind, _ in columns) or _wants_names(estimator)
    return model


def _mlmodel(folder: Path) -> dict[str, Any]:
    path = folder / "MLmodel"
    if not path.exists():
        return {}
    try:
        found = importlib.import_module("yaml").safe_load(path.read_text())
    except ImportError:
        return {}
    return found if isinstance(found, dict) else {}


def _columns(said: dict[str, Any]) -> list[tuple[str, str, bool]]:
    text = (said.get("signature") or {}).get("inputs")
    if not text:
        return []
    return [(str(one["name"]), str(one["type"]), bool(one.get("required", True)))
            for one in json.loads(text) if "name" in one and one.get("type") != "tensor"]  # fmt: skip


def _file(folder: Path, flavors: dict[str, Any]) -> Path | None:
    named = (flavors.get("sklearn") or {}).get("pickled_model") or (flavors.get("onnx") or {}).get("data")
    if named and (folder / str(named)).is_file() and ".." not in str(named):
        return folder / str(named)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in _LOADERS)
    for suffix in _LOADERS:
        found = [
            path for path in files if path.suffix == suffix and (suffix != ".py" or path.name == "model.py")
        ]
        if found:
            return found[0]
    return None


def _wants_names(estimator: Any) -> bool:
    steps = [step for _, step in getattr(estimator, "steps", [])]
    return any("ColumnTransformer" in type(one).__name__ for one in [estimator, *steps])


def _skops(file: Path) -> Any:
    io = importlib.import_module("skops.io")
    asked = io.get_untrusted_types(file=file)
    strange = [name for name in asked if name.partition(".")[0] not in _TRUSTED]
    if strange:
        raise Unfit(f"it wants types that nobody trusts: {', '.join(strange[:5])}")
    return io.load(file, trusted=asked)


def _pickle(file: Path) -> Any:
    """A pickle calls what it names while it is loaded: nothing but what models are made of."""
    if file.suffix == ".joblib" or _is_joblib(file):
        inner = importlib.import_module("joblib.numpy_pickle")
        inner.NumpyUnpickler.find_class = _find_class(inner.NumpyUnpickler.find_class)
        return importlib.import_module("joblib").load(file)

    class Careful(pickle.Unpickler):
        find_class = _find_class(pickle.Unpickler.find_class)

    with file.open("rb") as stream:
        return Careful(stream).load()


def _is_joblib(file: Path) -> bool:
    with file.open("rb") as stream:
        return b"joblib.numpy_pickle" in stream.read(4096)


def _find_class(inner: Callable[..., Any]) -> Callable[..., Any]:
    def find_class(self: Any, module: str, name: str) -> Any:
        root = module.partition(".")[0]
        if f"{module}.{name}" not in _PLAIN and (root not in _TRUSTED or "." in name):
            raise Unfit(
                f"the pickle would call {module}.{name} while it is loaded; save the model as model.skops"
            )
        return inner(self, module, name)

    return find_class


def _onnx(file: Path) -> Any:
    session = importlib.import_module("onnxruntime").InferenceSession(str(file))
    name, outputs = session.get_inputs()[0].name, [session.get_outputs()[0].name]
    numpy = importlib.import_module("numpy")
    kind = {"tensor(float)": "f4", "tensor(double)": "f8", "tensor(int64)": "i8"}.get(
        session.get_inputs()[0].type
    )
    return lambda rows: session.run(outputs, {name: numpy.asarray(rows, kind)})[0]


def _torch(file: Path) -> Any:
    torch = importlib.import_module("torch")
    module = torch.jit.load(str(file), map_location="cpu").eval()

    def call(rows: Any) -> Any:
        with torch.inference_mode():
            return module(torch.as_tensor(rows, dtype=torch.float32)).numpy()

    return call


def _module(file: Path) -> Any:
    """A Python file with `load(folder)`, whose result has `predict(rows)`."""
    spec = importlib.import_module("importlib.util").spec_from_file_location("model", file)
    module = importlib.import_module("importlib.util").module_from_spec(spec)
    sys.modules["model"] = module
    spec.loader.exec_module(module)
    if not hasattr(module, "load"):
        raise Unfit("model.py has no load(folder)")
    return module.load(str(file.parent))


_LOADERS: Final[dict[str, Callable[[Path], Any]]] = {
    ".skops": _skops, ".onnx": _onnx, ".pt": _torch, ".py": _module, ".pkl": _pickle, ".pickle": _pickle,
    ".joblib": _pickle,
}  # fmt: skip


# -------------------------------------------------------------------- answering


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
        if method != "POST":
            return _no(405, "POST a document")
        if place not in ("/invocations", "/invoke") and not (
            place.startswith("/v2/models/") and place.endswith("/infer")
        ):
            return _no(404, "there is no such path")
        try:
            asked = json.loads(body)
            if not isinstance(asked, dict):
                raise Wrong("the body must be an object")
            is_v2 = place.endswith("/infer") or (place == "/invoke" and _is_v2(asked))
            return 200, self._v2(asked) if is_v2 else {
                "predictions": _plain(self._predict(self._rows(asked)))
            }
        except (Wrong, KeyError, TypeError, ValueError, IndexError) as error:
            why = str(error) if isinstance(error, Wrong) else f"{type(error).__name__}: {error}"
            return _no(400, why[:1000])
        except Exception as error:  # noqa: BLE001 - the model's own code: whatever it raises is told
            return _no(500, f"the model failed: {type(error).__name__}: {error}"[:1000])

    def _told(self, place: str) -> tuple[int, Any]:
        if place in ("/ping", "/health", "/v2/health/live", "/v2/health/ready") or place.endswith("/ready"):
            return 200, {"name": self._name, "ready": True}
        if place.startswith("/v2/models/"):
            inputs = [
                {"name": name, "datatype": kind, "shape": [-1, 1]} for name, kind, _ in self._model.columns
            ]
            return 200, {"name": self._name, "versions": [self._version], "platform": "builderos", "inputs": inputs,
                         "outputs": [{"name": "predict", "datatype": "FP64", "shape": [-1]}]}  # fmt: skip
        return _no(404, "there is no such path")

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


def _no(status: int, message: str) -> tuple[int, Any]:
    code = {400: "BAD_REQUEST", 404: "ENDPOINT_NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "BAD_REQUEST"}.get(
        status
    )
    return status, {"error_code": code or "INTERNAL_ERROR", "message": message}


def _finite(value: Any) -> Any:
    """JSON knows neither NaN nor infinities: as text, which MLflow's clients read."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


class Line(asyncio.Protocol):
    """HTTP/1.1 as far as it takes: one request after the other, bodies of known length."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._held = bytearray()
        self._line: Any = None

    def connection_made(self, transport: Any) -> None:
        """A caller."""
        self._line = transport

    def data_received(self, data: bytes) -> None:
        """Bytes of it: answer each request that is complete."""
        self._held += data
        while not self._line.is_closing():
            end = self._held.find(b"\r\n\r\n")
            if end < 0:
                if len(self._held) > 65536:
                    self._line.close()
                return
            lines = self._held[:end].decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
            }
            size = headers.get("content-length", "0")
            if "transfer-encoding" in headers or not size.isdigit() or int(size) > LIMIT:
                self._say(
                    413 if size.isdigit() else 400,
                    _no(413, "a body has a length, and 16 MiB at most")[1],
                    last=True,
                )
                return
            whole = end + 4 + int(size)
            if len(self._held) < whole:
                return
            body = bytes(self._held[end + 4 : whole])
            del self._held[:whole]
            method, _, rest = lines[0].partition(" ")
            status, document = self._scorer.answer(method, rest.rpartition(" ")[0], body)
            self._say(status, document, last=headers.get("connection", "").lower() == "close")

    def _say(self, status: int, document: Any, *, last: bool) -> None:
        try:
            body = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
        except ValueError:
            body = json.dumps(_finite(document), default=str).encode()
        except TypeError:
            body = json.dumps(document, default=str).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._line.write(head.encode() + (b"Connection: close\r\n\r\n" if last else b"\r\n") + body)
        if last:
            self._line.close()


async def _serve(scorer: Scorer, port: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Line(scorer), "127.0.0.1", port)
    await server.serve_forever()


def main() -> int:
    """Load the model, then answer until somebody ends it; 3 where it cannot be loaded."""
    folder, port, name, version = sys.argv[1:5]
    warnings.filterwarnings("ignore")
    try:
        scorer = Scorer(load(Path(folder)), name, version)
    except Exception as error:  # noqa: BLE001 - whatever keeps it from being loaded is told
        why = str(error) if isinstance(error, Unfit) else f"{type(error).__name__}: {error}"
        sys.stdout.write(f"{FAILED}{why[:2000]}\n")
        return 3
    asyncio.run(_serve(scorer, int(port)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
