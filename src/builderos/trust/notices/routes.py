"""Doors of the alerts, the webhooks and the inbox."""

from builderos.core.operations import Operations
from builderos.core.unit import Unit

from . import deliveries, inbox, service, webhooks
from .schema import Alert, AlertAckIn, AlertList, AlertListIn

routes = Operations("alerts")
webhook_routes = Operations("webhooks")
inbox_routes = Operations("inbox")


@routes.get("/v1/alerts", "listAlerts")
def list_alerts(unit: Unit, body: AlertListIn) -> AlertList:
    """List what needs a person's attention, newest first."""
    return service.list_alerts(unit, body)


@routes.post("/v1/alerts/{id}/ack", "ackAlert")
def ack_alert(unit: Unit, body: AlertAckIn) -> Alert:
    """Acknowledge an alert, or resolve it."""
    return service.acknowledge(unit, body)


@webhook_routes.post("/v1/webhooks", "createWebhook", status=201, consequential=True, secret_reply=True)
def create_webhook(unit: Unit, body: webhooks.WebhookIn) -> webhooks.NewWebhook:
    """Send events to an address of yours, signed; the secret is shown once."""
    return webhooks.create(unit, body)


@webhook_routes.get("/v1/webhooks", "listWebhooks")
def list_webhooks(unit: Unit, body: webhooks.WebhookListIn) -> webhooks.WebhookList:
    """List the webhooks of the organisation."""
    return webhooks.listed(unit, body)


@webhook_routes.get("/v1/webhooks/{id}", "getWebhook")
def get_webhook(unit: Unit, body: webhooks.WebhookIdIn) -> webhooks.Webhook:
    """Show one webhook, without its secret."""
    return webhooks.show(unit, body)


@webhook_routes.post("/v1/webhooks/{id}", "changeWebhook", consequential=True)
def change_webhook(unit: Unit, body: webhooks.WebhookChangeIn) -> webhooks.Webhook:
    """Change address or events of a webhook, pause it, or wake it up."""
    return webhooks.change(unit, body)


@webhook_routes.delete("/v1/webhooks/{id}", "deleteWebhook", consequential=True)
def delete_webhook(unit: Unit, body: webhooks.WebhookIdIn) -> webhooks.WebhookGone:
    """End a webhook."""
    return webhooks.delete(unit, body)


@webhook_routes.post("/v1/webhooks/{id}/secret", "rotateWebhookSecret", consequential=True, secret_reply=True)
def rotate_webhook_secret(unit: Unit, body: webhooks.WebhookSecretIn) -> webhooks.NewWebhook:
    """Give a webhook a new secret; the old one signs, too, for some hours."""
    return webhooks.rotate(unit, body)


@webhook_routes.post("/v1/webhooks/{id}/ping", "pingWebhook")
def ping_webhook(unit: Unit, body: deliveries.PingIn) -> deliveries.Delivery:
    """Try a webhook with an event of its own."""
    return deliveries.ping(unit, body)


@webhook_routes.get("/v1/webhooks/{id}/deliveries", "listDeliveries")
def list_deliveries(unit: Unit, body: deliveries.DeliveryListIn) -> deliveries.DeliveryList:
    """List what a webhook was sent and how it went, newest first."""
    return deliveries.listed(unit, body)


@webhook_routes.get("/v1/deliveries/{id}", "getDelivery")
def get_delivery(unit: Unit, body: deliveries.DeliveryIn) -> deliveries.DeliveryWhole:
    """Show one delivery: the exact body, and every try."""
    return deliveries.show(unit, body)


@webhook_routes.post("/v1/webhooks/{id}/redeliver", "redeliverWebhook")
def redeliver_webhook(unit: Unit, body: deliveries.RedeliverIn) -> deliveries.Redelivered:
    """Send a delivery anew, or all that failed."""
    return deliveries.redeliver(unit, body)


@inbox_routes.get("/v1/inbox", "listInbox", deciding=True)
def list_inbox(unit: Unit, body: inbox.InboxIn) -> inbox.InboxPage:
    """List what waits for you: requests that you may decide about, questions of runs, and alerts, newest first."""
    return inbox.listed(unit, body)


@inbox_routes.post("/v1/inbox/read", "markInbox")
def mark_inbox(unit: Unit, body: inbox.ReadIn) -> inbox.ReadOut:
    """Mark things in your inbox as read, or as unread."""
    return inbox.mark(unit, body)


@inbox_routes.get("/v1/inbox/preferences", "getPreferences")
def get_preferences(unit: Unit, body: inbox.PreferencesShowIn) -> inbox.Preferences:
    """Show what comes to you by mail."""
    return inbox.show_preferences(unit, body)


@inbox_routes.route("PUT", "/v1/inbox/preferences", "setPreferences", effect="write")
def set_preferences(unit: Unit, body: inbox.PreferencesIn) -> inbox.Preferences:
    """Choose what comes to you by mail."""
    return inbox.set_preferences(unit, body)
