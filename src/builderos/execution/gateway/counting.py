"""How many tokens a request can be at most, and how many it was: read off the bytes that are passed on."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

from builderos.core.problems import Problem

from .schema import Counts, Json

NOT_TEXT: Final = 8192
"""Tokens that count for a picture, a sound or a file, whose bytes may stand elsewhere."""
MOST_TOKENS: Final = 10**7
MOST_ANSWERS: Final = 1000
_TAIL: Final = 16 * 1024
_USAGE: Final = re.compile(rb'"usage"\s*:\s*(?=\{)')
_MOST: Final = 10**9
_DATA: Final = b"data:"


def input_bound(body: Json, size: int) -> int:
    """The most tokens that the request can be: a token is at least one byte of it; a picture has a bound of its own."""
    return size + NOT_TEXT * _not_text(body.get("messages") or body.get("input"))


def output_bound(body: Json, unlimited: int) -> int:
    """The most tokens that the answer can have; `unlimited` is what the model can say where the request does not.

    Raises `validation_failed` for numbers that are none: a request must not make its own reservation smaller.
    """
    caps = [
        _positive(body, name, MOST_TOKENS)
        for name in ("max_completion_tokens", "max_tokens", "max_output_tokens")
        if body.get(name) is not None
    ]
    answers = _positive(body, "n", MOST_ANSWERS) if body.get("n") is not None else 1
    best = _positive(body, "best_of", MOST_ANSWERS) if body.get("best_of") is not None else 1
    # Where two of them are given, providers obey one or the other.
    return min(max(caps, default=unlimited), MOST_TOKENS) * max(answers, best)


def _positive(body: Json, name: str, most: int) -> int:
    value = body[name]
    if type(value) is not int or not 0 < value <= most:
        raise Problem(
            "validation_failed", f"{name} must be a positive whole number, {most} at most", hint="Leave it out.",
            param=name,
        )  # fmt: skip
    return value


def _not_text(value: Any) -> int:
    """How many parts of a conversation are no text."""
    if isinstance(value, dict):
        part = cast(Json, value)
        kind = part.get("type")
        known = isinstance(kind, str) and (
            "image" in kind or "audio" in kind or "file" in kind or "video" in kind
        )
        return known + sum(_not_text(item) for item in part.values())
    if isinstance(value, list):
        return sum(_not_text(item) for item in cast(list[Any], value))
    return 0


def usage_in(chunks: Sequence[bytes]) -> Counts | None:
    """The last usage that the end of an answer tells; it may stand across chunks. None where it tells none."""
    tail, size = list[bytes](), 0
    for chunk in reversed(chunks):
        tail.append(chunk)
        size += len(chunk)
        if size >= _TAIL:
            break
    data = b"".join(reversed(tail))
    found: Counts | None = None
    for match in _USAGE.finditer(data):
        try:
            value, _ = json.JSONDecoder().raw_decode(data[match.end() :].decode("utf-8", "replace"))
        except ValueError:
            continue
        found = counts_of(value) or found
    return found


def counts_of(usage: Any) -> Counts | None:
    """Chat completions say prompt and completion, responses input and output."""
    if not isinstance(usage, dict):
        return None
    told = cast(Json, usage)
    sent = _number(told, "prompt_tokens", "input_tokens")
    made = _number(told, "completion_tokens", "output_tokens")
    if sent is None and made is None:
        total = _number(told, "total_tokens")
        if total is None:
            return None
        sent = total
    details: Any = told.get("prompt_tokens_details") or told.get("input_tokens_details")
    cached = _number(cast(Json, details), "cached_tokens") if isinstance(details, dict) else None
    return Counts(sent or 0, made or 0, min(cached or 0, sent or 0))


def _number(told: Json, *names: str) -> int | None:
    for name in names:
        value = told.get(name)
        if type(value) is int and 0 <= value <= _MOST:
            return value
    return None


def relayed(chunks: Sequence[bytes]) -> int:
    """The most tokens that were passed on of an answer without an end: a token is at least one byte."""
    data = b"".join(chunks)
    whole = data[: data.rfind(b"\n") + 1]
    said = sum(len(text.encode("utf-8", "surrogatepass")) for event in events(whole) for text in _said(event))
    return said + len(data) - len(whole)


def events(data: bytes) -> Iterator[Json]:
    """The JSON objects of `data:` lines; what cannot be read is left out."""
    for line in data.splitlines():
        if not line.startswith(_DATA):
            continue
        try:
            found = json.loads(line[len(_DATA) :])
        except ValueError:
            continue
        if isinstance(found, dict):
            yield cast(Json, found)


def _said(event: Json) -> Iterator[str]:
    """What an event brings of an answer: texts of a delta, whatever they are called."""
    delta = event.get("delta")
    if isinstance(delta, str):  # an event of a response
        yield delta
    choices = event.get("choices")
    for choice in cast(list[Any], choices) if isinstance(choices, list) else []:
        if isinstance(choice, dict):
            yield from _texts(cast(Json, choice).get("delta"), "")


def _texts(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, str) and name not in ("role", "id", "type", "index"):
        yield value
    elif isinstance(value, dict):
        for key, item in cast(Json, value).items():
            yield from _texts(item, key)
    elif isinstance(value, list):
        for item in cast(list[Any], value):
            yield from _texts(item, name)
