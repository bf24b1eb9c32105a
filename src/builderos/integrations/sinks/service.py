"""The carriers that need nothing but the standard library, by kind of sink."""

from .file import FileCarrier
from .syslog import SyslogCarrier
from .webhook import WebhookCarrier

__all__ = ["FileCarrier", "SyslogCarrier", "WebhookCarrier"]
