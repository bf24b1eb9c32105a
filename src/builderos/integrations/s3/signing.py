"""AWS Signature Version 4 for one request with its whole body.

The rules: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. The makers' own library does
not go together with the engine's; a test compares the result with somebody else's.
"""

import hashlib
import hmac
from datetime import datetime
from urllib.parse import quote, unquote, urlsplit


def signed_headers(
    method: str,
    url: str,
    body: bytes,
    headers: dict[str, str],
    *,
    key_id: str,
    secret: str,
    region: str,
    at: datetime,
) -> dict[str, str]:
    """The headers with which a request is sent to S3. `url` has no query; `at` is UTC."""
    parts = urlsplit(url)
    stamp, day = at.strftime("%Y%m%dT%H%M%SZ"), at.strftime("%Y%m%d")
    digest = hashlib.sha256(body).hexdigest()
    told = headers | {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = sorted(told, key=str.lower)
    listed = ";".join(name.lower() for name in names)
    lines = "".join(f"{name.lower()}:{' '.join(told[name].split())}\n" for name in names)
    path = quote(unquote(parts.path or "/"), safe="/-_.~")
    request = f"{method}\n{path}\n\n{lines}\n{listed}\n{digest}"
    scope = f"{day}/{region}/s3/aws4_request"
    said = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, said.encode(), "sha256").hex()
    credential = (
        f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={listed}, Signature={signature}"
    )
    return told | {"authorization": credential}
