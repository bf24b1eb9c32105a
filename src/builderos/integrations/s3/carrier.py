"""Batches of the record as objects of a bucket, over the connection that leads nowhere else (`core.dialing`)."""

import base64
import hashlib
import json
import re
from datetime import timedelta
from typing import Any, Final

import obstore
from obstore.store import S3Store

from builderos.core.dialing import Unreachable, ask, networks_of, target_of
from builderos.core.settings import Settings
from builderos.trust.audit.ports import Batch, NotTaken

TIMEOUT_S: Final = 60
VALID: Final = timedelta(minutes=5)
_CODE: Final = re.compile(rb"<Code>(\w{1,60})</Code>")


class S3Carrier:
    """`<prefix><organisation>/<stream>/<sink>/<first>-<last>.jsonl`: the rows, and a last one with the signature.

    The client signs an address for one object; we ourselves go to exactly the machine that was checked, so that an
    endpoint cannot lead into the server's own network.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def fit(self, config: dict[str, Any], /) -> dict[str, str]:
        """Check the endpoint; take the key out."""
        target_of(f"{_endpoint(config)}/{config['bucket']}/", networks_of(self._settings.webhook_networks))
        return {"secret_access_key": config.pop("secret_access_key")}

    def carry(self, config: dict[str, Any], secrets: dict[str, str], batch: Batch, /) -> None:
        """Return when the service has answered that the object is there."""
        name = f"{batch.first:012}-{batch.last:012}.jsonl"
        key = f"{config['prefix']}{batch.org_id}/{batch.stream}/{batch.sink_id}/{name}"
        body = batch.data + json.dumps({"batch": batch.envelope}).encode() + b"\n"
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        headers = {
            "content-type": "application/jsonl", "connection": "close", "x-amz-checksum-sha256": checksum,
        }  # fmt: skip
        networks = networks_of(self._settings.webhook_networks)
        try:
            url = _signed(config, secrets["secret_access_key"], key)
            answer = ask("PUT", url, body, headers, networks=networks, timeout_s=TIMEOUT_S)
        except Unreachable as why:
            raise NotTaken(str(why)) from why
        if answer.status != 200:
            code = _CODE.search(answer.body)
            raise NotTaken(f"it answered {answer.status}" + (f" {code[1].decode()}" if code else ""))


def _endpoint(config: dict[str, Any]) -> str:
    """By path: names of buckets with dots have no certificate of their own."""
    return (config.get("endpoint") or f"https://s3.{config['region']}.amazonaws.com").rstrip("/")


def _signed(config: dict[str, Any], secret: str, key: str) -> str:
    """An address that takes one object for some minutes."""
    endpoint = _endpoint(config)
    store = S3Store(
        config["bucket"], endpoint=endpoint, region=config["region"], access_key_id=config["access_key_id"],
        secret_access_key=secret, virtual_hosted_style_request=False,
        client_options={"allow_http": endpoint.startswith("http://")},
    )  # fmt: skip
    return obstore.sign(store, "PUT", key, VALID)
