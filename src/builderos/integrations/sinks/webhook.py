"""Batches as POSTs of JSON, signed as the Standard Webhooks specification has it."""

import base64
import binascii
import hmac
import json
import secrets as random
import time
from typing import Any, Final

from builderos import VERSION
from builderos.core.dialing import Unreachable, networks_of, post, target_of
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.trust.audit.ports import Batch, NotTaken

PREFIX: Final = "whsec_"
TIMEOUT_S: Final = 30


class WebhookCarrier:
    """`{envelope…, "rows": […]}`. Who answers 2xx has taken the batch; `webhook-id` is the same for every try."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def fit(self, config: dict[str, Any], /) -> dict[str, str]:
        """Check the address; make a secret where none was given."""
        target_of(config["url"], networks_of(self._settings.webhook_networks))
        secret = config.pop("secret", None) or PREFIX + base64.b64encode(random.token_bytes(32)).decode()
        _key_of(secret)
        return {"secret": secret}

    def carry(self, config: dict[str, Any], secrets: dict[str, str], batch: Batch, /) -> None:
        """Send; redirects are not followed."""
        rows = ",".join(batch.rows)
        body = f'{json.dumps(batch.envelope, ensure_ascii=False)[:-1]}, "rows": [{rows}]}}'.encode()
        id_, stamp = f"{batch.sink_id}-{batch.first}-{batch.last}-{batch.sha256[:12]}", str(int(time.time()))
        said = hmac.digest(_key_of(secrets["secret"]), f"{id_}.{stamp}.".encode() + body, "sha256")
        headers = {
            "content-type": "application/json", "user-agent": f"BuilderOS/{VERSION}", "connection": "close",
            "webhook-id": id_, "webhook-timestamp": stamp,
            "webhook-signature": "v1," + base64.b64encode(said).decode(),
        }  # fmt: skip
        networks = networks_of(self._settings.webhook_networks)
        try:
            answer = post(config["url"], body, headers, networks=networks, timeout_s=TIMEOUT_S)
        except Unreachable as why:
            raise NotTaken(str(why)) from why
        if not 200 <= answer.status < 300:
            raise NotTaken(f"it answered {answer.status}")


def _key_of(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise Problem(
            "validation_failed", "the secret must be whsec_ and 24 to 64 bytes in base64",
            hint="Leave it out: one is made.",
        )  # fmt: skip
    return key
