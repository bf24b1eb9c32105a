"""Reading a suite: `evals/<suite>.yaml`, in our words or in promptfoo's."""

import contextlib
from collections.abc import Callable
from typing import Any, Final

import yaml

from builderos.core.yamlnodes import Enough, Issue
from builderos.core.yamlwords import refused

from . import promptfoo
from .suite import MAX_CASES, MAX_REPEATS, Case, Expect, Provider, Suite
from .words import CASE_ID, SuiteWords

FOLDER: Final = "evals"
TOP_KEYS: Final = (
    "suite", "description", "prompt", "models", "repeats", "threshold", "share", "judge", "replies", "cases",
)  # fmt: skip
CASE_KEYS: Final = ("id", "input", "expect", "golden", "threshold")


def file_of(suite: str) -> str:
    """Where the suite of a name lies in a repository."""
    return f"{FOLDER}/{suite}.yaml"


def parse(text: str, *, name: str, read_file: Callable[[str], str | None] | None = None) -> Suite:
    """The suite that a file says; `read_file` gives others that it names, relative to the repository.

    Raises `validation_failed` with the line of every mistake, and of everything that is not supported.
    """
    found, issues = read(text, name=name, read_file=read_file)
    if issues or found is None:
        raise refused(file_of(name), issues)
    return found


def read(
    text: str, *, name: str, read_file: Callable[[str], str | None] | None = None
) -> tuple[Suite | None, list[Issue]]:
    """The suite, and every mistake in the order of the lines; with any, the suite is None."""
    reader = promptfoo.PromptfooWords(read_file) if _is_promptfoo(text) else _OwnWords()
    found: Suite | None = None
    with contextlib.suppress(Enough):
        root = reader.document(text)
        if root is None and not reader.issues:
            reader.fault(1, "", "the file is empty", "Begin with cases:.")
        elif root is not None:
            found = reader.read(root, name)
    issues = sorted(reader.issues, key=lambda issue: (issue.line, issue.column))
    return (None if issues else found), issues


def _is_promptfoo(text: str) -> bool:
    """Whether the words at the left edge are promptfoo's."""
    tops = {line.partition(":")[0] for line in text.splitlines() if line[:1].isalpha()}
    return "cases" not in tops and bool(
        tops & {"tests", "prompts", "providers", "targets", "defaultTest", "scenarios"}
    )


class _OwnWords(SuiteWords):
    """The words of a suite of ours."""

    def read(self, root: yaml.Node, name: str) -> Suite | None:
        keys = self.mapping(root, "", TOP_KEYS, required=("cases",))
        replies: dict[str, str] | None = None
        if "replies" in keys:
            items = self.free_mapping(keys["replies"], "replies", MAX_CASES)
            replies = {key: self.text(item, f"replies.{key}") or "" for key, item in items.items()}
        readers: dict[str, Callable[[yaml.Node, str], Any]] = {
            "suite": lambda n, p: self._named(n, p, name),
            "description": self.long,
            "prompt": self.short,
            "models": lambda n, p: self.listed(n, p, 20, self._provider),
            "repeats": lambda n, p: self.number(n, p, 1, MAX_REPEATS),
            "threshold": lambda n, p: self.real(n, p, 0, 1),
            "share": lambda n, p: self.real(n, p, 0, 1),
            "judge": self.model,
        }
        found = self.read_keys(keys, "", readers)
        found.pop("suite", None)
        providers: tuple[Provider, ...] = found.pop("models", ())
        if replies is not None:
            providers = (*providers, Provider("canned", replies=replies))
        cases = self._cases(keys["cases"]) if "cases" in keys else ()
        if replies is not None:
            self._answered(keys["replies"], cases, replies)
        if self.issues:
            return None
        if not providers:
            providers = (Provider("model", "default"),) if "prompt" in found else (Provider("echo"),)
        return Suite(name, cases, providers, **found)

    def _named(self, node: yaml.Node, path: str, name: str) -> str | None:
        given = self.id(node, path)
        if given is not None and given != name:
            self.fault(node, path, f"the file's name says {name[:80]}", f"Write suite: {name[:80]}.", "place")
        return given

    def _provider(self, node: yaml.Node, path: str) -> Provider | None:
        name = self.model(node, path)
        if name is None:
            return None
        return Provider("echo") if name == "echo" else Provider("model", name)

    def _cases(self, node: yaml.Node) -> tuple[Case, ...]:
        found = [self._case(item, where) for item, where in self.items(node, "cases", MAX_CASES)]
        if isinstance(node, yaml.SequenceNode) and not node.value:
            self.fault(node, "cases", "there is no case", "Add {id: first, input: {}, expect: [...]}.")
        return self.unique([case for case in found if case is not None])

    def _case(self, node: yaml.Node, path: str) -> Case | None:
        keys = self.mapping(node, path, CASE_KEYS, required=("id",))
        readers: dict[str, Callable[[yaml.Node, str], Any]] = {
            "id": lambda n, p: self.fitting(n, p, CASE_ID, "an id", "Use letters, digits, dots and dashes."),
            "input": self.inputs,
            "expect": self.expects,
            "golden": self.long,
            "threshold": lambda n, p: self.real(n, p, 0, 1),
        }
        found = self.read_keys(keys, path, readers)
        if "expect" not in keys and "golden" not in keys:
            self.fault(node, path, "nothing is expected", "Add expect or golden.", "missing_key")
        if "id" not in found:
            return None
        line = self.line_of(node)
        expect: tuple[Expect, ...] = found.pop("expect", ())
        if "golden" in found and not expect:
            expect = (Expect("golden", found["golden"], line=line),)
        return Case(found.pop("id"), found.pop("input", {}), expect, line=line, **found)

    def _answered(self, node: yaml.Node, cases: tuple[Case, ...], replies: dict[str, str]) -> None:
        for case in cases:
            if case.id not in replies:
                self.fault(case.line, case.id, "there is no reply to it", f"Add {case.id} below replies.")
        for name in replies.keys() - {case.id for case in cases}:
            self.fault(node, f"replies.{name}", "there is no such case", "Take the reply away.")
