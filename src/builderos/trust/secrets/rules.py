"""Forms of credentials that their issuers publish. What has such a form is a credential and not a guess.

Each form is written for RE2, begins with a text of its own and ends where the credential does. `sure` looks closer
where an issuer gives more to check: a checksum, an expiry, a kind of key that is public on purpose.
"""

import base64
import binascii
import json
import re
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

Look = Callable[[bytes, bytes], bool]
"""What was found and the text behind it (some kilobytes) → whether it is a credential."""


@dataclass(frozen=True)
class Rule:
    """One form. `id` is stable, `title` is for people; `shown`: how many of its first characters are public."""

    id: str
    title: str
    form: str
    shown: int = 4
    sure: Look | None = None


_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY_BODY: Final = re.compile(
    rb"(?:\\+[nrt]|[\s\"'`+,;>#*\\-]|"
    rb"(?:Proc-Type|DEK-Info|Version|Comment|Charset): [^\n\\]{0,80}){0,60}[0-9A-Za-z+/]{40}"
)
_LEEWAY_S: Final = 300


def _crc32_in_base62(found: bytes, _behind: bytes) -> bool:
    """The last six of 36 characters are the CRC-32 of the thirty before (GitHub, npm)."""
    body = found.rpartition(b"_")[2]
    return base62(zlib.crc32(body[:30])) == body[30:].decode("ascii")


def base62(number: int) -> str:
    """Six digits, 0-9A-Za-z, as GitHub writes its checksums."""
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits.rjust(6, "0")


def _has_body(_found: bytes, behind: bytes) -> bool:
    """A key follows the line that announces one; code that only looks for such lines has none."""
    return _KEY_BODY.match(behind) is not None


def _live_jwt(found: bytes, _behind: bytes) -> bool:
    """A token whose header names an algorithm, that has not expired and is not made for publication."""
    header, claims = (_part(part) for part in found.split(b".")[:2])
    if header is None or claims is None or str(header.get("alg", "none")).lower() == "none":
        return False
    if (
        claims.get("role") == "anon" or claims.get("sub") == "1234567890"
    ):  # a public key by design; the usual example
        return False
    expires = claims.get("exp")
    return not isinstance(expires, int | float) or expires > time.time() - _LEEWAY_S


