"""Forms and queries as the protocol of OAuth sends them: every parameter once (RFC 6749 §3.1, §3.2)."""

import base64
import binascii
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import Request

MAX_BYTES: Final = 32_000
MAX_FIELDS: Final = 60
Values = dict[str, str]


class Refusal(Exception):
    """What a program is told (RFC 6749 §5.2): `error` is a code of the protocol."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status


def read(text: str, *, repeated: str = "") -> tuple[Values, list[str]]:
    """The parameters of a form or query, and the values of the one that may be `repeated`.

    Raises `Refusal("invalid_request")` for one that is sent twice: two readers could take different ones.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise Refusal("invalid_request", "the parameters cannot be read") from None
    values, many = Values(), list[str]()
    for name, value in pairs:
        if "\x00" in name or "\x00" in value:
            raise Refusal("invalid_request", "a parameter holds a NUL character")
        if name == repeated:
            many.append(value)
        elif name in values:
            raise Refusal("invalid_request", f"the parameter {name[:40]} is sent twice")
        elif value:  # an empty one counts as left out (RFC 6749 §3.1)
            values[name] = value
    return values, many


async def body_of(request: Request) -> str:
    """The text of a form. Raises `Refusal("invalid_request")`."""
    raw = await request.body()
    if len(raw) > MAX_BYTES:
        raise Refusal("invalid_request", "the form is too large")
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise Refusal("invalid_request", "the form is not encoded") from None


def client_secret(request: Request, values: Values) -> tuple[str, str | None]:
    """Id and secret of the program, from the header or the form, never from both (RFC 6749 §2.3)."""
    header = request.headers.get("authorization", "")
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "basic":
        return values.get("client_id", ""), values.get("client_secret")
    try:
        pair = base64.b64decode(rest.strip(), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise Refusal("invalid_client", "the header Authorization cannot be read", 401) from None
    id_, _, secret = pair.partition(":")
    id_, secret = unquote_plus(id_), unquote_plus(secret)
    if "client_secret" in values or values.get("client_id", id_) != id_:
        raise Refusal("invalid_request", "the program proves itself in one way, not in two")
    return id_, secret
