"""Notebooks as people compare them."""

import json
from typing import Any

import pytest

from builderos.assets.repositories.notebooks import readable
from builderos.assets.repositories.patches import patch_of


def notebook(*cells: dict[str, Any], **metadata: Any) -> bytes:
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}).encode()


def code(source: str | list[str], *outputs: dict[str, Any], count: int | None = None) -> dict[str, Any]:
    return {
        "cell_type": "code", "execution_count": count, "metadata": {"collapsed": True}, "source": source,
        "outputs": list(outputs),
    }  # fmt: skip


def said(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


def test_a_notebook_is_compared_by_its_cells_and_what_they_say() -> None:
    was = notebook(
        {"cell_type": "markdown", "source": ["# Title\n", "words"]}, code("x = 1\nprint(x)", said("1\n"))
    )
    now = notebook(
        {"cell_type": "markdown", "source": "# Title\nwords"},
        code(["x = 2\n", "print(x)"], said("2\n"), count=9),
    )
    text = patch_of("a/b.ipynb", was, now)[0].decode()
    head, _, body = text.partition("@@\n")
    assert head.startswith("diff --git a/a/b.ipynb b/a/b.ipynb\nindex ")
    assert body == " # Title\n words\n %% code\n-x = 1\n+x = 2\n print(x)\n-> 1\n+> 2\n"


def test_counters_and_metadata_are_left_out_but_that_the_files_differ_is_said() -> None:
    was, now = notebook(code("x", count=1)), notebook(code("x", count=2), kernelspec={"name": "other"})
    text, added, deleted = patch_of("b.ipynb", was, now)
    assert b"nothing differs" in text
    assert (added, deleted) == (1, 1)
    other = patch_of("b.ipynb", was, notebook(code("x", count=3)))[0]
    assert other != text
    assert patch_of("b.ipynb", was, was)[0] == b""


def test_images_errors_and_long_outputs_are_told_in_short() -> None:
    picture = {
        "output_type": "display_data",
        "data": {"image/png": "QUJD" * 1000, "text/plain": ["<Figure>"]},
    }
    fault = {"output_type": "error", "ename": "ValueError", "evalue": "\x1b[31mno\x1b[0m", "traceback": ["…"]}
    text = (readable(notebook(code("plot()", picture, fault, said("line\n" * 5000)))) or b"").decode()
    assert "> <Figure>\n> [image/png, 4000 bytes, " in text
    assert "> ValueError: no\n" in text
    assert "> … 4988 more lines, " in text
    assert len(text) < 400


def test_ten_megabytes_of_output_make_a_short_diff() -> None:
    was, now = (notebook(code("x", said(letter * 10_000_000))) for letter in "ab")
    text, added, deleted = patch_of("big.ipynb", was, now)
    assert len(text) < 2000
    assert (added, deleted) == (1, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"{", b"[]", b"null", b"\xff\xfe", b'{"worksheets": []}', b'{"cells": 7}', b'{"cells": [1]}', b"[" * 200_000,
        b'{"cells": [' + b",".join([b"{}"] * 20_001) + b"]}",
    ],
    ids=["half", "list", "null", "bytes", "old", "number", "no-cell", "deep", "many"],
)  # fmt: skip
def test_what_is_no_notebook_is_compared_as_any_file_is(data: bytes) -> None:
    assert readable(data) is None
    text, _, _ = patch_of("a.ipynb", b"one\n", data)
    assert text == patch_of("a.txt", b"one\n", data)[0].replace(b"a.txt", b"a.ipynb")


def test_what_only_looks_like_a_notebook_is_told_as_far_as_it_goes() -> None:
    odd = {
        "cells": [
            {
                "cell_type": 7,
                "source": {"no": "text"},
                "outputs": [3, {"output_type": "display_data", "data": [1]}],
            },
            {
                "cell_type": "mark\ndown",
                "attachments": {"a.png": {"image/png": "QUJD"}},
                "source": ["a\u0000b", 4],
            },
        ]
    }
    assert (readable(json.dumps(odd).encode()) or b"").decode() == (
        "%% \n\n%% mark down\nab\n@ a.png: [image/png, 4 bytes, d9cae0db]\n"
    )


def test_a_new_notebook_and_one_that_is_gone_are_shown_by_their_cells() -> None:
    here = notebook(code("x = 1"))
    assert b"\n+%% code\n+x = 1\n" in patch_of("a.ipynb", b"", here)[0]
    assert b"\n-%% code\n-x = 1\n" in patch_of("a.ipynb", here, b"")[0]
