"""The action `mail.send` of a step: one letter, journalled as an effect, so that a crash never sends it twice."""

import re
import smtplib
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from builderos.core.context import Context
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.core.steps import Actions
from builderos.core.unit import Call, Unit, perform
from builderos.execution.runs import service as execution
from builderos.trust.policy import service as policy
from builderos.trust.policy.schema import Resource
from builderos.trust.vault import service as vault

from . import service as smtp

KIND: Final = "mail.send"
MAX_TO: Final = 20
MAX_TEXT: Final = 100_000
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9.-]{1,253})\Z")


def enrol(actions: Actions, handlers: execution.EffectHandlers) -> None:
    """Let steps send mail."""
    actions.enrol(KIND, execution.effect_action(KIND))
    handlers.enrol(KIND, execution.EffectHandler(_send, _ask))


def _send(context: Context, call: Call, effect: execution.Effect) -> Mapping[str, Any]:
    """Send the letter that the step's inputs say: `to` (an address, or up to 20), `subject`, `text`.

    Raises `validation_failed`, `policy_denied` where the domain of an address is no host that the policy grants,
    `not_found` without a mail server, `upstream_failed` where it does not take the letter.
    """
    to, domains = _addresses(effect.request.get("to"))
    subject, text = (str(effect.request.get(name) or "").strip() for name in ("subject", "text"))
    if not subject or len(subject) > 200 or not subject.isprintable() or len(text) > MAX_TEXT:
        raise Problem(
            "validation_failed", "a letter needs a subject of one line, at most 200 characters, and 100,000 of text",
            hint="Correct the inputs of the step.",
        )  # fmt: skip
    if context.get(Settings).smtp_url is None:
        raise Problem("not_found", "no mail server is configured", hint="Set BUILDEROS_SMTP_URL.")
    subject, text = perform(context, call, lambda unit: _cleared(unit, effect, domains, subject, text))
    # Whoever gets the same letter twice all the same sees that it is one.
    id_ = f"<{sha256(f'{call.actor.org_id} {effect.key}'.encode()).hexdigest()[:40]}@{smtp.DOMAIN}>"
    mail = smtp.written(context, ", ".join(to), subject, text, id_)
    try:
        server = smtp.connect(context)
    except OSError as error:
        raise _failed(error, happened=False) from error
    with server:
        try:
            refused = server.send_message(mail)
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            raise _failed(error, happened=False) from error
        except OSError as error:
            raise _failed(error, happened=None) from error
    return {"message_id": id_, "to": to, "refused": sorted(refused)}


def _ask(_context: Context, _call: Call, _effect: execution.Effect) -> execution.Found:
    """A mail server cannot be asked what it took."""
    return execution.Found(None)


def _addresses(given: Any) -> tuple[list[str], list[str]]:
    """Addresses, each once, and their domains."""
    named: list[Any] = given if isinstance(given, list) else [given]  # pyright: ignore[reportUnknownVariableType]
    found = [_ADDRESS.match(one.strip()) if isinstance(one, str) else None for one in named]
    if not 0 < len(found) <= MAX_TO or None in found:
        raise Problem(
            "validation_failed", f"`to` names no address, more than {MAX_TO}, or something that is none",
            hint="Write name@example.com, or a list of such.",
        )  # fmt: skip
    whole = [match for match in found if match is not None]
    return list(dict.fromkeys(m[0] for m in whole)), list(dict.fromkeys(m[1].lower() for m in whole))


def _cleared(
    unit: Unit, effect: execution.Effect, domains: list[str], subject: str, text: str
) -> tuple[str, str]:
    """What may leave: to domains that the policy grants as hosts, and without secrets."""
    run = execution.seen_run(unit, effect.run_id)
    where = policy.org_resource(unit)
    if run.repo_id is not None:
        where = Resource(
            kind="repo", id=run.repo_id, org_id=unit.org_id, repo_id=run.repo_id, branch=run.branch
        )
    for domain in domains:
        decision = policy.may_reach(unit, domain, where)
        if decision.verdict != "allow":
            raise Problem(
                "policy_denied", f"no rule lets this run write to {domain}",
                hint=f"An owner lists {domain} under `network` of the policy file.",
                policy_rule=decision.rules[0] if decision.rules else "",
            )  # fmt: skip
    return vault.clean_text(unit, subject), vault.clean_text(unit, text)


def _failed(error: OSError, *, happened: bool | None) -> Problem:
    said = f"the mail server did not take the letter: {type(error).__name__}"
    if isinstance(error, smtplib.SMTPResponseException):
        said += f" {error.smtp_code}"
    return Problem("upstream_failed", said, hint="Look at its log.", happened=happened)
