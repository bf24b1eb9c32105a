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
DOMAIN: Final = "builderos.invalid"
LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def send(context: Context, to: str, subject: str, text: str) -> None:
    """Hand one mail to the configured server. Raises `OSError` (`smtplib.SMTPException` is one): try again later."""
    mail = written(context, to, subject, text, make_msgid(domain=DOMAIN))
    with connect(context) as server:
        server.send_message(mail)


def written(context: Context, to: str, subject: str, text: str, id_: str) -> EmailMessage:
    """A mail from this server. Raises `ValueError` for line breaks in what becomes a header."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = context.get(Settings).mail_from, to, subject
    mail["Date"], mail["Message-ID"] = formatdate(), id_
    mail.set_content(text)
    return mail


def connect(context: Context) -> smtplib.SMTP:
    """The configured server, ready to take mail; nothing was sent yet. Raises `OSError`."""
    url = context.get(Settings).smtp_url
    if url is None:
        raise OSError("no mail server is configured: set BUILDEROS_SMTP_URL")
    return _connect(context, url.get_secret_value())


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
