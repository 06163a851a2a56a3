"""The ConfigMaps of a bus while it is in use: how often they are written, and how large they are."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.harness.api import Api, Resource

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
CHECKPOINT, STATE = "kubecdc-checkpoint", "kubecdc-checkpoint-state"


@dataclass
class Writes:
    """``times`` are monotonic seconds, ``largest`` is in bytes of values."""

    times: list[float] = field(default_factory=list)
    largest: int = 0

    def add(self, found: dict[str, Any]) -> None:
        self.times.append(time.monotonic())
        self.largest = max(self.largest, _size(found))

    def most_in(self, seconds: float) -> int:
        """Writes in any stretch of so many seconds, at most."""
        times, most, first = self.times, 0, 0
        for last, end in enumerate(times):
            while times[first] <= end - seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


@asynccontextmanager
async def watched(api: Api, namespace: str = "default") -> AsyncIterator[dict[str, Writes]]:
    """Each write of checkpoint and state meanwhile, on an API server that is not killed."""
    path = CONFIG_MAPS.path(namespace)
    status, found = await api.request("GET", path)
    assert status == 200, found
    writes = {CHECKPOINT: Writes(), STATE: Writes()}

    async def watch(version: str) -> None:
        while True:  # a server ends streams now and then
            async for event in api.watch(path, version):
                assert event["type"] != "ERROR", event
                metadata = event["object"]["metadata"]
                version = metadata["resourceVersion"]
                if event["type"] != "BOOKMARK" and metadata["name"] in writes:
                    writes[metadata["name"]].add(event["object"])

    watching = asyncio.create_task(watch(found["metadata"]["resourceVersion"]))
    try:
        yield writes
        assert not watching.done(), watching.exception()
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def _size(found: dict[str, Any]) -> int:
    text = sum(len(value.encode()) for value in (found.get("data") or {}).values())
    return text + sum(len(base64.b64decode(value)) for value in (found.get("binaryData") or {}).values())
