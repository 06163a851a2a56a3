"""Sends commands to the server that has the bus, also after the bus has moved to another server.

The cluster client of redis-py cannot be used. It follows ASK, the answer of a slot that is being moved: a script would
see only the keys that have arrived, take the bus for an older one, and write to it. It also repeats a command whose
reply was lost, which would run a script twice without anybody knowing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from redis import exceptions
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from kubecdc.errors import Unavailable, UsageError
from kubecdc.storage.redis_server.credentials import login
from kubecdc.storage.redis_server.errors import Full, map_error
from kubecdc.storage.redis_server.settings import ServerSettings
from kubecdc.storage.redis_server.topology import topology
from kubecdc.storage.redis_server.url import Address, RedisUrl
from kubecdc.storage.redis_server.wire import Server, pack

DEADLINE = 10.0  # seconds for a command, including finding the server and connecting
CONNECT_DEADLINE = 5.0
HOPS = 5  # redirections of one command


class Client:
    """Opened, used and closed from one event loop.

    Raises Unavailable, UsageError, Refused, and NoScriptError of redis-py. ``full`` is set when a command was refused
    because memory is full.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._url = _readable(settings.server)
        self._place = settings.place
        self._prefix = settings.prefix
        access = settings.access
        self._login = login(access.username or self._url.username, self._url.password, access.password)
        self._sentinel_login = login(
            access.sentinel_username or self._url.sentinel_username,
            self._url.sentinel_password,
            access.sentinel_password,
        )
        self._certificates = access.certificates
        self._topology = topology(self._url, self._ask, settings.prefix)
        self._finding = asyncio.Lock()
        self._server: Server | None = None
        self._closed = False
        self.full = asyncio.Event()

    async def send(self, command: bytes, *, waits: bool = False) -> Any:
        """Send a packed command once; one that ``waits`` in the server has a connection of its own.

        A node that answers that another one has the slot did nothing: the command is sent to that one.
        """
        server: Server | None = None
        deadline = asyncio.get_running_loop().time() + DEADLINE
        try:
            for _ in range(HOPS):
                server = self._server or await self._find(deadline)
                try:
                    return await server.send(command, deadline, waits=waits)
                except exceptions.MovedError as e:
                    if not self._topology.moves:
                        raise
                    # An answer without a host means the host that was asked.
                    self._leave(server, Address(e.host or server.address.host, e.port))
            raise Unavailable(f"{self._place}: its nodes do not agree on which of them has the bus")
        except exceptions.NoScriptError:
            raise
        except Exception as e:
            self._note(e, server)
            mapped = map_error(e, self._place, self._prefix)
            if isinstance(mapped, Full):
                self.full.set()
            if mapped is e:
                raise
            raise mapped from e
        except asyncio.CancelledError:
            if server is not None:
                server.given_up()
            raise

    def _note(self, error: Exception, server: Server | None) -> None:
        """Stop using the server if the error says that another one may have the bus."""
        match error:
            case exceptions.ResponseError():
                # Another server is the primary now, maybe under the same name. Redis 6.2 wraps errors inside scripts.
                if isinstance(error, exceptions.ReadOnlyError | exceptions.ClusterDownError) or "-READONLY" in str(
                    error
                ):
                    self._leave(server)
            case exceptions.ConnectionError() | exceptions.TimeoutError() | TimeoutError() | OSError():
                if self._topology.moves:
                    self._leave(server)

    async def close(self) -> None:
        """Close the connections. Commands that are under way on them raise an error, and so do all later ones."""
        self._closed = True
        if server := self._server:
            self._leave(server)
            await server.wait_closed()

    async def _find(self, deadline: float) -> Server:
        if self._closed:
            raise Unavailable("the bus is closed")
        async with asyncio.timeout_at(deadline), self._finding:
            if self._server is None:
                self._server = self._connected(await self._topology.find())
            return self._server

    def _leave(self, server: Server | None, to: Address | None = None) -> None:
        """Stop using that server. Commands that are under way there raise an error, and their callers repeat them."""
        if server is not None and self._server is server:
            self._server = self._connected(to) if to else None
            server.close()

    def _connected(self, to: Address) -> Server:
        verified = {"redis_connect_func": _require_primary} if self._url.kind == "sentinel" else {}
        return self._to(to, self._login, db=self._url.db, client_name="kubecdc", **verified)

    async def _ask(self, address: Address, *command: str) -> Any:
        """Send one command to a Sentinel or node, over a new connection."""
        of_sentinel = self._url.kind == "sentinel"
        server = self._to(address, self._sentinel_login if of_sentinel else self._login)
        try:
            return await server.send(pack(*command), asyncio.get_running_loop().time() + DEADLINE)
        finally:
            server.close()
            await server.wait_closed()

    def _to(self, to: Address, provider: Any, **more: Any) -> Server:
        # Retries by redis-py could run a script twice without anybody knowing. Its timeout for commands would end
        # blocking reads, and it uses asyncio.wait_for, which may swallow a cancellation before Python 3.12: `send` has
        # deadlines of its own.
        options = more | {
            "credential_provider": provider,
            "protocol": 2,
            "socket_timeout": None,
            "socket_connect_timeout": CONNECT_DEADLINE,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_error": [],
        }
        kind: Any = Connection
        if self._url.kind == "socket":
            kind, options["path"] = UnixDomainSocketConnection, self._url.path
        else:
            options |= {"host": to.host, "port": to.port, "socket_keepalive": True}
            if self._url.tls is not None:
                kind, options = SSLConnection, {**options, **self._url.tls}
        return Server(to, partial(self._connection, kind, options))

    @asynccontextmanager
    async def _connection(self, kind: Any, options: Mapping[str, Any]) -> AsyncIterator[AbstractConnection]:
        async with self._certificates() as files:
            yield kind(**options, **(files if kind is SSLConnection else {}))


def _readable(url: RedisUrl) -> RedisUrl:
    """Raises UsageError if a certificate file cannot be read; redis-py would not say which one."""
    tls = url.tls or {}
    for path in [Path(str(tls[name])) for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile") if name in tls]:
        try:
            path.read_bytes()
        except OSError as e:
            raise UsageError(
                f"{url.place}: {path} cannot be read: {e.strerror}", hint="mount it, or correct its path"
            ) from e
    return url


async def _require_primary(connection: Any) -> None:
    """Sentinels may name a server that has become a replica: what is read there could be old."""
    await connection.on_connect()
    await connection.send_command("ROLE")
    role = await connection.read_response()
    if role[0] not in (b"master", "master"):
        raise exceptions.ReadOnlyError(f"the Sentinels name it as the primary, but it is a {role[0].decode()}")
