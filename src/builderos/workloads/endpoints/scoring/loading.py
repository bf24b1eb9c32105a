"""Loads a model: what it may call while that goes on is what models are made of."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false
# What models and callers bring has no types.

import importlib
import json
import pickle
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

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


_TENSORS: Final = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(int64)": "int64", "tensor(int32)": "int32",
}  # fmt: skip


class Unfit(Exception):
    """A model that is not loaded: the text says why."""


class Model:
    """A model that was loaded, and what it says of its rows: names and types of the columns, or the form of a tensor
    (its type, its shape with -1 for any length); of its answers likewise. `stream`: answers piece by piece.
    """

    def __init__(self, call: Callable[[Any], Any], said: dict[str, Any], width: int | None) -> None:
        self.call = call
        self.columns = _columns(said, "inputs")
        self.tensor = _tensor(said, "inputs")
        self.answers = _columns(said, "outputs")
        self.answer = _tensor(said, "outputs")
        self.width = width
        self.frame = False
        self.folder = Path()
        self.stream: Callable[[Any], Iterable[Any]] | None = None


def load(folder: Path) -> Model:
    """The model in a folder. Raises `Unfit`, and whatever its own libraries raise."""
    model = _loaded(folder)
    model.folder = folder
    return model


def _loaded(folder: Path) -> Model:
    said = _mlmodel(folder)
    flavors: dict[str, Any] = said.get("flavors", {})
    file = _file(folder, flavors)
    python = flavors.get("python_function") or {}
    if file is None or any(python.get(name) for name in ("python_model", "model_code_path")):
        if not python:
            raise Unfit("there is no model.skops, .onnx, .pt2, .pt, .pkl or model.py in it")
        loaded = importlib.import_module("mlflow.pyfunc").load_model(str(folder))
        return _able(Model(loaded.predict, said, None), loaded)
    estimator = _LOADERS[file.suffix](file)
    if isinstance(estimator, Onnx) and not (said.get("signature") or {}).get("inputs"):
        said = {**said, "signature": {"inputs": json.dumps(estimator.form)}}
    width = getattr(estimator, "n_features_in_", None)
    call: Any = getattr(estimator, "predict", estimator)
    model = Model(call, said, width)
    model.frame = any(kind not in NUMBERS for _, kind, _ in model.columns) or _wants_names(estimator)
    return _able(model, estimator)


def _able(model: Model, loaded: Any) -> Model:
    model.stream = getattr(loaded, "predict_stream", None)
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


def _said(said: dict[str, Any], which: str) -> list[dict[str, Any]]:
    text = (said.get("signature") or {}).get(which)
    return json.loads(text) if text else []


def _columns(said: dict[str, Any], which: str) -> list[tuple[str, str, bool]]:
    return [(str(one["name"]), str(one["type"]), bool(one.get("required", True)))
            for one in _said(said, which) if "name" in one and one.get("type") != "tensor"]  # fmt: skip


def _tensor(said: dict[str, Any], which: str) -> tuple[str, tuple[int, ...]] | None:
    tensors = [one["tensor-spec"] for one in _said(said, which) if one.get("type") == "tensor"]
    return (str(tensors[0]["dtype"]), tuple(tensors[0]["shape"])) if len(tensors) == 1 else None


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


class Onnx:
    """A model of one input and one answer. `form`: what it says of its input, in MLflow's words."""

    def __init__(self, file: Path) -> None:
        self._session = importlib.import_module("onnxruntime").InferenceSession(str(file))
        self._numpy: Any = importlib.import_module("numpy")
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise Unfit(f"it has {len(inputs)} inputs; one is taken")
        self._name, self._answers = inputs[0].name, [self._session.get_outputs()[0].name]
        self._kind = _TENSORS.get(inputs[0].type)
        shape = [size if isinstance(size, int) and size > 0 else -1 for size in inputs[0].shape]
        known = self._kind is not None and bool(shape)
        spec = {"dtype": self._kind, "shape": [-1, *shape[1:]]}
        self.form: list[Any] = [{"type": "tensor", "tensor-spec": spec}] if known else []

    def predict(self, rows: Any) -> Any:
        """The first of its answers."""
        return self._session.run(self._answers, {self._name: self._numpy.asarray(rows, self._kind)})[0]


def _torch(file: Path) -> Any:
    torch = importlib.import_module("torch")
    module = torch.jit.load(str(file), map_location="cpu").eval()

    def call(rows: Any) -> Any:
        with torch.inference_mode():
            return module(torch.as_tensor(rows, dtype=torch.float32)).numpy()

    return call


def _exported(file: Path) -> Any:
    torch = importlib.import_module("torch")
    module = importlib.import_module("torch.export").load(str(file)).module()

    def call(rows: Any) -> Any:
        with torch.inference_mode():
            return module(torch.as_tensor(rows, dtype=torch.float32)).numpy()

    return call


def _whole(file: Path) -> Any:
    raise Unfit(
        f"{file.name} is a pickle that calls what it names; save the model by torch.export or torch.jit"
    )


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
    ".skops": _skops, ".onnx": Onnx, ".pt2": _exported, ".pt": _torch, ".py": _module, ".pkl": _pickle,
    ".pickle": _pickle, ".joblib": _pickle, ".pth": _whole,
}  # fmt: skip
