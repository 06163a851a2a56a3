"""Connections of triggers over HTTP, to where they may."""

from __future__ import annotations

from typing import Any

import aiohttp
from aiohttp.abc import ResolveResult

from kubecdc.names import Names
from kubecdc.workers.addresses import Addresses


class Connector(aiohttp.TCPConnector):
    """Connects to those addresses of a host that the rules permit. Otherwise a request raises AddressRefused."""

    def __init__(self, addresses: Addresses, *, names: Names | None = None, **given: Any) -> None:
        super().__init__(resolver=names or Names(), **given)
        self._addresses = addresses

    async def _resolve_host(self, host: str, port: int, traces: Any = None) -> list[ResolveResult]:
        """As the library's, which connects to nothing else. It calls this for addresses too, and for each redirect."""
        found = await super()._resolve_host(host, port, traces)
        if not self._addresses.given:
            return found
        permitted = self._addresses.permitted(host, [each["host"] for each in found])
        return [each for each in found if each["host"] in permitted]
