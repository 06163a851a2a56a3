"""The ConfigMap on the server: reading, writing, and recognizing our own writes."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from kubecdc.errors import Unavailable
from kubecdc.storage.configmap.config_map import ConfigMaps
from kubecdc.storage.configmap.document import Found, Packed, read
from kubecdc.storage.configmap.record import Stamp

DEADLINE = 10.0  # seconds for a request
ATTEMPTS = 100  # number of writes without a reply that are remembered

Stamps = Mapping[str, Stamp]


class Answer(msgspec.Struct):
    """The answer to a write."""

    metadata: dict[str, Any]


class Remote:
    """``stamps`` has the stamp of each checkpoint when the ConfigMap was last read or written, by key."""

    def __init__(self, api: ConfigMaps) -> None:
        self._api = api
        self._metadata: Mapping[str, Any] | None = None  # as last read or written; None if there is no ConfigMap
        self._attempts: dict[str, Stamps] = {}  # writes whose reply was lost, by token
        self.stamps: Stamps = {}

    async def fetch(self) -> Found | None:
        """Read the ConfigMap; a write of ours whose reply was lost is recognized. Raises Unavailable, Refused."""
        text = await self._api.get(seconds=DEADLINE)
        found = read(text, self._api.place) if text is not None else None
        self._metadata = found.metadata if found else None
        if found and found.write in self._attempts:
            self.stamps = self._attempts[found.write]
        return found

    def accept(self, found: Found | None) -> None:
        """What was fetched has been compared with memory."""
        self.stamps = {key: record.stamp for key, record in found.checkpoints.items()} if found else {}

    async def write(self, packed: Packed) -> None:
        """Write the ConfigMap. Raises Conflict if another process has written since, Unavailable, Refused."""
        stamps = {row.key: Stamp(row.number, row.term, row.token) for row in packed.rows}
        token = secrets.token_hex(8)
        if len(self._attempts) == ATTEMPTS:
            del self._attempts[next(iter(self._attempts))]
        self._attempts[token] = stamps
        document = packed.document(self._metadata or {}, token)
        send = self._api.create if self._metadata is None else self._api.replace
        try:
            self._metadata = msgspec.json.decode(await send(document, seconds=DEADLINE), type=Answer).metadata
        except msgspec.MsgspecError as e:
            raise Unavailable(f"the answer of the API server is not a ConfigMap: {e}") from e
        self.stamps = stamps
        self._attempts.clear()
