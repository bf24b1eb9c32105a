"""`deploy.yaml` of a branch: how its tree becomes something that answers. Strict, with the line of every mistake."""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, cast, get_args

import yaml

from builderos.core.yamlnodes import Enough
from builderos.core.yamlwords import Words, refused
from builderos.execution.compute.schema import MIB, Limits, host_rule

from .ports import Check, Site
from .schema import Environment

FILE: Final = "deploy.yaml"
ENVIRONMENTS: Final = get_args(Environment)
MAX_MEMORY: Final = 2048
MAX_PROCESSES: Final = 256
MAX_EXPECTED: Final = 20
_RESERVED: Final = frozenset({"PORT", "HOST", "PATH", "HOME", "WORKSPACE", "TMPDIR"})
_TOP: Final = (
    "version", "static", "command", "build", "health", "env", "secrets", "network", "limits", "verify", "on_unhealthy",
    "environments",
)  # fmt: skip
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_PATH: Final = re.compile(r"/[!-~]{0,500}\Z")
_FOLDER: Final = re.compile(r"(?!.*(?:^|/)\.)[^/\x00-\x1f\\][^\x00-\x1f\\]{0,300}\Z")
_SECONDS: Final = re.compile(r"([1-9][0-9]{0,3})(s|m)\Z")


@dataclass(frozen=True, slots=True)
class Expected:
    """What a path has to answer for a deployment to be as it should."""

    path: str = "/"
    status: int = 200
    contains: str = ""
    lacks: str = ""
    max_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the file says, for one environment."""

    site: Site | None = None
    command: str = ""
    build: str = ""
    check: Check = field(default_factory=Check)
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: tuple[str, ...] = ()
    network: tuple[str, ...] = ()
    memory_mib: int = 512
    processes: int = 64
    verify: tuple[Expected, ...] = ()
    roll_back: bool = False

    @property
    def limits(self) -> Limits:
        """What the command may use."""
        return Limits(memory=self.memory_mib * MIB, pids=self.processes)

    def as_json(self) -> dict[str, Any]:
        """For a row."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Manifest":
        """What `as_json` gave."""
        given = dict(data)
        given["site"] = Site(**data["site"]) if data["site"] is not None else None
        given["check"] = Check(**data["check"])
        given["secrets"], given["network"] = tuple(data["secrets"]), tuple(data["network"])
        given["verify"] = tuple(Expected(**one) for one in data["verify"])
        return cls(**given)


def read_manifest(text: str, environment: str) -> Manifest:
    """What the file says for an environment. Raises `validation_failed` with `errors`, each with its line."""
    reader, found = _Reader(), dict[str, Manifest]()
    with contextlib.suppress(Enough):
        found = reader.read(text)
    if reader.issues:
        raise refused(FILE, sorted(reader.issues, key=lambda issue: issue.line))
    return found.get(environment, found[""])


def expected_of(data: Any) -> Expected:
    """One expectation of a step's inputs. Raises `TypeError`, `ValueError` for odd ones."""
    if not isinstance(data, Mapping):
        raise TypeError("expected keys and values")
    given = {str(key): value for key, value in cast(Mapping[Any, Any], data).items()}
    path, status = given.get("path", "/"), given.get("status", 200)
    if not isinstance(path, str) or not _PATH.match(path):
        raise ValueError("path begins with / and has no spaces")
    if type(status) is not int or not 100 <= status <= 599:
        raise ValueError("status is a number from 100 to 599")
    if not all(isinstance(given.get(name, ""), str) for name in ("contains", "lacks")):
        raise TypeError("contains and lacks are texts")
    if given.get("max_ms") is not None and type(given["max_ms"]) is not int:
        raise TypeError("max_ms is a number")
    return Expected(**given)


