"""What the program in the sandbox makes of documents, run as it runs there: by a model's own Python."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from builderos.workloads.endpoints import scoring
from tests.support.environments import environment

ASK = """
import json, sys
from pathlib import Path
from scoring.answering import Scorer, finite
from scoring.loading import load
said = json.load(sys.stdin)
try:
    scorer = Scorer(load(Path(said["folder"])), "m", "1")
except Exception as error:
    print(json.dumps([[0, f"{type(error).__name__}: {error}"]]))
    sys.exit()
found = []
for path, body, accept in said["asks"]:
    method = "POST" if body is not None else "GET"
    status, document = scorer.answer(method, path, json.dumps(body).encode(), accept)
    found.append([status, list(document) if hasattr(document, "__next__") else document])
print(json.dumps(finite(found)))
"""
ECHO = """
class Model:
    def predict(self, rows):
        return rows
    def predict_stream(self, rows):
        yield from (rows[0].split() if isinstance(rows[0], str) else rows)
def load(folder):
    return Model()
"""
SIGNED = "signature:\n  inputs: '{inputs}'\n  outputs: '{outputs}'\n"
COLUMNS = [
    {"type": "double", "name": "x", "required": True},
    {"type": "long", "name": "n", "required": True},
    {"type": "boolean", "name": "on", "required": False},
]
TENSOR = [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]


def _asked(
    folder: Path, files: dict[str, str | bytes], *asks: tuple[str, dict[str, Any] | None], accept: str = ""
) -> Any:
    """Status and document of each request to a model of these files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    said = {"folder": str(folder), "asks": [(path, body, accept) for path, body in asks]}
    done = subprocess.run(
        [environment("mlflow") / "bin" / "python", "-W", "ignore", "-c", ASK], input=json.dumps(said), text=True,
        check=True, capture_output=True, cwd=Path(scoring.__file__).parents[1],
    )  # fmt: skip
    return json.loads(done.stdout)


def _signed(inputs: Any, outputs: Any = ()) -> dict[str, str | bytes]:
    said = SIGNED.format(inputs=json.dumps(inputs), outputs=json.dumps(list(outputs)))
    return {"model.py": ECHO, "MLmodel": said}


def test_values_are_held_against_the_types_of_the_columns_and_the_place_is_named(tmp_path: Path) -> None:
    rows: list[tuple[list[Any], list[str]]] = [
        ([1, 2, True], []),
        ([1.5, 2.0, None], []),
        ([1, 2.5, True], ["n", "row 0"]),
        (["1", 2, True], ["x", "row 0"]),
        ([None, 2, True], ["x", "row 0"]),
        ([1, True, True], ["n", "row 0"]),
        ([1, 2, 1], ["on", "row 0"]),
    ]
    asks = [("/invocations", {"instances": [row]}) for row, _ in rows]
    missing = ("/invocations", {"dataframe_records": [{"x": 1, "n": 2}, {"x": 1}]})
    replies = _asked(tmp_path, _signed(COLUMNS), *asks, missing)
    assert [reply[1].get("where", []) for reply in replies] == [*(where for _, where in rows), ["n"]]
    assert [reply[0] for reply in replies] == [200, 200, *[422] * 6]


def test_a_tensor_has_the_shape_and_type_that_the_model_names(tmp_path: Path) -> None:
    v2 = {"inputs": [{"name": "i", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]}
    flat = {"inputs": [{"name": "i", "shape": [2], "datatype": "FP64", "data": [1, 2]}]}
    good, text, bad = _asked(
        tmp_path, _signed(TENSOR), ("/v2/models/m/infer", v2), ("/invoke", {"instances": [["a", "b"]]}),
        ("/invoke", flat),
    )  # fmt: skip
    assert good[1]["outputs"] == [{"name": "predict", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]
    assert (text[0], text[1]["where"]) == (422, ["datatype"])
    assert (bad[0], bad[1]["where"]) == (422, ["shape"])


def test_an_answer_that_is_not_what_the_model_said_is_its_own_fault(tmp_path: Path) -> None:
    three = [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}]
    [(status, document)] = _asked(tmp_path, _signed(TENSOR, three), ("/invoke", {"instances": [[1, 2]]}))
    assert status == 500
    assert "its schema says [-1, 3]" in document["message"]


def test_texts_are_answered_piece_by_piece_or_whole(tmp_path: Path) -> None:
    said = {"text_input": "one two"}
    pieces, whole, rows = _asked(
        tmp_path, {"model.py": ECHO}, ("/v2/models/m/generate_stream", said), ("/v2/models/m/generate", said),
        ("/v2/models/m/generate_stream", {"instances": [[1], [2]]}),
    )  # fmt: skip
    assert [piece["text_output"] for piece in pieces[1]] == ["one", "two"]
    assert whole == [200, {"model_name": "m", "model_version": "1", "text_output": "onetwo"}]
    assert rows[1] == [{"predictions": [1]}, {"predictions": [2]}]


def test_a_model_that_cannot_answer_piece_by_piece_says_so(tmp_path: Path) -> None:
    silent = ECHO.replace("predict_stream", "other")
    [(status, _)] = _asked(
        tmp_path, {"model.py": silent}, ("/invoke", {"instances": [[1]]}), accept="text/event-stream"
    )
    assert status == 406


def test_drift_is_measured_against_what_came_first_once_enough_has_come(tmp_path: Path) -> None:
    def rows(low: int, high: int) -> dict[str, Any]:
        return {"instances": [[number % 10 / 10, low + number % (high - low)] for number in range(50)]}

    early = [("/invoke", rows(0, 10)) for _ in range(10)]
    late = [("/invoke", rows(5, 15)) for _ in range(2)]
    found = _asked(tmp_path, {"model.py": ECHO}, *early, ("/drift", None), *late, ("/drift", None))
    assert found[10] == [200, {"columns": []}]
    far, near = found[-1][1]["columns"]
    assert (far["column"], near["column"]) == ("1", "0")
    assert far["psi"] > 0.25
    assert near["psi"] == 0


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("model.pth", b"PK", "save the model by torch.export or torch.jit"),
        ("model.pkl", b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        ("model.py", b"x = 1", "no load(folder)"),
        ("notes.txt", b"", "there is no model.skops"),
    ],
    ids=["a torch pickle", "a pickle", "no model", "nothing"],
)
def test_what_is_not_loaded_is_named(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    [(_, told)] = _asked(tmp_path, {name: content})
    assert why in told
