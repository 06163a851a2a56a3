"""Connections through a SOCKS 5 proxy, which aiohttp does not make itself."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from yarl import URL


class SocksConnector(aiohttp.TCPConnector):
    """Connects through the SOCKS 5 proxy at ``url``."""

    def __init__(self, url: URL, **settings: Any) -> None:
        super().__init__(resolver=_LeftToTheProxy(), **settings)
        self._url = url

    async def _wrap_create_connection(
        self, *args: Any, addr_infos: Any, req: Any, timeout: aiohttp.ClientTimeout, **settings: Any
    ) -> tuple[Any, ResponseHandler]:
        """As aiohttp's method, but the socket comes from the proxy. What TLS needs is in ``settings``."""
        from python_socks import ProxyError, ProxyType
        from python_socks.async_.asyncio import Proxy

        url, (host, port, *_) = self._url, addr_infos[0][4]
        proxy = Proxy(ProxyType.SOCKS5, url.host or "", url.port or 0, url.user, url.password, rdns=True)
        try:
            opened = await proxy.connect(host, port, timeout.sock_connect)
        except ProxyError as e:
            raise aiohttp.ClientConnectionError(str(e)) from e
        return await self._wrap_existing_connection(*args, req=req, timeout=timeout, sock=opened, **settings)


class _LeftToTheProxy(AbstractResolver):
    """Names are not resolved here: the proxy may know names that we do not."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host=host, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass
