"""Connections to the API server: direct ones, and those through a SOCKS 5 proxy, which aiohttp does not make itself."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from kubecdc.names import Names


class Connector(aiohttp.TCPConnector):
    """Connects through the SOCKS 5 proxy ``socks``, or directly if it is None. It may be changed at any time."""

    def __init__(self, **settings: Any) -> None:
        self.socks: URL | None = None
        self._names = Names()
        super().__init__(resolver=_Resolver(self, self._names), **settings)

    @property
    def slow_name(self) -> str:
        """A name that is being looked up, "" if there is none."""
        return self._names.waited_for

    async def _wrap_create_connection(
        self, *args: Any, addr_infos: Any, req: Any, timeout: aiohttp.ClientTimeout, **settings: Any
    ) -> tuple[Any, ResponseHandler]:
        """As aiohttp's method, but the socket may come from the proxy. What TLS needs is in ``settings``."""
        if self.socks is None:
            return await super()._wrap_create_connection(
                *args, addr_infos=addr_infos, req=req, timeout=timeout, **settings
            )
        host, port, *_ = addr_infos[0][4]
        opened = await _open(self.socks, host, port, timeout.sock_connect)
        return await self._wrap_existing_connection(*args, req=req, timeout=timeout, sock=opened, **settings)


async def _open(url: URL, host: str, port: int, seconds: float | None) -> socket.socket:
    from python_socks import ProxyError, ProxyType
    from python_socks.async_.asyncio import Proxy

    proxy = Proxy(ProxyType.SOCKS5, url.host or "", url.port or 0, url.user, url.password, rdns=True)
    try:
        opened: socket.socket = await proxy.connect(host, port, seconds)
    except ProxyError as e:
        raise aiohttp.ClientConnectionError(str(e)) from e
    return opened


class _Resolver(AbstractResolver):
    """Leaves names to the proxy, if there is one: it may know names that we do not."""

    def __init__(self, connector: Connector, names: Names) -> None:
        self._connector = connector
        self._own = names

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if self._connector.socks is None:
            return await self._own.resolve(host, port, family)
        return [ResolveResult(hostname=host, host=host, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass
