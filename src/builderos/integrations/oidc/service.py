"""An OpenID Connect provider: authorization code with PKCE, an ID token that is verified and thrown away at once.

OpenID Connect Core 1.0 §3.1, Discovery 1.0, RFC 7636 (PKCE, S256), RFC 9207 (issuer in the answer).
"""

import base64
import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from builderos.core import dialing
from builderos.core.dialing import IpNetwork
from builderos.core.problems import Problem
from builderos.core.settings import Settings
from builderos.trust.orgs.ports import Connection, Errand, Person
from builderos.trust.orgs.schema import is_address

TIMEOUT_S: Final = 10
MAX_BYTES: Final = 1_000_000
ALGORITHMS: Final = ["RS256", "PS256", "ES256", "EdDSA"]  # never `none`, never a shared secret
LEEWAY_S: Final = 60
LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})
Json = dict[str, Any]
Fetch: TypeAlias = Callable[[str, bytes | None, dict[str, str]], tuple[int, bytes]]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An endpoint that redirects could send our secrets elsewhere."""

    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        return None


class OidcProvider:
    """One configured provider. Its metadata is read when first needed and kept."""

    def __init__(
        self, issuer: str, client_id: str, client_secret: str | None, fetch: "Fetch | None" = None
    ) -> None:
        self._issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._fetch = fetch or _trusted
        self._metadata: Json | None = None

    @classmethod
    def configured(cls, settings: Settings) -> "OidcProvider | None":
        """The provider of the settings, None where there is none."""
        if settings.oidc_issuer is None or settings.oidc_client_id is None:
            return None
        secret = settings.oidc_client_secret
        return cls(
            settings.oidc_issuer, settings.oidc_client_id, secret.get_secret_value() if secret else None
        )

    @classmethod
    def of_organisation(cls, at: Connection, networks: Sequence[IpNetwork]) -> "OidcProvider":
        """One that an organisation chose: what it names is dialled only where it is public, or within `networks`."""

        def fetch(url: str, form: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
            try:
                method = "GET" if form is None else "POST"
                found = dialing.ask(method, url, form, headers, networks=networks, limit=MAX_BYTES)
            except dialing.Unreachable as error:
                raise OSError(str(error)) from error
            return found.status, found.body

        return cls(at.issuer, at.client_id, at.client_secret, fetch)

    def address(self, errand: Errand, redirect_uri: str) -> str:
        """Where the browser goes. Raises `upstream_failed`."""
        challenge = hashlib.sha256(errand.verifier.encode()).digest()
        query = {
            "response_type": "code", "client_id": self._client_id, "redirect_uri": redirect_uri,
            "scope": "openid email profile", "state": errand.state, "nonce": errand.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }  # fmt: skip
        endpoint = self._endpoint("authorization_endpoint")
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def exchange(self, errand: Errand, redirect_uri: str, code: str, issuer: str | None) -> Person:
        """The person behind a code. Raises `token_invalid` for a wrong one, `upstream_failed`."""
        announced = self._about().get("authorization_response_iss_parameter_supported", False)
        if issuer != self._issuer and (issuer is not None or announced):
            raise _untrue("the answer is another provider's")
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri,
            "code_verifier": errand.verifier, "client_id": self._client_id,
        }  # fmt: skip
        headers: dict[str, str] = {}
        if self._client_secret is not None:
            pair = f"{quote(self._client_id, safe='')}:{quote(self._client_secret, safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        answer = self._ask(self._endpoint("token_endpoint"), urlencode(form).encode(), headers)
        claims = self._verified(str(answer.get("id_token", "")), errand.nonce)
        address = str(claims.get("email", "")).lower()
        verified = claims.get("email_verified") is True and len(address) <= 254 and is_address(address)
        return Person(
            issuer=self._issuer, subject=str(claims["sub"])[:500],
            email=address if verified else None,
            name=" ".join(str(claims.get("name", "")).split())[:200],
        )  # fmt: skip

    def _verified(self, token: str, nonce: str) -> Json:
        """The claims of an ID token that is for us, now, and for this errand (Core §3.1.3.7)."""
        keys = KeySet.import_key_set(self._ask(self._endpoint("jwks_uri")))  # pyright: ignore[reportArgumentType]
        try:
            claims: Json = dict(jwt.decode(token, keys, algorithms=ALGORITHMS).claims)
            jwt.JWTClaimsRegistry(
                leeway=LEEWAY_S, iss={"essential": True, "value": self._issuer},
                aud={"essential": True, "value": self._client_id}, exp={"essential": True},
                iat={"essential": True}, sub={"essential": True}, nonce={"essential": True, "value": nonce},
            ).validate(claims)  # fmt: skip
        except (JoseError, ValueError) as error:
            raise _untrue("the provider's token is not valid for this sign-in") from error
        if claims.get("azp", self._client_id) != self._client_id:
            raise _untrue("the provider's token is for another program")
        return claims

    def _about(self) -> Json:
        if self._metadata is None:
            found = self._ask(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self._issuer:
                raise _failed("the provider calls itself otherwise than it is configured")
            self._metadata = found
        return self._metadata

    def _endpoint(self, name: str) -> str:
        url = str(self._about().get(name, ""))
        if self._fetch is _trusted:
            _check_scheme(url)
        return url

    def _ask(self, url: str, form: bytes | None = None, headers: dict[str, str] | None = None) -> Json:
        sent = {"accept": "application/json", **(headers or {})}
        if form is not None:
            sent["content-type"] = "application/x-www-form-urlencoded"
        try:
            status, body = self._fetch(url, form, sent)
            if form is not None and status in (400, 401):
                raise _untrue("the provider does not accept this code")
            if status != 200:
                raise _failed(f"the provider answered {status}")
            answer = json.loads(body)
        except (OSError, ValueError) as error:
            raise _failed("the provider did not answer as it should") from error
        if not isinstance(answer, dict):
            raise _failed("the provider did not answer as it should")
        return answer  # pyright: ignore[reportUnknownVariableType]


def _trusted(url: str, form: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
    """Ask the provider that whoever runs this server has chosen; it may stand in the server's own network."""
    _check_scheme(url)
    request = urllib.request.Request(url, form, headers)  # noqa: S310 - the scheme is checked
    try:
        with urllib.request.build_opener(_NoRedirect()).open(request, timeout=TIMEOUT_S) as reply:
            return reply.status, reply.read(MAX_BYTES)
    except urllib.error.HTTPError as error:
        return error.code, b""


def _check_scheme(url: str) -> None:
    at = urlsplit(url)
    if at.scheme != "https" and not (at.scheme == "http" and at.hostname in LOCAL):
        raise _failed("the provider has to be reached over https")


def _untrue(detail: str) -> Problem:
    return Problem("token_invalid", detail, hint="Begin the sign-in again.")


def _failed(detail: str) -> Problem:
    return Problem("upstream_failed", detail, hint="Try again shortly, or sign in by mail.", retry_after_s=5)
