"""Batches as objects of a bucket, over the connection that leads nowhere else (`core.dialing`)."""

import json
import re
from typing import Any, Final

from builderos.core.clock import utcnow
from builderos.core.dialing import Unreachable, ask, networks_of, target_of
from builderos.core.settings import Settings
from builderos.trust.audit.ports import Batch, NotTaken

from .signing import signed_headers

TIMEOUT_S: Final = 60
_CODE: Final = re.compile(rb"<Code>(\w{1,60})</Code>")


class S3Carrier:
    """`<prefix><organisation>/<stream>/<sink>/<first>-<last>.jsonl`: the rows, and a last one with the signature.

    The request goes to exactly the address that was checked, so that an endpoint cannot lead into the server's own
    network.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def fit(self, config: dict[str, Any], /) -> dict[str, str]:
        """Check the endpoint; take the key out."""
        target_of(_url(config, ""), networks_of(self._settings.webhook_networks))
        return {"secret_access_key": config.pop("secret_access_key")}

    def carry(self, config: dict[str, Any], secrets: dict[str, str], batch: Batch, /) -> None:
        """Return when the service has answered that the object is there."""
        name = f"{batch.first:012}-{batch.last:012}.jsonl"
        key = f"{config['prefix']}{batch.org_id}/{batch.stream}/{batch.sink_id}/{name}"
        body = batch.data + json.dumps({"batch": batch.envelope}).encode() + b"\n"
        url = _url(config, key)
        headers = signed_headers(
            "PUT", url, body, {"content-type": "application/jsonl"}, key_id=config["access_key_id"],
            secret=secrets["secret_access_key"], region=config["region"], at=utcnow(),
        )  # fmt: skip
        networks = networks_of(self._settings.webhook_networks)
        try:
            answer = ask(
                "PUT", url, body, headers | {"connection": "close"}, networks=networks, timeout_s=TIMEOUT_S
            )
        except Unreachable as why:
            raise NotTaken(str(why)) from why
        if answer.status != 200:
            code = _CODE.search(answer.body)
            raise NotTaken(f"it answered {answer.status}" + (f" {code[1].decode()}" if code else ""))


def _url(config: dict[str, Any], key: str) -> str:
    """By path: names of buckets with dots have no certificate of their own."""
    endpoint = (config.get("endpoint") or f"https://s3.{config['region']}.amazonaws.com").rstrip("/")
    return f"{endpoint}/{config['bucket']}/{key}"
