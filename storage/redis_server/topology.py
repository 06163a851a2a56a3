"""Finds the server that has the bus: the one in the URL, or the one that Sentinels or nodes of a cluster name.

All keys of a bus are in one slot, so that one server has the bus even in a cluster. All three topologies are used
alike: find the server, send it commands, and find it again when it does not answer, or answers that it is not the one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from redis import exceptions
from redis.crc import key_slot

from kubecdc.errors import KubecdcError, Unavailable, UsageError
from kubecdc.storage.redis_server.url import EXAMPLES, Address, RedisUrl

ASK = 2.0  # seconds for one of them to answer: several may be down, and the command has a deadline of its own
Ask = Callable[..., Awaitable[Any]]  # (address, command ...): the answer of that server, over a new connection


class Topology(Protocol):
    """``moves``: after a failure, another server may have the bus."""

    moves: bool

    async def find(self) -> Address:
        """The server that has the bus. Raises Unavailable, UsageError, and errors of redis-py."""
        ...


class Fixed:
    """One server. Its host name may resolve to another address later."""

    moves = False

    def __init__(self, url: RedisUrl) -> None:
        self._address = url.addresses[0] if url.addresses else Address("", 0)

    async def find(self) -> Address:
        return self._address


class Sentinels:
    """The primary that the Sentinels name (redis.io: "Guidelines for Redis clients with support for Sentinel")."""

    moves = True

    def __init__(self, url: RedisUrl, ask: Ask) -> None:
        self._url = url
        self._ask = ask
        self._sentinels = list(url.addresses)  # the one that answered last comes first

    async def find(self) -> Address:
        silent: list[str] = []
        for sentinel in list(self._sentinels):
            try:
                async with asyncio.timeout(ASK):
                    found = await self._ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._url.primary)
            except (exceptions.AuthenticationError, exceptions.NoPermissionError) as e:
                if isinstance(e.__cause__, KubecdcError):  # there is no password to send
                    raise e.__cause__ from None
                raise UsageError(
                    f"Sentinel {sentinel} refuses the login: {e}",
                    hint="check `sentinelUsername` and `sentinelPassword` of the EventBus; user and password of "
                    "the `url` are for Redis only",
                ) from e
            except (exceptions.ConnectionError, exceptions.TimeoutError, TimeoutError, OSError) as e:
                silent.append(f"{sentinel}: {e or type(e).__name__}")
                continue
            except exceptions.ResponseError as e:
                raise UsageError(f"{sentinel} is no Sentinel: {e}", hint=f"write {EXAMPLES['server']}") from e
            if found:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return Address(found[0].decode(), int(found[1]))
        if len(silent) < len(self._sentinels) or not silent:
            text = f"{self._url.place}: the Sentinels know no primary {self._url.primary!r}"
            if silent:  # one that does not answer may know the primary
                raise Unavailable(f"{text}, and some do not answer: {'; '.join(silent)}", hint="are they up?")
            raise UsageError(text, hint="`redis-cli -p 26379 SENTINEL MASTERS` lists those they know")
        raise Unavailable(
            f"{self._url.place}: no Sentinel answers: {'; '.join(silent)}",
            hint="are they up, and can this machine reach them?",
        )


class Cluster:
    """The primary of the slot that the keys of the bus are in."""

    moves = True

    def __init__(self, url: RedisUrl, ask: Ask, tag: str) -> None:
        self._url = url
        self._ask = ask
        self._slot = key_slot(tag.encode())
        self._nodes = list(url.addresses)

    async def find(self) -> Address:
        silent: list[str] = []
        for node in list(self._nodes):
            try:
                async with asyncio.timeout(ASK):
                    slots = await self._ask(node, "CLUSTER", "SLOTS")
            except (exceptions.AuthenticationError, exceptions.NoPermissionError):
                raise
            except (exceptions.ConnectionError, exceptions.TimeoutError, TimeoutError, OSError) as e:
                silent.append(f"{node}: {e or type(e).__name__}")
                self._nodes.remove(node)  # to the end
                self._nodes.append(node)
                continue
            except exceptions.ResponseError as e:
                if "cluster support disabled" not in str(e):
                    raise
                raise UsageError(f"{node} is not in a cluster: {e}", hint=f"write {EXAMPLES['server']}") from e
            found = [[_address(of, node) for of in servers] for _, _, *servers in slots]
            # Those of the URL are kept: one of their names may resolve to other nodes later.
            self._nodes = list(dict.fromkeys([*(of for servers in found for of in servers), *self._url.addresses]))
            for (first, last, *_), servers in zip(slots, found, strict=True):
                if first <= self._slot <= last:
                    return servers[0]
            raise Unavailable(
                f"{self._url.place}: no node of the cluster has slot {self._slot}, where the bus is",
                hint="`redis-cli --cluster check` shows what is wrong",
            )
        raise Unavailable(
            f"{self._url.place}: no node answers: {'; '.join(silent)}",
            hint="are they up, and can this machine reach them?",
        )


def _address(found: Any, asked: Address) -> Address:
    """The address of a node in an answer; one without an address is the node that was asked."""
    host = (found[0] or b"").decode()
    return Address(host if host not in ("", "?") else asked.host, int(found[1]))


def topology(url: RedisUrl, ask: Ask, tag: str) -> Topology:
    """The topology of a URL. ``tag`` is the hash tag of the keys."""
    match url.kind:
        case "sentinel":
            return Sentinels(url, ask)
        case "cluster":
            return Cluster(url, ask, tag)
    return Fixed(url)
