"""promptfoo's configuration files, read as they are. What this server does not do is a mistake with its line: a suite
that passes because half of it was left out would be worse than none.

Format: promptfoo's reference (https://www.promptfoo.dev/docs/configuration/reference/).
"""

import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

import yaml

from .suite import MAX_CASES, MAX_REPEATS, Case, Expect, Provider, Suite, Template
from .words import SuiteWords, filled, provider_of, template_fault

TOP_KEYS: Final = (
    "description", "prompts", "providers", "targets", "tests", "defaultTest", "evaluateOptions", "outputPath", "tags",
    "sharing",
)  # fmt: skip
KNOWN_ELSEWHERE: Final = (
    "scenarios", "env", "derivedMetrics", "extensions", "nunjucksFilters", "redteam", "writeLatestResults",
    "commandLineOptions", "metadata", "assertionTemplates", "$defs", "default",
)  # fmt: skip
TEST_KEYS: Final = ("description", "vars", "assert", "threshold", "options", "metadata")
PROVIDER_KEYS: Final = ("id", "label", "config")
CONFIG: Final = {
    "temperature": "temperature", "max_tokens": "max_tokens", "max_completion_tokens": "max_completion_tokens",
    "top_p": "top_p", "seed": "seed", "response_format": "response_format", "stop": "stop",
    "frequency_penalty": "frequency_penalty", "presence_penalty": "presence_penalty",
}  # fmt: skip
_PARTS: Final = 10_000
# promptfoo takes a prompt for a path where it looks like one, `file://` before it or not.
_PATH: Final = re.compile(r"[^\s{}]+\.(?:txt|md|jsonl?|ya?ml|csv|j2|[mc]?[jt]s|py|rb|sh|exe)(?::\w+)?\Z")
_ELSEWHERE: Final = ("file://", "package:")


