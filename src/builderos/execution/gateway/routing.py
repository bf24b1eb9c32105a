"""From the name that was asked for to whoever may answer, in the order in which they are tried."""

from dataclasses import dataclass

from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource

from .files import AiFile, Model, Provider
from .schema import DEFAULT

_DEEPEST = 5  # aliases of aliases


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider and its own name of a model."""

    provider: str
    model: str
    entry: Provider
    facts: Model

    @property
    def name(self) -> str:
        """As callers and policies call it."""
        return f"{self.provider}/{self.model}"


def candidates(file: AiFile, asked: str) -> list[Candidate]:
    """Who answers to a name, then the fallbacks. Raises `not_found` where there is no such model."""
    name = resolved(file, asked)
    first = _candidate(file, name)
    if first is None:
        raise _unknown(file, asked)
    rest = (_candidate(file, resolved(file, other)) for other in file.fallbacks.get(name, ()))
    found = [first, *(other for other in rest if other is not None)]
    return list({candidate.name: candidate for candidate in found}.values())


def allowed(unit: Unit, found: list[Candidate]) -> list[Candidate]:
    """Those of them that the policy lets the unit's actor use. Raises `policy_denied` for the first."""
    kept: list[Candidate] = []
    for candidate in found:
        decision = policy.decide(unit, "model.use", resource_of(unit, candidate.name))
        if decision.verdict == "allow":
            kept.append(candidate)
        elif not kept:
            raise policy.Refused(decision, "model.use", resource_of(unit, candidate.name))
    return kept


def resource_of(unit: Unit, name: str) -> Resource:
    """A model, as the policy sees it."""
    return Resource(kind="model", id=name, org_id=unit.org_id)


def listed(file: AiFile) -> list[str]:
    """Every name that can be asked for; providers that pass on any name are listed as `provider/*`."""
    names = [DEFAULT] if file.default is not None else []
    names += sorted(file.aliases)
    for name, provider in sorted(file.providers.items()):
        if provider.enabled:
            names += [f"{name}/{model}" for model in sorted(provider.models) or ["*"]]
    return names


def resolved(file: AiFile, asked: str) -> str:
    """The name behind aliases and `default`. Raises `not_found`, `validation_failed`."""
    name = asked
    if name == DEFAULT:
        if file.default is None:
            raise Problem(
                "not_found", "this server has no default model",
                hint="Name one as provider/model, or set BUILDEROS_AI_MODEL; docs/technical/gateway.md says how.",
            )  # fmt: skip
        name = file.default
    for _ in range(_DEEPEST):
        if name not in file.aliases:
            return name
        name = file.aliases[name]
    raise Problem(
        "validation_failed", f"the alias {asked[:100]} goes round in circles", hint="Mend the server's file."
    )


def _candidate(file: AiFile, name: str) -> Candidate | None:
    provider, _, model = name.partition("/")
    entry = file.providers.get(provider)
    if entry is None or not entry.enabled or not model:
        return None
    facts = _facts(file, entry, model)
    return Candidate(provider, model, entry, facts) if facts is not None else None


def _facts(file: AiFile, entry: Provider, model: str) -> Model | None:
    """What a model costs and can say. A recorder that lists no models costs what its source costs."""
    if entry.source is not None and not entry.models:
        entry = file.providers[entry.source]
    return entry.model(model)


def _unknown(file: AiFile, asked: str) -> Problem:
    names = listed(file)
    return Problem(
        "not_found", f"there is no model {asked[:200]} here",
        hint=f"There is {', '.join(names[:10])}." if names else "The server's owner has set up no model yet.",
        allowed=names[:50],
    )  # fmt: skip
