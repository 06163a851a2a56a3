"""The connection to a Kubernetes API server.

The bytes travel over aiohttp, because the official client decodes every object twice.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from kubecdc.cluster.credentials import load_configuration, tls_context
from kubecdc.cluster.errors import ApiError, refusal
from kubecdc.cluster.objects import Status, decode_status
from kubecdc.errors import UsageError

CONNECT_SECONDS = 10.0


REQUEST_SECONDS = 60.0


READ_BUFFER_BYTES = 128 << 10  # what is there is decoded in one go, and no commit can be made meanwhile


class Cluster:
    """One API server and our credentials there. Use as an async context manager."""

    def __init__(self, kubeconfig: str | None = None, context: str | None = None) -> None:
        self._source = (kubeconfig, context)
        self._configuration = load_configuration(kubeconfig, context)
        self._tls = tls_context(self._configuration)
        self._session: aiohttp.ClientSession | None = None

    @property
    def host(self) -> str:
        """The server's URL."""
        return str(self._configuration.host)

    async def __aenter__(self) -> Cluster:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "kubecdc"},
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=READ_BUFFER_BYTES,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def refresh(self, *, seconds: float = REQUEST_SECONDS) -> None:
        """Read the credentials again, whatever kind they are: token files, exec plugins, rotated certificates.

        Raises ApiError.
        """
        try:
            async with asyncio.timeout(seconds):
                self._configuration = await asyncio.to_thread(load_configuration, *self._source)
            self._tls = tls_context(self._configuration)
        except TimeoutError as e:
            raise ApiError(f"the credentials were not to be had in {seconds:g} s", status=401) from e
        except UsageError as e:
            raise ApiError(str(e), status=401, hint=e.hint) from e

    async def get(
        self, path: str, query: Mapping[str, str] | None = None, *, seconds: float = REQUEST_SECONDS
    ) -> bytes:
        """The body of a GET, which may take so many seconds. Raises ApiError."""
        return await self._call("GET", path, query, None, seconds)

    async def post(self, path: str, document: object, *, seconds: float = REQUEST_SECONDS) -> bytes:
        """Create an object. Raises ApiError."""
        return await self._call("POST", path, None, msgspec.json.encode(document), seconds)

    async def put(self, path: str, document: object, *, seconds: float = REQUEST_SECONDS) -> bytes:
        """Replace an object. Raises ApiError."""
        return await self._call("PUT", path, None, msgspec.json.encode(document), seconds)

    async def _call(
        self, method: str, path: str, query: Mapping[str, str] | None, body: bytes | None, seconds: float
    ) -> bytes:
        try:
            async with asyncio.timeout(seconds), self._request(method, path, query, body) as response:
                return await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as e:
            raise self._unreachable(e) from e

    @asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str]) -> AsyncIterator[aiohttp.StreamReader]:
        """The body of a GET as it comes. Raises ApiError until it is open; reading may raise what aiohttp raises."""
        try:
            # Headers come at once, even when there is nothing to tell.
            async with asyncio.timeout(REQUEST_SECONDS) as deadline:
                async with self._request("GET", path, query) as response:
                    deadline.reschedule(None)
                    yield response.content
        except (aiohttp.ClientError, OSError, TimeoutError) as e:
            raise self._unreachable(e) from e

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, query: Mapping[str, str] | None, body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None, "use `async with`"
        headers = await asyncio.to_thread(self._authorization)
        if body is not None:
            headers["Content-Type"] = "application/json"
        async with self._session.request(
            method,
            self.host.rstrip("/") + path,
            params=query,
            data=None if body is None else io.BytesIO(body),  # sent piece by piece
            headers=headers,
            ssl=self._tls,
            proxy=self._configuration.proxy,
            server_hostname=self._configuration.tls_server_name or None,
            allow_redirects=False,
        ) as response:
            if response.status >= 300:
                raise _refusal(response, path, decode_status(await response.read()))
            yield response

    def _authorization(self) -> dict[str, str]:
        # May run an exec plugin or read a token file: the client refreshes what has expired.
        from kubernetes.config import ConfigException

        try:
            settings: dict[str, Any] = self._configuration.auth_settings()
        except (ConfigException, OSError) as e:
            raise ApiError(f"the credentials cannot be read: {e}", status=401, hint="check the token file") from e
        token = settings.get("BearerToken", {}).get("value")
        return {"Authorization": token} if token else {}

    def _unreachable(self, error: Exception) -> ApiError:
        detail = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        return ApiError(
            f"the API server at {self.host} cannot be reached: {detail}",
            hint="check that the cluster is up and the kubeconfig's server address is right",
        )


def _refusal(response: aiohttp.ClientResponse, path: str, status: Status) -> ApiError:
    code, text = response.status, status.message or response.reason or "no reason given"
    try:
        retry_after = float(response.headers.get("Retry-After", "0"))
    except ValueError:
        retry_after = 0.0
    return refusal(code, text, path, retry_after)
