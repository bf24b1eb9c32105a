"""Sends one plain-text mail over SMTP, encrypted wherever the server is not this machine."""

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Final
from urllib.parse import unquote, urlsplit

from builderos.core.context import Context
from builderos.core.database import Database
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.engine.outbox import Message
from builderos.trust.identity import service as identity
from builderos.trust.notices import service as notices
from builderos.trust.orgs import service as orgs
from builderos.trust.vault import service as vault

TIMEOUT_S: Final = 20
LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def send(context: Context, to: str, subject: str, text: str) -> None:
    """Hand one mail to the configured server. Raises `OSError` (`smtplib.SMTPException` is one): try again later."""
    settings = context.get(Settings)
    if settings.smtp_url is None:
        raise OSError("no mail server is configured: set BUILDEROS_SMTP_URL")
    mail = EmailMessage()  # refuses line breaks in headers
    mail["From"], mail["To"], mail["Subject"] = settings.mail_from, to, subject
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain="builderos.invalid")
    mail.set_content(text)
    with _connect(context, settings.smtp_url.get_secret_value()) as server:
        server.send_message(mail)


def _connect(context: Context, url: str) -> smtplib.SMTP:
    at = urlsplit(url)
    password = _password(context, unquote(at.password or ""))
    host, tls = at.hostname or "", ssl.create_default_context()
    if at.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, at.port or 465, timeout=TIMEOUT_S, context=tls)
    else:
        server = smtplib.SMTP(host, at.port or 587, timeout=TIMEOUT_S)
        if host not in LOCAL:
            server.starttls(context=tls)
    if at.username:
        server.login(unquote(at.username), password)
    return server


def _password(context: Context, text: str) -> str:
    """The password of the address, or the secret of the server's own organisation that it names (`secret:NAME`)."""
    if not text.startswith(vault.REFERENCE):
        return text
    own = identity.find_org(context.get(Database), identity.DEFAULT_ORG_SLUG)
    try:
        if own is None:
            raise Problem("not_found", "this server has no organisation of its own")
        return vault.resolve(context, own[0], text, "smtp")
    except Problem as problem:
        raise OSError(f"the password of the mail server is not released: {problem.detail}") from problem


def send_notice(context: Context, message: Message) -> None:
    """The outbox's handler of letters about approvals and alerts."""
    letter = notices.mail.letter_of(context, message)
    if letter is not None:
        send(context, *letter)


def send_sign_in(context: Context, message: Message) -> None:
    """The outbox's handler of sign-in links."""
    letter = orgs.signing_in.letter_of(context, message)
    if letter is not None:
        send(context, *letter)