class _Reader(Words):
    """Reads the whole file: also what is said of other environments has to be right."""

    def read(self, text: str) -> dict[str, Manifest]:
        """Environment → manifest; "" for those that are not named."""
        root = self.document(text)
        if root is None:
            if not self.issues:
                self.fault(1, "", "the file is empty", "Begin with version: 1.")
            return {}
        top = self.mapping(root, "", _TOP, required=("version",))
        if "version" in top:
            self.number(top["version"], "version", 1, 1)
        if ("static" in top) == ("command" in top):
            self.fault(
                root, "", "say either static or command", "Write static: {folder: site}, or command: …."
            )
        values = self.read_keys(top, "", {
            "static": self._site, "command": self.long, "build": self.long, "health": self._check, "env": self._env,
            "secrets": self._secrets, "network": self._network, "limits": self._limits, "verify": self._verify,
            "on_unhealthy": lambda node, path: self.choice(node, path, ("keep", "rollback")),
        })  # fmt: skip
        limits = values.pop("limits", {})
        base = Manifest(
            site=values.get("static"), command=values.get("command", ""), build=values.get("build", ""),
            check=values.get("health", Check()), env=values.get("env", {}), secrets=values.get("secrets", ()),
            network=values.get("network", ()), verify=values.get("verify", ()),
            roll_back=values.get("on_unhealthy") == "rollback", **limits,
        )  # fmt: skip
        made = {"": base}
        if "environments" in top:
            made |= self._environments(top["environments"], base)
        return made

    def _environments(self, node: yaml.Node, base: Manifest) -> dict[str, Manifest]:
        made: dict[str, Manifest] = {}
        for name, value in self.mapping(node, "environments", ENVIRONMENTS).items():
            path = f"environments.{name}"
            keys = self.mapping(value, path, ("env", "secrets", "network", "on_unhealthy"))
            values = self.read_keys(keys, path, {
                "env": self._env, "secrets": self._secrets, "network": self._network,
                "on_unhealthy": lambda node, path: self.choice(node, path, ("keep", "rollback")),
            })  # fmt: skip
            said = values.get("on_unhealthy")
            made[name] = replace(
                base, env={**base.env, **values.get("env", {})}, secrets=values.get("secrets", base.secrets),
                network=values.get("network", base.network),
                roll_back=base.roll_back if said is None else said == "rollback",
            )  # fmt: skip
        return made

    def _site(self, node: yaml.Node, path: str) -> Site:
        keys = self.mapping(node, path, ("folder", "fallback"))
        return Site(**self.read_keys(keys, path, {"folder": self._folder, "fallback": self._folder}))

    def _folder(self, node: yaml.Node, path: str) -> str | None:
        hint = "Write a path below the top of the branch, e.g. site."
        found = self.fitting(node, path, _FOLDER, "a path", hint)
        return found.rstrip("/") if found is not None else None

    def _check(self, node: yaml.Node, path: str) -> Check:
        keys = self.mapping(node, path, ("path", "status", "within"))
        values = self.read_keys(keys, path, {
            "path": self._where, "status": lambda n, p: self.number(n, p, 100, 599), "within": self._seconds,
        })  # fmt: skip
        within = values.pop("within", None)
        return Check(**values) if within is None else Check(**values, within_s=within)

    def _where(self, node: yaml.Node, path: str) -> str | None:
        return self.fitting(node, path, _PATH, "a path", "Begin it with /, e.g. /healthz.")

    def _seconds(self, node: yaml.Node, path: str) -> float | None:
        text = self.text(node, path)
        found = _SECONDS.match(text) if text is not None else None
        seconds = int(found[1]) * (60 if found[2] == "m" else 1) if found else 0
        if text is not None and not 1 <= seconds <= 600:
            self.fault(node, path, f"{text[:40]!r} is no time of at most 10 minutes", "Write 30s or 2m.")
            return None
        return float(seconds) if seconds else None

    def _env(self, node: yaml.Node, path: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, value in self.free_mapping(node, path, 100).items():
            where = f"{path}.{name}"
            if not _VARIABLE.match(name) or name in _RESERVED:
                self.fault(
                    value, where, "this is no name for a variable of yours", "Use letters, digits and _."
                )
            elif (text := self.text(value, where)) is not None:
                found[name] = text
        return found

    def _secrets(self, node: yaml.Node, path: str) -> tuple[str, ...]:
        hint = "Write the name of a secret as builderos secret list shows it."
        return self.listed(
            node, path, 32, lambda n, p: self.fitting(n, p, _VARIABLE, "a secret's name", hint)
        )

    def _network(self, node: yaml.Node, path: str) -> tuple[str, ...]:
        return self.listed(node, path, 100, self._host)

    def _host(self, node: yaml.Node, path: str) -> str | None:
        text = self.text(node, path)
        if text is None:
            return None
        try:
            host_rule(text)
        except ValueError:
            self.fault(node, path, f"{text[:80]!r} is no host", "Write api.example.com or *.example.com.")
            return None
        return text

    def _limits(self, node: yaml.Node, path: str) -> dict[str, int]:
        keys = self.mapping(node, path, ("memory", "processes"))
        found = self.read_keys(keys, path, {
            "memory": lambda n, p: self.number(n, p, 16, MAX_MEMORY),
            "processes": lambda n, p: self.number(n, p, 1, MAX_PROCESSES),
        })  # fmt: skip
        names = {"memory": "memory_mib", "processes": "processes"}
        return {names[name]: value for name, value in found.items()}

    def _verify(self, node: yaml.Node, path: str) -> tuple[Expected, ...]:
        return tuple(self._expected(item, where) for item, where in self.items(node, path, MAX_EXPECTED))

    def _expected(self, node: yaml.Node, path: str) -> Expected:
        keys = self.mapping(node, path, ("path", "status", "contains", "lacks", "max_ms"))
        return Expected(**self.read_keys(keys, path, {
            "path": self._where, "status": lambda n, p: self.number(n, p, 100, 599), "contains": self.short,
            "lacks": self.short, "max_ms": lambda n, p: self.number(n, p, 1, 600_000),
        }))  # fmt: skip
