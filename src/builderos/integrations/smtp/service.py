"""Sends one plain-text mail over SMTP, encrypted wherever the server is not this machine."""

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Final
from urllib.parse import unquote, urlsplit

from builderos.core.context import Context
from builderos.core.settings import Settings
from builderos.engine.outbox import Message
from builderos.trust.notices import service as notices
from builderos.trust.orgs import service as orgs

TIMEOUT_S: Final = 20
LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def send(settings: Settings, to: str, subject: str, text: str) -> None:
    """Hand one mail to the configured server. Raises `OSError` (`smtplib.SMTPException` is one): try again later."""
    if settings.smtp_url is None:
        raise OSError("no mail server is configured: set BUILDEROS_SMTP_URL")
    mail = EmailMessage()  # refuses line breaks in headers
    mail["From"], mail["To"], mail["Subject"] = settings.mail_from, to, subject
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain="builderos.invalid")
    mail.set_content(text)
    with _connect(settings.smtp_url.get_secret_value()) as server:
        server.send_message(mail)


def _connect(url: str) -> smtplib.SMTP:
    at = urlsplit(url)
    host, context = at.hostname or "", ssl.create_default_context()
    if at.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, at.port or 465, timeout=TIMEOUT_S, context=context)
    else:
        server = smtplib.SMTP(host, at.port or 587, timeout=TIMEOUT_S)
        if host not in LOCAL:
            server.starttls(context=context)
    if at.username:
        server.login(unquote(at.username), unquote(at.password or ""))
    return server


def send_notice(context: Context, message: Message) -> None:
    """The outbox's handler of letters about approvals and alerts."""
    letter = notices.mail.letter_of(context, message)
    if letter is not None:
        send(context.get(Settings), *letter)


def send_sign_in(context: Context, message: Message) -> None:
    """The outbox's handler of sign-in links."""
    letter = orgs.signing_in.letter_of(context, message)
    if letter is not None:
        send(context.get(Settings), *letter)
