"""Tokens of an OpenID Connect issuer: `auth-provider: {name: oidc}` of a kubeconfig, as client-go has it.

Tokens that the issuer sends are kept in memory: the kubeconfig is never written. The way to the issuer is that of the
environment: the kubeconfig's ``proxy-url`` is for the API server only.
"""

from __future__ import annotations

import asyncio
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from kubecdc.cluster.connector import Connector
from kubecdc.cluster.credentials import Credential, basic, bearer
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.kubeconfig import pem
from kubecdc.cluster.objects import UNREADABLE
from kubecdc.cluster.proxy import choose, masked
from kubecdc.cluster.server import Server
from kubecdc.cluster.tls import Trust, tls_context
from kubecdc.errors import UsageError

SKEW_SECONDS = 10.0  # before its end, a token counts as expired
SECONDS = 30.0  # that the issuer may take


class _Claims(msgspec.Struct):
    exp: float = 0.0


class OidcTokens:
    """The id token of the ``config``, renewed with its refresh token. Raises UsageError."""

    def __init__(self, config: Mapping[str, str], *, now: Callable[[], float] = time.time) -> None:
        for field in ("idp-issuer-url", "client-id"):
            if not config.get(field):
                raise UsageError(f"auth-provider oidc: {field} is missing", hint="kubectl needs it too")
        self._config = config
        self._now = now
        self._token = config.get("id-token", "")
        self._refresh = config.get("refresh-token", "")
        self._renewing = asyncio.Lock()
        authority = "idp-certificate-authority"
        self._tls = tls_context(Trust(pem(config.get(f"{authority}-data", ""), config.get(authority, ""), authority)))

    @property
    def waiting_for(self) -> str:
        return f"the issuer {self._config['idp-issuer-url']}" if self._renewing.locked() else ""

    async def get(self) -> Credential:
        async with self._renewing:
            if not self._token or self._now() + SKEW_SECONDS >= _expiry(self._token):
                await self._renew()
            return bearer(self._token, "the id-token")

    def reject(self, credential: Credential) -> None:
        if self._refresh and credential.authorization == f"Bearer {self._token}":
            self._token = ""

    async def close(self) -> None:
        pass

    async def _renew(self) -> None:
        if not self._refresh:
            raise _failed("the id-token has expired, and there is no refresh-token")
        client, secret = self._config["client-id"], self._config.get("client-secret", "")
        form = {"grant_type": "refresh_token", "refresh_token": self._refresh}
        try:
            async with asyncio.timeout(SECONDS), aiohttp.ClientSession(connector=(way := Connector())) as session:
                ask = partial(self._ask, session, way)
                issuer = self._config["idp-issuer-url"].rstrip("/")
                found = await ask("GET", f"{issuer}/.well-known/openid-configuration")
                if not found.get("token_endpoint"):
                    raise _failed(f"the issuer {issuer} names no token_endpoint")
                # An issuer takes the client's secret in a header or in the form: not every one takes both.
                headers = {"Authorization": basic(client, secret).authorization}
                try:
                    answer = await ask("POST", str(found["token_endpoint"]), form, headers)
                except ApiError as e:
                    if "invalid_client" not in str(e):
                        raise
                    form |= {"client_id": client, **({"client_secret": secret} if secret else {})}
                    answer = await ask("POST", str(found["token_endpoint"]), form)
        except TimeoutError as e:
            raise _failed("the issuer cannot be reached: no answer in time") from e
        if not answer.get("id_token"):
            raise _failed("the issuer sent no id_token: the scope openid is missing, or it renews none")
        self._token = str(answer["id_token"])
        self._refresh = str(answer.get("refresh_token") or self._refresh)

    async def _ask(
        self, session: aiohttp.ClientSession, way: Connector, method: str, url: str, *form: Any
    ) -> dict[str, Any]:
        server = _server(url)
        way.socks = server.socks
        through = f" through the proxy {server.proxy}" if server.proxy else ""
        data, headers = (*form, None, None)[:2]
        try:
            async with session.request(
                method, server.url, data=data, headers=headers, ssl=self._tls, proxy=server.http_proxy
            ) as response:
                text = await response.read()
        except (aiohttp.ClientError, OSError, ValueError) as e:
            raise _failed(f"the issuer cannot be reached{through}: {masked(str(e)) or type(e).__name__}") from e
        if response.status != 200:
            raise _failed(f"{url} answered {response.status}{through}: {text[:200].decode('utf-8', 'replace')}")
        try:
            return msgspec.json.decode(text, type=dict[str, Any])
        except UNREADABLE as e:
            raise _failed(f"{url} did not answer with a JSON object: {e}") from e


def _server(address: str) -> Server:
    """The server of an address, and the way there. Raises ApiError."""
    try:
        url = URL(address)
        if url.scheme in {"http", "https"} and url.host:
            return Server(url, choose(url, ""))
    except UsageError as e:
        raise _failed(str(e), hint=e.hint) from e
    except ValueError:  # its text may contain a password
        pass
    raise _failed(f"{masked(address)!r} is no HTTP address of an issuer")


def _expiry(token: str) -> float:
    """When a JSON Web Token expires. Raises ApiError."""
    try:
        _, payload, _ = token.split(".")
        return msgspec.json.decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Claims).exp
    except (ValueError, *UNREADABLE) as e:
        raise _failed("the id-token is not a JSON Web Token") from e


def _failed(text: str, hint: str = "log in again to get new tokens") -> ApiError:
    return ApiError(f"auth-provider oidc: {text}", status=401, hint=hint)
