"""How a program signs a person in at a server: through a browser of this machine, or with a code typed elsewhere.

OAuth 2.1 for native programs: authorization code with PKCE (RFC 7636) and an answer on this machine (RFC 8252), the
issuer of the answer checked (RFC 9207); without a browser the device grant (RFC 8628). Standard library only.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from .errors import ClientError
from .http import Client
from .kept import Kept

Json = dict[str, Any]
CLIENT: Final = "builderos-cli"
WAIT_S: Final = 300.0
LEFT_S: Final = 30.0  # a token that ends sooner is exchanged before it is used
_DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def with_browser(
    client: Client, scopes: Sequence[str], show: Callable[[str], None], *, wait_s: float = WAIT_S
) -> Json:
    """Sign somebody in whose browser `show(address)` opens; returns what is to be kept. Raises `ClientError`."""
    from .receiver import Receiver, challenge_of, random_word  # slow to load, and seldom needed

    server, verifier, state = _server(client), random_word(), random_word()
    with Receiver(state) as receiver:
        query = {
            "response_type": "code", "client_id": CLIENT, "redirect_uri": receiver.uri, "scope": " ".join(scopes),
            "state": state, "code_challenge": challenge_of(verifier), "code_challenge_method": "S256",
        }  # fmt: skip
        show(f"{server['authorization_endpoint']}?{urlencode(query)}")
        answer = receiver.wait(wait_s)
        if answer is None:
            raise _failed(
                "nobody decided in time", "Sign in again; without a browser: builderos login --device"
            )
        if answer.get("iss") != server["issuer"]:
            raise _failed("another server has answered", "Sign in again, and tell whoever runs the server")
        if "code" not in answer:
            raise _failed(answer.get("error_description", "you were not let in"), "Sign in again")
        form = {
            "grant_type": "authorization_code", "client_id": CLIENT, "code": answer["code"],
            "redirect_uri": receiver.uri, "code_verifier": verifier,
        }  # fmt: skip
        return kept_of(client.form("/oauth/token", form))


def with_code(
    client: Client, scopes: Sequence[str], show: Callable[[str, str], None], *,
    sleep: Callable[[float], None] = time.sleep,
) -> Json:  # fmt: skip
    """Sign somebody in who types a code elsewhere: `show(address, code)`. Returns what is to be kept.

    Raises `ClientError`.
    """
    _server(client)
    begun = client.form("/oauth/device_authorization", {"client_id": CLIENT, "scope": " ".join(scopes)})
    show(str(begun["verification_uri"]), str(begun["user_code"]))
    pause, left = float(begun.get("interval", 5)), float(begun["expires_in"])
    form = {"grant_type": _DEVICE, "client_id": CLIENT, "device_code": str(begun["device_code"])}
    while left > 0:
        sleep(pause)
        left -= pause
        try:
            return kept_of(client.form("/oauth/token", form))
        except ClientError as error:
            said = error.problem.get("oauth_error")
            if said == "slow_down":
                pause += 5
            elif said != "authorization_pending":
                raise
    raise _failed("nobody decided in time", "Sign in again")


def renewed(client: Client, login: Mapping[str, Any]) -> Json:
    """The next pair of what was kept. Raises `ClientError`."""
    form = {"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": str(login["refresh_token"])}
    return kept_of(client.form("/oauth/token", form))


def access_token(kept: Kept, client: Callable[[], Client]) -> str | None:
    """The access token of whoever signed in, a fresh one where it is about to end; None where nobody did.

    Of many who find it old one exchanges it, the others wait: a refresh token that is used twice ends the sign-in.
    Raises `ClientError` when the sign-in is over, which is forgotten then.
    """
    login: Json | None = kept.read().get("login")
    if login is None or is_fresh(login):
        return str(login["access_token"]) if login is not None else None

    def renew(now: Json) -> None:
        found: Json | None = now.get("login")
        if found is not None and not is_fresh(found):
            now["login"] = _renewed(client(), found)

    kept.change(renew)
    login = kept.read().get("login")
    if login is None:
        raise over()
    return str(login["access_token"])


def _renewed(client: Client, login: Json) -> Json | None:
    """The next pair; None where the server says that the sign-in is over."""
    try:
        return renewed(client, login)
    except ClientError as error:
        if "oauth_error" in error.problem:
            return None
        raise


def end(client: Client, login: Mapping[str, Any]) -> None:
    """End what was kept, at the server. Raises `ClientError`."""
    client.form("/oauth/revoke", {"client_id": CLIENT, "token": str(login["refresh_token"])})


def kept_of(reply: Mapping[str, Any]) -> Json:
    """What is kept of a reply of the token endpoint."""
    return {
        "access_token": str(reply["access_token"]), "refresh_token": str(reply["refresh_token"]),
        "expires_at": time.time() + float(reply["expires_in"]), "scope": str(reply.get("scope", "")),
        "org_slug": str(reply.get("org_slug", "")),
    }  # fmt: skip


def is_fresh(login: Mapping[str, Any]) -> bool:
    """Whether the access token can still be used."""
    return float(login.get("expires_at", 0)) > time.time() + LEFT_S


def _server(client: Client) -> Json:
    """What the server says of its endpoints. Tokens travel only where nobody else can read them."""
    at = urlsplit(client.url)
    if at.scheme != "https" and at.hostname not in _LOCAL:
        raise _failed("a server elsewhere is signed in to over https alone", "Use its https address")
    found = client.call("GET", "/.well-known/oauth-authorization-server")
    if not str(found.get("authorization_endpoint", "")).startswith(f"{found.get('issuer', '-')}/"):
        raise _failed("the server does not say where to sign in", "Check its address")
    return found


def over() -> ClientError:
    """What was kept is good for nothing any more."""
    return _failed("your sign-in at this server is over", "Sign in again: builderos login")


def _failed(detail: str, hint: str) -> ClientError:
    return ClientError(
        {"type": "urn:builderos:problem:unauthenticated", "title": "Unauthenticated", "status": 401,
         "code": "unauthenticated", "detail": detail, "hint": hint, "request_id": None, "retryable": False}
    )  # fmt: skip
