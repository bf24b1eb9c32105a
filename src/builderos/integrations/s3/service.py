"""Batches as objects of a bucket. The extra `s3` brings the signer; the connection is ours (`core.dialing`)."""

import json
import re
from typing import Any, Final

from builderos.core.dialing import Unreachable, ask, networks_of, target_of
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.trust.audit.ports import Batch, NotTaken

TIMEOUT_S: Final = 60
_CODE: Final = re.compile(rb"<Code>(\w{1,60})</Code>")


class S3Carrier:
    """`<prefix><organisation>/<stream>/<sink>/<first>-<last>.jsonl`: the rows, and a last one with the signature.

    botocore signs (AWS Signature Version 4); the request goes to exactly the address that was checked, so that an
    endpoint cannot lead into the server's own network.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def fit(self, config: dict[str, Any], /) -> dict[str, str]:
        """Check the endpoint; take the key out."""
        _ensure_signer()
        target_of(_url(config, ""), networks_of(self._settings.webhook_networks))
        return {"secret_access_key": config.pop("secret_access_key")}

    def carry(self, config: dict[str, Any], secrets: dict[str, str], batch: Batch, /) -> None:
        """Return when the service has answered that the object is there."""
        name = f"{batch.first:012}-{batch.last:012}.jsonl"
        key = f"{config['prefix']}{batch.org_id}/{batch.stream}/{batch.sink_id}/{name}"
        body = batch.data + json.dumps({"batch": batch.envelope}).encode() + b"\n"
        url = _url(config, key)
        headers = _signed("PUT", url, body, config, secrets["secret_access_key"])
        networks = networks_of(self._settings.webhook_networks)
        try:
            answer = ask("PUT", url, body, headers, networks=networks, timeout_s=TIMEOUT_S)
        except Unreachable as why:
            raise NotTaken(str(why)) from why
        if answer.status != 200:
            code = _CODE.search(answer.body)
            raise NotTaken(f"it answered {answer.status}" + (f" {code[1].decode()}" if code else ""))


def _url(config: dict[str, Any], key: str) -> str:
    """By path: names of buckets with dots have no certificate of their own."""
    endpoint = (config.get("endpoint") or f"https://s3.{config['region']}.amazonaws.com").rstrip("/")
    return f"{endpoint}/{config['bucket']}/{key}"


def _signed(method: str, url: str, body: bytes, config: dict[str, Any], secret: str) -> dict[str, str]:
    from botocore.auth import S3SigV4Auth  # pyright: ignore[reportMissingTypeStubs]
    from botocore.awsrequest import AWSRequest  # pyright: ignore[reportMissingTypeStubs]
    from botocore.credentials import Credentials  # pyright: ignore[reportMissingTypeStubs]

    headers = {"Content-Type": "application/jsonl", "Content-Length": str(len(body))}
    request: Any = AWSRequest(method=method, url=url, data=body, headers=headers)
    signer: Any = S3SigV4Auth(Credentials(config["access_key_id"], secret), "s3", config["region"])
    signer.add_auth(request)
    return {str(name): str(value) for name, value in request.headers.items()} | {"Connection": "close"}


def _ensure_signer() -> None:
    try:
        import botocore  # noqa: F401  # pyright: ignore[reportMissingTypeStubs, reportUnusedImport]
    except ImportError:
        raise Problem(
            "unavailable", "this server cannot sign requests to S3",
            hint="Its owner installs builderos[s3].",
        ) from None  # fmt: skip
