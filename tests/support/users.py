"""Doing something as another user of the system, for tests that run as root."""

import os
import pickle
from collections.abc import Callable
from typing import Any

import pytest

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def run_as(uid: int, function: Callable[[], Any]) -> Any:
    """The result of `function()` in a child process that belongs to user `uid`; an AssertionError where it raised.

    A fork, because the interpreter's own files may lie below root's home, where that user cannot read them.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _answer(uid, function, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    succeeded, result = pickle.loads(answer) if answer else (False, "the child died")
    assert succeeded, result
    return result


def _answer(uid: int, function: Callable[[], Any], writer: int) -> None:
    try:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        answer = pickle.dumps((True, function()))
    except BaseException as fault:
        answer = pickle.dumps((False, repr(fault)))
    os.write(writer, answer)
    os._exit(0)
