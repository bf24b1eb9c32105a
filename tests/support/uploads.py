"""Artifacts of a test server: sent as a client sends them."""

import hashlib
from pathlib import Path
from typing import Any

from .lab import Lab
from .world import Json, World

BYTES = {"content-type": "application/octet-stream"}
Server = Lab | World


def begin(
    site: Server, data: bytes, path: str = "out/data.bin", headers: Json | None = None, **more: Any
) -> Any:
    """Say what will come; the response."""
    body = {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), **more}
    return _world(site).http.post("/v1/artifacts", json=body, headers=headers or _world(site).owner)


def send(site: Server, upload: str, offset: int, data: bytes, headers: Json | None = None) -> Any:
    """Send a part; the response."""
    world = _world(site)
    address = f"/v1/artifacts/uploads/{upload}?offset={offset}"
    return world.http.put(address, content=data, headers=(headers or world.owner) | BYTES)


def upload(
    site: Server, data: bytes, path: str = "out/data.bin", headers: Json | None = None, **more: Any
) -> Json:
    """Send all at once; the artifact."""
    begun = _world(site).ok(begin(site, data, path, headers, **more), 201)
    return _world(site).ok(send(site, begun["id"], 0, data, headers))["artifact"]


def content(site: Server, artifact: str, headers: Json | None = None, **more: str) -> Any:
    """The content, or a part of it; the response."""
    world = _world(site)
    return world.http.get(f"/v1/artifacts/{artifact}/content", headers=(headers or world.owner) | more)


def file_of(site: Server, data: bytes, org_id: str | None = None) -> Path:
    """Where the folder store keeps these bytes."""
    name = hashlib.sha256(data).hexdigest()
    return _world(site).home / "artifacts" / (org_id or _world(site).org_id) / name[:2] / name


def _world(site: Server) -> World:
    return site.world if isinstance(site, Lab) else site
