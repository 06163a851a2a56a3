"""What RQ knows of an open subscription: it is a worker of RQ, which `rq info` and dashboards show."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

from rq.version import VERSION

from kubecdc.errors import KubecdcError
from kubecdc.storage.redis_server.connection import Argument, Connection
from kubecdc.storage.rq import jobs
from kubecdc.storage.rq.deliveries.settings import SubscriptionSettings

HEARTBEAT = 5.0  # seconds between two heartbeats of a worker, at most
SWEEP = 1.0  # seconds between two searches for what dead workers left, at most
LEAVE = 2.0  # seconds: a process that is told to stop must stop, whether or not Redis answers


class Worker:
    """Registers itself with the first heartbeat. ``busy`` tells whether there is a job at work."""

    def __init__(self, settings: SubscriptionSettings, connection: Connection, busy: Callable[[], bool]) -> None:
        self.name = f"kubecdc-{settings.holder.replace('/', '-')}-{secrets.token_hex(4)}"
        self._settings = settings
        self._connection = connection
        self._busy = busy
        self._birth = jobs.time_text()
        self._beat = min(HEARTBEAT, settings.ack_wait / 3)
        self._sweep = min(SWEEP, settings.ack_wait / 4)
        self._registered = ""  # the id of the subscription for which it is registered

    async def heartbeat(self, subscription: str) -> None:
        """Tell that this worker lives, for three heartbeats. Raises Unavailable."""
        fields: dict[str, str | int] = {
            "birth": self._birth,
            "last_heartbeat": jobs.time_text(),
            "pid": os.getpid(),
            "hostname": socket.gethostname(),
            "holder": self._settings.holder,
            "ip_address": "",
            "version": VERSION,
            "python_version": sys.version,
            "state": "busy" if self._busy() else "idle",
        }
        flat: list[Argument] = [value for pair in fields.items() for value in pair]
        wait = max(1000, int(self._beat * 3000))
        await self._connection.run("deliveries/worker", subscription, self.name, wait, *flat)
        self._registered = subscription

    async def run(self, subscription: Callable[[], str]) -> None:
        """Send heartbeats, and put back what dead workers of the subscription left. Never returns."""
        loop = asyncio.get_running_loop()
        beat = 0.0
        while True:
            with suppress(KubecdcError):  # the next claim reports it
                if (id_ := subscription()) and loop.time() >= beat:
                    await self.heartbeat(id_)
                    beat = loop.time() + self._beat
                if id_:
                    await sweep(self._connection, id_, self._sweep, self._settings.ack_wait)
            await asyncio.sleep(self._sweep)

    async def leave(self) -> None:
        """Tell that this worker has ended."""
        if self._registered:
            with suppress(KubecdcError, TimeoutError):  # then the record expires
                async with asyncio.timeout(LEAVE):
                    await self._connection.run("deliveries/worker", self._registered, self.name, 0)


async def sweep(connection: Connection, subscription: str, period: float, left: float) -> None:
    """Put back what dead workers of a subscription had, unless another process did in the last ``period`` seconds.

    ``left``: seconds after which a job counts as left behind that no worker is recorded for. Raises Unavailable.
    """
    milliseconds = (max(1, int(period * 900)), max(1, int(left * 1000)))
    await connection.run("administration/sweep", subscription, *milliseconds)
