"""What other rooms may use of the notices."""

from . import deliveries, feed, inbox, mail, sending, signatures, watch
from .alerts import acknowledge, list_alerts, raise_alert
from .schema import Rule

__all__ = [
    "Rule",
    "acknowledge",
    "deliveries",
    "feed",
    "inbox",
    "list_alerts",
    "mail",
    "raise_alert",
    "sending",
    "signatures",
    "watch",
]
