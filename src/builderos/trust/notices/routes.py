"""Doors of the alerts."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import service
from .schema import Alert, AlertAckIn, AlertList, AlertListIn

routes = Operations("alerts")


@routes.get("/v1/alerts", "listAlerts")
def list_alerts(unit: Unit, body: AlertListIn) -> AlertList:
    """List what needs a person's attention, newest first."""
    return service.list_alerts(unit, body)


@routes.post("/v1/alerts/{id}/ack", "ackAlert")
def ack_alert(unit: Unit, body: AlertAckIn) -> Alert:
    """Acknowledge an alert, or resolve it."""
    return service.acknowledge(unit, body)
