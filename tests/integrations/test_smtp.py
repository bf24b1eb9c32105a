"""The password of the mail server may be a secret of the vault: the policy releases it, and nothing else shows it."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword

from builderos.integrations.smtp import service as smtp
from tests.support.databases import Databases
from tests.support.lab import Lab, lab_in_temp
from tests.support.mail import Mailbox, mail_server

PASSWORD = "p-" + os.urandom(9).hex()


def check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: LoginPassword) -> AuthResult:
    return AuthResult(success=given.password == PASSWORD.encode())


@pytest.fixture(scope="module")
def post() -> Iterator[Mailbox]:
    """It takes mail from whoever knows the password."""
    with mail_server(authenticator=check, auth_required=True, auth_require_tls=False) as box:
        yield box


@pytest.fixture(scope="module")
def lab(databases: Databases, post: Mailbox) -> Iterator[Lab]:
    url = f"smtp://mailer:secret:MAIL_PASSWORD@127.0.0.1:{post.port}"
    with lab_in_temp(databases, smtp_url=url) as lab:
        yield lab


def test_the_password_is_released_once_the_policy_lists_it(lab: Lab, post: Mailbox) -> None:
    lab.ok(lab.as_owner("POST", "/v1/secrets", json={"key_name": "MAIL_PASSWORD", "value": PASSWORD}), 201)
    with pytest.raises(OSError, match="not released") as refused:
        smtp.send(lab.world.context, "ann@acme.example", "Hello", "One")
    assert PASSWORD not in str(refused.value)
    content = "version: 1\nrules:\n  - {id: mail, scope: {agent: builderos}, allow: {secrets: [MAIL_*]}}\n"
    asked = lab.ok(lab.as_owner("PUT", "/v1/policies", json={"content": content, "reason": "Mail"}))
    lab.ok(lab.as_owner("POST", f"/v1/approvals/{asked['approval_id']}", json={"decision": "approve"}))
    smtp.send(lab.world.context, "ann@acme.example", "Hello", "Two")
    assert "Two" in post.mails[-1][1].as_string()
    (line,) = lab.events(type="secret.released")
    assert line["payload"] | {"purpose": "smtp", "agent": "builderos"} == line["payload"]