class PromptfooWords(SuiteWords):
    """The words of promptfoo's files."""

    promptfoo = True

    def __init__(self, read_file: Callable[[str], str | None] | None) -> None:
        super().__init__()
        self._read_file = read_file

    def read(self, root: yaml.Node, name: str) -> Suite | None:
        """The suite of a whole file."""
        self._elsewhere(root)
        keys = self.mapping(root, "", (*TOP_KEYS, *KNOWN_ELSEWHERE), required=("prompts", "tests"))
        templates = self._prompts(keys["prompts"]) if "prompts" in keys else ()
        at = "targets" if "targets" in keys else "providers"
        providers = self._providers(keys[at], at) if at in keys else ()
        if not providers and not self.issues:
            self.fault(root, "providers", "providers is missing", "Add providers: [echo].", "missing_key")
        base, judge = (
            self._default(keys["defaultTest"]) if "defaultTest" in keys else (Case("", {}, ()), None)
        )
        cases = self._tests(keys["tests"], base) if "tests" in keys else ()
        repeats = self._options(keys["evaluateOptions"]) if "evaluateOptions" in keys else 1
        self._check_holes(templates, cases)
        if self.issues:
            return None
        described = self.text(keys["description"], "description") if "description" in keys else ""
        return Suite(
            name, cases, providers, templates=templates, repeats=repeats, judge=judge, description=described or "",
            source="promptfoo",
        )  # fmt: skip

    def _elsewhere(self, root: yaml.Node) -> None:
        for key, _ in root.value if isinstance(root, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.value in KNOWN_ELSEWHERE:
                self.unsupported(key, str(key.value), f"{key.value!r}", "Take it out of this suite.")

    def _prompts(self, node: yaml.Node) -> tuple[Template, ...]:
        if isinstance(node, yaml.ScalarNode):
            found = [self._prompt(node, "prompts", 0)]
        else:
            items = self.items(node, "prompts", 50)
            found = [self._prompt(item, where, number) for number, (item, where) in enumerate(items)]
        return tuple(template for template in found if template is not None)

    def _prompt(self, node: yaml.Node, path: str, number: int) -> Template | None:
        label, may_be_path = f"prompt {number + 1}", True
        if isinstance(node, yaml.MappingNode):
            keys = self.mapping(node, path, ("id", "raw", "label"))
            may_be_path = "raw" not in keys
            label = (self.text(keys["label"], f"{path}.label") if "label" in keys else None) or label
            node = keys.get("raw", keys.get("id", node))
            if isinstance(node, yaml.MappingNode):
                self.fault(node, path, "there is no text", "Add raw: with the text.")
                return None
        text = self.text(node, path)
        if text is not None and (text.startswith("file://") or (may_be_path and _PATH.match(text))):
            text = self._file(node, path, text, (".txt", ".md", ".json"))
        found = self.template(node, path, text) if text is not None else None
        return Template(label, found) if found is not None else None

    def inputs(self, node: yaml.Node, path: str) -> dict[str, Any]:
        """Vars; promptfoo would read those of other files from there."""
        found = super().inputs(node, path)
        for key, item in node.value if isinstance(node, yaml.MappingNode) else ():
            for part in item.value if isinstance(item, yaml.SequenceNode) else (item,):
                if isinstance(part, yaml.ScalarNode) and part.value.startswith(_ELSEWHERE):
                    self.unsupported(
                        part, f"{path}.{key.value}", f"a var from {part.value[:80]!r}", "Write it out."
                    )
        return found

    def _file(self, node: yaml.Node, path: str, text: str, ends: tuple[str, ...]) -> str | None:
        """A file of the same branch that is named as `file://…`."""
        name = text.removeprefix("file://").removeprefix("./")
        if not name.endswith(ends) or "*" in name:
            self.unsupported(
                node, path, f"the file {name[:80]!r}", f"Use one file that ends with {', '.join(ends)}."
            )
            return None
        found = self._read_file(name) if self._read_file is not None else None
        if found is None:
            self.fault(
                node, path, f"there is no file {name[:120]!r}", "Name it as seen from the suite's folder."
            )
        return found

    def _providers(self, node: yaml.Node, path: str) -> tuple[Provider, ...]:
        if isinstance(node, yaml.ScalarNode):
            found = [self._provider(node, path)]
        else:
            found = [self._provider(item, where) for item, where in self.items(node, path, 20)]
        return tuple(provider for provider in found if provider is not None)

    def _provider(self, node: yaml.Node, path: str) -> Provider | None:
        parameters: dict[str, Any] = {}
        if isinstance(node, yaml.MappingNode):
            keys = self.mapping(node, path, PROVIDER_KEYS, required=("id",))
            if "config" in keys:
                parameters = self._config(keys["config"], f"{path}.config")
            if "id" not in keys:
                return None
            node, path = keys["id"], f"{path}.id"
        name = self.text(node, path)
        if name is None:
            return None
        found = provider_of(name)
        if isinstance(found, str):
            hint = "Write echo, openai:MODEL, anthropic:messages:MODEL, or provider/model of the gateway."
            self.unsupported(node, path, found, hint)
            return None
        return replace(found, parameters=parameters)

    def _config(self, node: yaml.Node, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, item in self.free_mapping(node, path, 50).items():
            if name not in CONFIG:
                hint = (
                    f"There is {', '.join(CONFIG)}; addresses and keys stand in the server's provider file."
                )
                self.unsupported(item, f"{path}.{name}", f"the option {name!r}", hint)
            else:
                found[CONFIG[name]] = self.value(item, f"{path}.{name}")
        return found

    def _default(self, node: yaml.Node) -> tuple[Case, str | None]:
        keys = self.mapping(node, "defaultTest", TEST_KEYS)
        judge: str | None = None
        if "options" in keys:
            judge = self._judge(keys.pop("options"), "defaultTest.options")
        return self._test(keys, "defaultTest", node), judge

    def _judge(self, node: yaml.Node, path: str) -> str | None:
        keys = self.mapping(node, path, ("provider",))
        if "provider" not in keys:
            return None
        name = self.text(keys["provider"], f"{path}.provider")
        found = provider_of(name) if name is not None else None
        if isinstance(found, Provider) and found.kind == "model":
            return found.model
        if name is not None:
            self.unsupported(
                keys["provider"], f"{path}.provider", f"the judge {name[:80]!r}", "Name a model."
            )
        return None

    def _test(self, keys: dict[str, yaml.Node], path: str, node: yaml.Node) -> Case:
        if "options" in keys:
            self.unsupported(
                keys["options"], f"{path}.options", "options of one test", "Put them into defaultTest."
            )
        readers: dict[str, Callable[[yaml.Node, str], Any]] = {
            "description": self.text,
            "vars": self.inputs,
            "assert": self.expects,
            "threshold": lambda n, p: self.real(n, p, 0, 1),
            "metadata": self.value,
        }
        found = self.read_keys(keys, path, readers)
        found.pop("metadata", None)
        line = self.line_of(node)
        name, given = str(found.pop("description", "")), found.pop("vars", {})
        return Case(name, given, found.pop("assert", ()), line=line, **found)

    def _tests(self, node: yaml.Node, base: Case) -> tuple[Case, ...]:
        if isinstance(node, yaml.ScalarNode):
            self.unsupported(node, "tests", "tests in another file", "Write them into this one.")
            return ()
        found: list[Case] = []
        for number, (item, where) in enumerate(self.items(node, "tests", MAX_CASES), 1):
            if isinstance(item, yaml.ScalarNode):
                self.unsupported(item, where, "tests in another file", "Write them into this one.")
                continue
            keys = self.mapping(item, where, TEST_KEYS)
            own = self._test(keys, where, item)
            found += self._combined(own, base, number, item)
        return self._named(found)

    def _combined(self, own: Case, base: Case, number: int, node: yaml.Node) -> list[Case]:
        """A test with what `defaultTest` adds, once for each combination of those vars that are lists."""
        given = {**base.input, **own.input}
        lists = {name: cast("list[Any]", value) for name, value in given.items() if isinstance(value, list)}
        combos = list(itertools.islice(itertools.product(*lists.values()), MAX_CASES + 1))
        if len(combos) > MAX_CASES:
            self.fault(node, "vars", f"more than {MAX_CASES} combinations", "Use shorter lists.", "too_many")
            return []
        threshold = own.threshold if own.threshold is not None else base.threshold
        made: list[Case] = []
        for combo in combos:
            values = {**given, **dict(zip(lists, combo, strict=True))}
            expect = tuple(self._said(one, values) for one in (*base.expect, *own.expect))
            made.append(Case(own.id or f"test {number}", values, expect, threshold=threshold, line=own.line))
        return made

    def _said(self, one: Expect, values: Mapping[str, Any]) -> Expect:
        """An assertion whose value has holes, filled from the vars as promptfoo does it."""
        if not isinstance(one.value, str) or "{{" not in one.value:
            return one
        why = template_fault(one.value)
        if why is not None:
            self.fault(one.line, "assert.value", *why, "template")
            return one
        try:
            return replace(one, value=filled(one.value, dict(values)))
        except KeyError as error:
            self.fault(
                one.line, "assert.value", f"there is no var {error.args[0]!r}", "Add it below vars.", "var"
            )
            return one

    def _named(self, cases: list[Case]) -> tuple[Case, ...]:
        """Ids that are unique: a description that stands several times gets a number."""
        counts: dict[str, int] = {}
        found: list[Case] = []
        for case in cases:
            counts[case.id] = counts.get(case.id, 0) + 1
            found.append(replace(case, id=f"{case.id} #{counts[case.id]}") if counts[case.id] > 1 else case)
        if not cases and not self.issues:
            self.fault(1, "tests", "there is no test", "Add {vars: {}, assert: [...]}.")
        return tuple(found)

    def _options(self, node: yaml.Node) -> int:
        keys = self.mapping(
            node, "evaluateOptions", ("repeat", "maxConcurrency", "showProgressBar", "cache", "delay")
        )
        found = (
            self.number(keys["repeat"], "evaluateOptions.repeat", 1, MAX_REPEATS)
            if "repeat" in keys
            else None
        )
        return found or 1

    def _check_holes(self, templates: tuple[Template, ...], cases: tuple[Case, ...]) -> None:
        """promptfoo fills a hole without a var with nothing; here that is a mistake."""
        for template, case in itertools.islice(itertools.product(templates, cases), _PARTS):
            try:
                filled(template.text, dict(case.input))
            except KeyError as error:
                said = f"{case.id!r} (line {case.line}) has no var {error.args[0]!r} for {template.label}"
                self.fault(case.line, "vars", said, "Add the var.", "var")


def messages_of(text: str) -> list[dict[str, Any]]:
    """What is sent: a prompt that is a JSON list of messages is these, any other one message of the user."""
    if text.lstrip().startswith("["):
        try:
            found: Any = json.loads(text)
        except ValueError:
            found = None
        messages = cast("list[Any]", found) if isinstance(found, list) else []
        if messages and all(
            isinstance(m, dict) and {"role", "content"} <= set(cast("Any", m)) for m in messages
        ):
            return messages
    return [{"role": "user", "content": text}]
