"""The key of a step: one hash over everything that its outcome may depend on.

Cache, replay and provenance rest on it: what has an equal key may be served from the record of another execution, and
what is changed for a replay shows as another key.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

FORM: Final = "builderos-step@1"
"""Names the form of what is hashed: another form gives other keys throughout."""

FIXED: Final[Mapping[str, str]] = {
    "BUILDEROS_SEED": "0",
    "LC_ALL": "C.UTF-8",
    "PERL_HASH_SEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": "315532800",
    "TZ": "UTC",
}
"""What every command finds in its environment, first time and replay alike: one locale, one time zone, one seed, and
for tools that ask for it one date (1980-01-01, the earliest that ZIP can hold; reproducible-builds.org). Compiled
Python carries the time of its source, so none is written. A step may set its own."""

OWN: Final = "BUILDEROS_"
_OF_THE_SPEC: Final = (
    "action", "actor", "agent", "network", "outputs", "profile", "run", "runtime", "secrets", "tools",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What an execution is made of; all of it plain JSON.

    `definition`: what the step says is to be done. `tree`: its input as a git tree (hex). `inputs`, `params`, `env`:
    filled in. `prompt`: the hash of the prompt's text. `model`: name and parameters. `tools`: names to versions.
    `runtime`: digest of the image, or of the machine's system. `reach`: whose rights decided which hosts and secrets
    the step was given; empty where it asks for none.
    """

    definition: Mapping[str, Any]
    tree: str
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    prompt: str | None = None
    model: Mapping[str, Any] | None = None
    tools: Mapping[str, str] = field(default_factory=dict[str, str])
    runtime: str = ""
    reach: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def key(self) -> str:
        """`sha256:…`. Raises `ValueError` for what is not JSON (NaN, infinity)."""
        return digest({"form": FORM, **asdict(self)})

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, from which `ingredients_of` makes the same again."""
        return json.loads(canonical(asdict(self)))


def ingredients_of(data: Mapping[str, Any]) -> Ingredients:
    """What `as_json` wrote."""
    return Ingredients(**data)


def canonical(value: Any) -> str:
    """The one text of a JSON value: sorted keys, no spaces. Raises `ValueError` for NaN and infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """`sha256:…` of the canonical JSON. A lone surrogate, which JSON may hold, is hashed as it stands."""
    return "sha256:" + hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()


def definition_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a node says is to be done, without what only says when, how often and under which name."""
    return {name: spec[name] for name in _OF_THE_SPEC if spec.get(name)}


def changed(before: Ingredients, after: Ingredients) -> list[str]:
    """Names of the ingredients that differ, e.g. `["env.MODE", "tree"]`."""
    old, new = before.as_json(), after.as_json()
    found: list[str] = []
    for name in sorted(old):
        a, b = old[name], new[name]
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            keys: set[str] = {*a, *b}  # pyright: ignore[reportUnknownArgumentType]
            found += [f"{name}.{key}" for key in sorted(keys) if a.get(key) != b.get(key)]  # pyright: ignore[reportUnknownMemberType]
        else:
            found.append(name)
    return found
