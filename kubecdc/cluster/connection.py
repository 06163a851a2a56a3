"""The connection to a Kubernetes API server.

It uses aiohttp, because the official client decodes every object twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from kubecdc.cluster.credentials import load_configuration, tls_context
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.requests import NO_ANSWER, Request, read_at_most, send, unreachable
from kubecdc.cluster.server import parse
from kubecdc.cluster.socks import SocksConnector
from kubecdc.errors import UsageError

CONNECT_SECONDS = 10.0
REQUEST_SECONDS = 60.0
READ_BUFFER_BYTES = 128 << 10  # all that has arrived is decoded at once, and no commit can be made meanwhile


class Cluster:
    """One API server and our credentials there. Use as an async context manager. Raises UsageError."""

    def __init__(self, kubeconfig: str | None = None, context: str | None = None) -> None:
        self._source = (kubeconfig, context)
        self._configuration = load_configuration(kubeconfig, context)
        self._server = parse(self._configuration.host, self._configuration.proxy)
        self._tls = tls_context(self._configuration)
        self._session: aiohttp.ClientSession | None = None

    @property
    def host(self) -> str:
        """The server's URL, without a user and password."""
        return str(self._server)

    async def __aenter__(self) -> Cluster:
        proxy = self._server.proxy
        self._session = aiohttp.ClientSession(
            connector=SocksConnector(proxy.url, limit=0) if proxy and proxy.socks else aiohttp.TCPConnector(limit=0),
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
            raise ApiError(f"the credentials could not be read within {seconds:g} s", status=401) from e
        except UsageError as e:
            raise ApiError(str(e), status=401, hint=e.hint) from e

    async def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        seconds: float = REQUEST_SECONDS,
        most_bytes: int | None = None,
    ) -> bytes:
        """The body of a GET. Raises ApiError, also if it takes longer than ``seconds``, and TooLarge."""
        return await self._call(Request("GET", path, query), seconds, most_bytes)

    async def post(self, path: str, document: object, *, seconds: float = REQUEST_SECONDS) -> bytes:
        """Create an object. Raises ApiError, also if it takes longer than ``seconds``."""
        return await self._call(Request("POST", path, body=msgspec.json.encode(document)), seconds)

    async def put(self, path: str, document: object, *, seconds: float = REQUEST_SECONDS) -> bytes:
        """Replace an object. Raises ApiError, also if it takes longer than ``seconds``."""
        return await self._call(Request("PUT", path, body=msgspec.json.encode(document)), seconds)

    @asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str]) -> AsyncIterator[aiohttp.StreamReader]:
        """The body of a GET as it arrives. Raises ApiError until it is open; reading may raise what aiohttp raises."""
        try:
            # The server sends headers at once, even when there is nothing to send after them.
            async with asyncio.timeout(REQUEST_SECONDS) as deadline:
                async with self._send(Request("GET", path, query)) as response:
                    deadline.reschedule(None)
                    yield response.content
        except NO_ANSWER as e:
            raise unreachable(self._server, e) from e

    async def _call(self, request: Request, seconds: float, most_bytes: int | None = None) -> bytes:
        try:
            async with asyncio.timeout(seconds), self._send(request) as response:
                return await (response.read() if most_bytes is None else read_at_most(response, most_bytes))
        except NO_ANSWER as e:
            raise unreachable(self._server, e) from e

    @asynccontextmanager
    async def _send(self, request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None, "use `async with`"
        async with send(self._session, self._server, self._configuration, self._tls, request) as response:
            yield response
