"""The connection to a Kubernetes API server.

It uses aiohttp, because the official client decodes every object twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from kubecdc.cluster import metrics
from kubecdc.cluster.configuration import load_configuration
from kubecdc.cluster.connector import Connector
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.impersonation import NOBODY, Impersonation
from kubecdc.cluster.open_files import BUFFER_BYTES, Connections
from kubecdc.cluster.requests import NO_ANSWER, Request, read_at_most, send, unreachable
from kubecdc.cluster.rotation import Rotation

CONNECT_SECONDS = 10.0
REQUEST_SECONDS = 60.0
TROUBLE_SECONDS = 120.0  # more than a request without an answer and the longest pause after it


class Cluster:
    """One API server and our credentials there. Use as an async context manager. Raises UsageError.

    After a failure, the next request reads the kubeconfig, certificates and tokens again.
    """

    def __init__(
        self,
        kubeconfig: str | None = None,
        context: str | None = None,
        impersonation: Impersonation = NOBODY,
        *,
        name: str = "",
    ) -> None:
        self.name = name
        self._rotation = Rotation(lambda name: load_configuration(kubeconfig, name, impersonation), context)
        self._session: aiohttp.ClientSession | None = None
        self.connections = Connections()
        self._trouble = "", 0.0  # of the last request, and when that ended (monotonic)

    @property
    def host(self) -> str:
        """The server's URL, without a user and password."""
        return str(self._rotation.configuration.server)

    @property
    def trouble(self) -> str:
        """Why the last request was not answered, or by an API server that cannot work; "" if it was.

        Where the next request is far away, as while a watch is open, it does not count for long. For any thread.
        """
        why, when = self._trouble
        return why if time.monotonic() - when < TROUBLE_SECONDS else ""

    def _ended(self, why: str = "", status: int | None = None) -> None:
        """A request has ended, with that trouble, and that status if it has failed."""
        self._trouble = why, time.monotonic()
        if status is not None:
            metrics.failed(status)

    @property
    def facts(self) -> dict[str, str]:
        """What a log line says of the connection: server, proxy, context, user and whom it impersonates, if any."""
        found = self._rotation.configuration
        given = {
            "server": self.host,
            "proxy": str(found.server.proxy or ""),
            "context": found.context,
            "user": found.user if found.context else "the pod's service account",
            "impersonating": found.impersonation.user,
        }
        return {name: value for name, value in given.items() if value}

    async def __aenter__(self) -> Cluster:
        self._connector = Connector(limit=0)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "kubecdc"},
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=BUFFER_BYTES[1],
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._rotation.close()
        if self._session is not None:
            await self._session.close()

    async def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        seconds: float = REQUEST_SECONDS,
        most_bytes: int | None = None,
        essential: bool = False,
    ) -> bytes:
        """The body of a GET. Raises ApiError, also if it takes longer than ``seconds``, and TooLarge.

        Requests wait for others to end while there are many, unless they are ``essential``.
        """
        return await self._call(Request("GET", path, query), seconds, most_bytes, essential=essential)

    async def post(
        self, path: str, document: object, *, seconds: float = REQUEST_SECONDS, essential: bool = False
    ) -> bytes:
        """Create an object. Raises ApiError, also if it takes longer than ``seconds``."""
        request = Request("POST", path, body=msgspec.json.encode(document))
        return await self._call(request, seconds, essential=essential)

    async def put(self, path: str, document: object, *, seconds: float = REQUEST_SECONDS) -> bytes:
        """Replace an object, as ``essential``. Raises ApiError, also if it takes longer than ``seconds``."""
        return await self._call(Request("PUT", path, body=msgspec.json.encode(document)), seconds, essential=True)

    async def request(self, request: Request, *, seconds: float = REQUEST_SECONDS) -> bytes:
        """The body of any answer. Raises ApiError, also if it takes longer than ``seconds``."""
        return await self._call(request, seconds, essential=False)

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], *, essential: bool = False
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A GET whose body is read as it arrives. Raises ApiError until it is open; reading, what aiohttp raises."""
        try:
            # The server sends headers at once, even when there is nothing to send after them.
            async with asyncio.timeout(REQUEST_SECONDS) as deadline:
                with self.connections.watch(essential=essential) as buffer:
                    async with self._send(Request("GET", path, query, buffer=buffer)) as response:
                        deadline.reschedule(None)
                        yield response
        except NO_ANSWER as e:
            raise self._no_answer(e) from e

    async def _call(self, request: Request, seconds: float, most_bytes: int | None = None, *, essential: bool) -> bytes:
        async with self.connections.request(essential=essential):
            try:
                async with asyncio.timeout(seconds), self._send(request) as response:
                    return await (response.read() if most_bytes is None else read_at_most(response, most_bytes))
            except NO_ANSWER as e:
                raise self._no_answer(e) from e

    @asynccontextmanager
    async def _send(self, request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None, "use `async with`"
        settings = await self._rotation.current()
        self._connector.socks = settings.configuration.server.socks
        try:
            async with send(self._session, settings, request) as response:
                self._ended()
                yield response
        except ApiError as e:
            self._ended(str(e) if e.status == 401 or e.status >= 500 else "", e.status)
            if e.status != 401:
                raise
            self._rotation.failed(settings, e)
            raise self._rotation.explained(settings, e) from e.__cause__
        except NO_ANSWER as e:
            self._rotation.failed(settings, e)
            error = self._rotation.explained(settings, unreachable(settings.configuration.server, e))
            self._ended(str(error), error.status)
            raise error from e

    def _no_answer(self, error: Exception) -> ApiError:
        """The error for a request whose time is over."""
        self._rotation.late()
        if awaited := self._rotation.waiting_for:
            found = ApiError(f"{awaited} has not answered yet", status=401, hint="it gives the credentials")
        else:
            found = unreachable(self._rotation.configuration.server, error, self._connector.slow_name)
        self._ended(str(found), found.status)
        return found
