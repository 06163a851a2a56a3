"""What Secrets and ConfigMaps in the cluster contain. Values are kept in memory for a while, and shown to nobody."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec
import structlog

from kubecdc.cluster.errors import Malformed
from kubecdc.cluster.objects import UNREADABLE
from kubecdc.cluster.resource import Resource
from kubecdc.errors import KubecdcError, Unavailable

if TYPE_CHECKING:
    from kubecdc.cluster.connection import Cluster

KEPT = 60.0  # seconds until an object is read again; a kubelet takes about as long for what it has mounted
AGAIN = 5.0  # the same for one that could not be read
DOUBTED = 1.0  # the same, at least, for one whose values a peer refuses
SECONDS = 10.0  # for a request
PATIENCE = 2.0  # seconds to wait for a newer value while there is an older one
LARGEST = 4 << 20  # bytes of an answer; an object has at most 1 MiB of data
MOST = 256  # objects that are kept: an event may choose which are read
DEFINITE = frozenset({403, 404})  # answers after which the value before must not be used any more
RESOURCES = {"Secret": "secrets", "ConfigMap": "configmaps"}

Kind = Literal["Secret", "ConfigMap"]
Data = Mapping[str, bytes]
log = structlog.get_logger()


class _Secret(msgspec.Struct):
    data: dict[str, bytes] | None = None  # in base64


class _ConfigMap(msgspec.Struct, rename="camel"):
    data: dict[str, str] | None = None
    binary_data: dict[str, bytes] | None = None


@dataclass
class _Kept:
    """What is known of an object."""

    data: Data | None = field(default=None, repr=False)
    error: KubecdcError | None = None  # of the last read
    read: float = 0.0
    due: float = float("-inf")
    reading: asyncio.Task[None] | None = None


class Contents:
    """The Secrets and ConfigMaps of one cluster. ``connect`` returns the connection, and may raise UsageError.

    An object is read at most every `DOUBTED` seconds, and at least every `KEPT` seconds if it is used. While the API
    server does not answer, the values that were read last are used, which is logged once.
    """

    def __init__(self, connect: Callable[[], Awaitable[Cluster]], *, now: Callable[[], float] = time.monotonic) -> None:
        self._connect = connect
        self._now = now
        self._kept: OrderedDict[tuple[Kind, str, str], _Kept] = OrderedDict()

    async def of(self, kind: Kind, namespace: str, name: str) -> Data:
        """What an object contains, by key. Raises UsageError, ApiError, Malformed. They show no value."""
        key = kind, namespace, name
        kept = self._kept.setdefault(key, _Kept())
        self._kept.move_to_end(key)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)
        if kept.reading is None and self._now() >= kept.due:
            kept.reading = asyncio.create_task(self._read(key, kept))
        if kept.reading and not (kept.data is not None and kept.error):
            reading = kept.reading
            await asyncio.wait({reading}, timeout=None if kept.data is None else PATIENCE)
            if reading.done() and not reading.cancelled():
                reading.result()
        if kept.data is None:
            raise kept.error or Unavailable("the connection to the API server is closed")
        return kept.data

    def doubt(self, kind: Kind, namespace: str, name: str) -> None:
        """A peer has refused a value of the object: it is read anew by the next who asks."""
        if kept := self._kept.get((kind, namespace, name)):
            kept.due = min(kept.due, kept.read + DOUBTED)

    async def close(self) -> None:
        """End what is under way, and forget all values."""
        under_way = [kept.reading for kept in self._kept.values() if kept.reading]
        self._kept.clear()
        for reading in under_way:
            reading.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _read(self, key: tuple[Kind, str, str], kept: _Kept) -> None:
        try:
            data, error = await self._fetch(*key), None
        except KubecdcError as e:
            data, error = None, e
        finally:
            kept.reading = None
        kept.read = self._now()
        kept.due = kept.read + (AGAIN if error else KEPT)
        what = {"kind": key[0], "namespace": key[1], "name": key[2]}
        if error is None:
            if kept.error and kept.data is not None:
                log.info("a Secret or ConfigMap can be read again", code="key-readable", **what)
            kept.data = data
        elif kept.data is not None and getattr(error, "status", 0) not in DEFINITE:
            if kept.error is None:
                text = "a Secret or ConfigMap cannot be read again; the last values that were read are used"
                log.warning(text, code="key-unreadable", **what, error=str(error))
        else:
            kept.data = None
        kept.error = error

    async def _fetch(self, kind: Kind, namespace: str, name: str) -> Data:
        cluster = await self._connect()
        path = Resource("", "v1", RESOURCES[kind], namespace).path_of(name)
        text = await cluster.get(path, seconds=SECONDS, most_bytes=LARGEST, essential=True)
        try:
            if kind == "Secret":
                return msgspec.json.decode(text, type=_Secret).data or {}
            found = msgspec.json.decode(text, type=_ConfigMap)
        except UNREADABLE:  # whose texts may have values
            raise Malformed(f"the API server's answer for {kind} {namespace}/{name} cannot be read") from None
        return {key: value.encode() for key, value in (found.data or {}).items()} | (found.binary_data or {})
