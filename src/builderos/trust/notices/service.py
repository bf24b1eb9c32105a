"""What other rooms may use of the notices."""

from . import deliveries, feed, inbox, mail, sending
from .alerts import acknowledge, list_alerts, raise_alert

__all__ = ["acknowledge", "deliveries", "feed", "inbox", "list_alerts", "mail", "raise_alert", "sending"]