def _part(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


_W: Final = "[0-9A-Za-z_-]"
_A: Final = "[0-9A-Za-z]"
RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "private-key", "private key",
        "-----BEGIN (?:RSA |EC |DSA |OPENSSH |ENCRYPTED |PGP |SSH2 ENCRYPTED )?PRIVATE KEY(?: BLOCK)?-----", 27,
        _has_body,
    ),
    Rule(
        "builderos-token", "BuilderOS token",
        rf"\bbos_(?:rt|ow|ak|sh|pt|sa|at|cs|in|rf|ml|bc|wb|ap|wl)_{_A}{{43}}\b", 7,
    ),
    Rule("github-token", "GitHub token", rf"\bgh[pousr]_{_A}{{36}}\b", 4, _crc32_in_base62),
    Rule("github-fine-grained-token", "GitHub token", rf"\bgithub_pat_{_A}{{22}}_{_A}{{59}}\b", 11),
    Rule("gitlab-token", "GitLab token", r"\bgl(?:pat|ptt|rt|dt|ft|soat|imt|agent|oas|cbt|ffct)-[\w.-]{20,}", 6),
    Rule("aws-access-key", "AWS access key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b", 4),
    Rule("google-api-key", "Google API key", rf"\bAIza{_W}{{35}}"),
    Rule("google-oauth-secret", "Google OAuth secret", rf"\bGOCSPX-{_W}{{28}}", 7),
    Rule("google-access-token", "Google access token", rf"\bya29\.{_W}{{60,}}", 5),
    Rule("azure-storage-key", "Azure storage key", r"\bAccountKey=[0-9A-Za-z+/]{86}==", 11),
    Rule("slack-token", "Slack token", r"\bxox[abeprs](?:\.xox[bp])?-[0-9A-Za-z-]{20,}", 5),
    Rule("slack-app-token", "Slack token", r"\bxapp-[0-9]-[A-Z0-9]{8,15}-[0-9]{8,15}-[0-9a-f]{64}\b", 5),
    Rule(
        "slack-webhook", "Slack webhook",
        rf"\bhooks\.slack\.com/(?:services|workflows)/[A-Z0-9]{{8,12}}/[A-Z0-9]{{8,12}}/{_A}{{20,}}\b", 24,
    ),
    Rule("discord-webhook", "Discord webhook", rf"\bdiscord(?:app)?\.com/api/webhooks/[0-9]{{17,20}}/{_W}{{60,}}", 24),
    Rule("telegram-token", "Telegram token", rf"\b[0-9]{{8,10}}:AA{_W}{{33}}", 0),
    Rule("stripe-key", "Stripe key", rf"\b(?:[rs]k_live_{_A}{{24,}}|whsec_[0-9A-Za-z+/]{{32}})", 8),
    Rule("square-token", "Square token", rf"\b(?:sq0csp-{_W}{{43}}|EAAA[lE]{_W}{{59}})", 7),
    Rule("shopify-token", "Shopify token", r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b", 6),
    Rule("twilio-key", "Twilio key", r"\bSK[0-9a-f]{32}\b", 2),
    Rule("sendgrid-key", "SendGrid key", rf"\bSG\.{_W}{{22}}\.{_W}{{43}}", 3),
    Rule("mailgun-key", "Mailgun key", r"\bkey-[0-9a-f]{32}\b", 4),
    Rule("mailchimp-key", "Mailchimp key", r"\b[0-9a-f]{32}-us[0-9]{1,2}\b", 0),
    Rule("openai-key", "OpenAI key", rf"\bsk-(?:(?:proj|svcacct|admin)-)?{_W}{{20,}}T3BlbkFJ{_W}{{20,}}", 3),
    Rule("anthropic-key", "Anthropic key", rf"\bsk-ant-[a-z]{{3,9}}[0-9]{{2}}-{_W}{{80,}}", 7),
    Rule("huggingface-token", "Hugging Face token", r"\bhf_[A-Za-z]{34}\b", 3),
    Rule("groq-key", "Groq key", rf"\bgsk_{_A}{{52}}\b"),
    Rule("xai-key", "xAI key", rf"\bxai-{_A}{{80}}\b"),
    Rule("replicate-token", "Replicate token", rf"\br8_{_A}{{37}}\b", 3),
    Rule("npm-token", "npm token", rf"\bnpm_{_A}{{36}}\b", 4, _crc32_in_base62),
    Rule("pypi-token", "PyPI token", rf"\bpypi-AgE(?:IcHlwaS5vcmc|NdGVzdC5weXBpLm9yZ){_W}{{50,}}", 5),
    Rule("rubygems-key", "RubyGems key", r"\brubygems_[0-9a-f]{48}\b", 9),
    Rule("cargo-token", "Cargo token", rf"\bcio{_A}{{32}}\b", 3),
    Rule("docker-token", "Docker token", rf"\bdckr_(?:pat|oat)_{_W}{{27,}}", 9),
    Rule("terraform-token", "Terraform token", rf"\b{_A}{{14}}\.atlasv1\.{_W}{{60,}}", 0),
    Rule("vault-token", "Vault token", rf"\bhv[sb]\.{_W}{{90,}}"),
    Rule("databricks-token", "Databricks token", r"\bdapi[0-9a-f]{32}(?:-[0-9])?\b"),
    Rule("digitalocean-token", "DigitalOcean token", r"\bdo[opr]_v1_[0-9a-f]{64}\b", 7),
    Rule("doppler-token", "Doppler token", rf"\bdp\.(?:pt|st|ct|sa|scim|audit)\.{_A}{{40,}}\b", 6),
    Rule("linear-key", "Linear key", rf"\blin_(?:api|oauth)_{_A}{{40,}}\b", 8),
    Rule("notion-token", "Notion token", rf"\bntn_{_A}{{43,}}\b"),
    Rule("figma-token", "Figma token", rf"\bfig[douh]_{_W}{{40,}}", 5),
    Rule("postman-key", "Postman key", r"\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}\b", 5),
    Rule("planetscale-token", "PlanetScale token", r"\bpscale_(?:tkn|pw|oauth)_[0-9A-Za-z_.=-]{32,}", 7),
    Rule("supabase-key", "Supabase key", rf"\b(?:sbp_[0-9a-f]{{40}}|sb_secret_{_W}{{31,}})", 4),
    Rule("grafana-token", "Grafana token", rf"\bgls?(?:a|c)_{_A}{{32}}_[0-9A-Fa-f]{{8}}\b", 5),
    Rule("new-relic-key", "New Relic key", r"\bNRAK-[0-9A-Z]{27}\b", 5),
    Rule("sentry-token", "Sentry token", rf"\bsntry(?:u_[0-9a-f]{{64}}|s_eyJ{_W}{{20,}})", 7),
    Rule("atlassian-token", "Atlassian token", r"\bATATT3[0-9A-Za-z_=-]{180,}", 6),
    Rule("age-key", "age secret key", r"\bAGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}\b", 16),
    Rule("jwt", "JSON Web Token", rf"\beyJ{_W}{{10,}}\.eyJ{_W}{{10,}}\.{_W}{{20,}}", 3, _live_jwt),
)  # fmt: skip
BY_ID: Final = {rule.id: rule for rule in RULES}
