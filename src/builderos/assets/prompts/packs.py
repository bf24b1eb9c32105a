"""Prompt packs: one zip of versions with their hashes. The same versions give the same bytes.

`pack.json` says what every file has to hash to; each prompt lies as `prompts/<name>@<version>.yaml`.
"""

import base64
import binascii
import hashlib
import json
from typing import Any, Final

from builderos.core.ids import is_id
from builderos.core.operations import Download, Reply
from builderos.core.problems import Problem
from builderos.core.unit import Unit
from builderos.core.versions import rank_of
from builderos.trust.ledger import service as ledger
from builderos.trust.policy import service as policy

from . import registry
from .archive import MAX_FILES, PACK, Manifest, unpack, zipped
from .publishing import keep
from .reading import parse
from .resolving import resolve
from .schema import MAX_PACK, ExportIn, Imported, ImportIn
from .spec import PromptVersion, Spec

FORMAT: Final = 1


def export(unit: Unit, body: ExportIn) -> Download:
    """The pack of some prompts with everything that stands in them. Raises `not_found`, `payload_too_large`."""
    policy.require(unit, "prompt.read", policy.org_resource(unit))
    found: dict[str, PromptVersion] = {}
    for ref in body.prompts:
        _gather(resolve(unit, ref), found)
    files = {f"prompts/{ref}.yaml": version.content.encode() for ref, version in sorted(found.items())}
    manifest: dict[str, Any] = {
        "kind": "promptpack", "format": FORMAT, "name": body.name, "version": body.version, "publisher": unit.org_id,
        "permissions": [], "depends": [],
        "files": {path: hashlib.sha256(data).hexdigest() for path, data in files.items()},
        "prompts": {ref: version.sha256 for ref, version in sorted(found.items())},
    }  # fmt: skip
    data = zipped({PACK: json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n", **files})
    if len(data) > MAX_PACK or len(files) >= MAX_FILES:
        raise Problem(
            "payload_too_large", "the pack is too large", hint="Make several packs.", limit=MAX_PACK
        )
    return Download(iter([data]), "application/zip", "promptpack.zip", size=len(data))


def import_(unit: Unit, body: ImportIn) -> Reply[Imported]:
    """Publish what a pack holds, or nothing of it.

    Raises `invalid_path`, `payload_too_large`, `validation_failed` for what is no sound pack; what `publish` raises.
    """
    policy.require(unit, "prompt.publish", policy.org_resource(unit))
    manifest, files = unpack(_decoded(body.content))
    wanted = _in_order(
        [(parse(text, name=name, version=version), text) for (name, version), text in files.items()]
    )
    _verify(unit, manifest, [spec for spec, _ in wanted])
    published: list[str] = []
    unchanged: list[str] = []
    for spec, content in wanted:
        new = _is_new(unit, spec, manifest)
        if new and not body.dry_run:
            keep(unit, spec, content, _source(manifest))
        (published if new else unchanged).append(spec.ref)
    if published and not body.dry_run:
        payload = {"published": published, "unchanged": unchanged}
        ledger.record(unit, "prompt.imported", manifest.ref, payload)
    said = "would be published. Nothing was" if body.dry_run else "published"
    message = f"{manifest.ref}: {len(published)} {said}, {len(unchanged)} there already."
    found = Imported(
        name=manifest.name,
        version=manifest.version,
        published=published,
        unchanged=unchanged,
        message=message,
    )
    return Reply(201 if published and not body.dry_run else 200, found)


def _gather(version: PromptVersion, found: dict[str, PromptVersion]) -> None:
    found[version.spec.ref] = version
    for part in version.partials.values():
        _gather(part, found)


def _decoded(content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(
            "validation_failed", "content is no base64", hint="Encode the file with base64."
        ) from None


def _in_order(given: list[tuple[Spec, str]]) -> list[tuple[Spec, str]]:
    """Lower versions first, and a prompt behind those that stand in it. Raises `validation_failed` for a circle."""
    left = {
        spec.ref: (spec, text)
        for spec, text in sorted(given, key=lambda g: (g[0].name, rank_of(g[0].version)))
    }
    order: list[tuple[Spec, str]] = []
    while left:
        ready = [ref for ref, (spec, _) in left.items() if not left.keys() & set(spec.partials.values())]
        if not ready:
            raise Problem(
                "validation_failed", f"{next(iter(left))} stands in itself", hint="Ask for a sound pack."
            )
        order += [left.pop(ref) for ref in ready]
    return order


def _verify(unit: Unit, manifest: Manifest, specs: list[Spec]) -> None:
    """Every prompt has the hash that the pack says, here as well as where it was made."""
    known: dict[str, str] = {}
    for spec in specs:
        pins: dict[str, str] = {}
        for word, ref in spec.partials.items():
            pins[word] = known.get(ref) or _known_here(unit, ref)
        known[spec.ref] = spec.sha256(pins)
    if known != dict(manifest.prompts):
        wrong = sorted(
            ref for ref in {*known, *manifest.prompts} if known.get(ref) != manifest.prompts.get(ref)
        )
        raise Problem(
            "validation_failed",
            f"{wrong[0]} is not what the pack says",
            hint="Ask for the pack again.",
            prompts=wrong,
        )


def _known_here(unit: Unit, ref: str) -> str:
    name, _, version = ref.partition("@")
    found = registry.find(unit, name, version)
    if found is None:
        raise registry.not_found(ref)
    return found.sha256


def _is_new(unit: Unit, spec: Spec, manifest: Manifest) -> bool:
    """Whether it has to be published. What came along with BuilderOS there as it does here need not."""
    found = registry.find(unit, spec.name, spec.version)
    return found is None or found.sha256 != manifest.prompts[spec.ref]


def _source(manifest: Manifest) -> dict[str, Any]:
    source = {"type": "pack", "pack": manifest.ref}
    return source | ({"publisher": manifest.publisher} if is_id(manifest.publisher, "org") else {})
