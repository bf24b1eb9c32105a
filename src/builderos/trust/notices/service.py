"""What other rooms may use of the notices."""

from . import deliveries, feed, sending
from .alerts import acknowledge, list_alerts, raise_alert

__all__ = ["acknowledge", "deliveries", "feed", "list_alerts", "raise_alert", "sending"]
