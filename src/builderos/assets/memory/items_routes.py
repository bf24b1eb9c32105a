"""Doors of what is kept in mind."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import items
from . import items_schema as words

routes = Operations("memory")


@routes.get("/v1/memory/items", "listMemoryItems")
def list_items(unit: Unit, body: words.ItemsIn) -> words.ItemPage:
    """List what is remembered in a place, newest first; with q the best answers first, by words and by meaning."""
    return items.listed(unit, body)


@routes.route("PUT", "/v1/memory/items", "putMemoryItem", effect="write")
def put_item(unit: Unit, body: words.PutItemIn) -> words.Remembered:
    """Remember something, or change it; secrets are taken out first."""
    return items.put(unit, body)


@routes.get("/v1/memory/items/{id}", "getMemoryItem")
def get_item(unit: Unit, body: words.ItemIn) -> words.Remembered:
    """Show one thing that is remembered."""
    return items.show(unit, body)


@routes.delete("/v1/memory/items/{id}", "removeMemoryItem")
def remove_item(unit: Unit, body: words.RemoveItemIn) -> words.ItemGone:
    """Forget something; a fact can be brought back for 30 days."""
    return items.remove(unit, body)


@routes.post("/v1/memory/items/{id}/pin", "pinMemoryItem")
def pin_item(unit: Unit, body: words.PinIn) -> words.Remembered:
    """Keep something whatever its term, or let its term count again."""
    return items.pin(unit, body)


@routes.post("/v1/memory/items/{id}/ttl", "setMemoryTtl")
def set_ttl(unit: Unit, body: words.TtlIn) -> words.Remembered:
    """Say for how long something is remembered from now on."""
    return items.set_ttl(unit, body)


@routes.get("/v1/memory/facts", "listMemoryFacts")
def list_facts(unit: Unit, body: words.ItemsIn) -> words.ItemPage:
    """List the facts that are known in a place."""
    return items.facts(unit, body)


@routes.get("/v1/memory/facts/{id}/history", "getMemoryHistory")
def get_history(unit: Unit, body: words.ItemIn) -> words.History:
    """Show what a fact was, version by version, and where each came from."""
    return items.history(unit, body)


@routes.post("/v1/memory/facts/{id}/undo", "undoMemoryFact")
def undo_fact(unit: Unit, body: words.UndoIn) -> words.Remembered:
    """Have an earlier version of a fact hold again."""
    return items.undo(unit, body)


@routes.get("/v1/memory/export", "exportMemory")
def export_memory(unit: Unit, body: words.ExportIn) -> words.Export:
    """Export the memory of an agent as its file holds it."""
    return items.export(unit, body)


@routes.post("/v1/memory/import", "importMemory")
def import_memory(unit: Unit, body: words.ImportIn) -> words.Imported:
    """Take in the items of such a file; what is known already is not kept twice."""
    return items.import_(unit, body)
