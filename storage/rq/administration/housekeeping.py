"""What the leader does for a bus on RQ, so that it goes on also where only RQ's own workers run."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from kubecdc.errors import KubecdcError
from kubecdc.storage.redis_server import losses
from kubecdc.storage.redis_server.connection import Connection
from kubecdc.storage.rq import jobs
from kubecdc.storage.rq.administration import subscriptions
from kubecdc.storage.rq.deliveries.worker import SWEEP, sweep

log = structlog.get_logger()
STEP = 250  # lanes or events that one script looks at


class Housekeeping:
    """``lanes`` is the prefix of the names of this bus's rate limits."""

    def __init__(self, connection: Connection, *, lanes: str, ack_wait: timedelta) -> None:
        self._connection = connection
        self._lanes = lanes
        self._ack_wait = ack_wait.total_seconds()
        self._period = min(SWEEP, self._ack_wait / 4)
        self._lane = b"0"  # cursor
        self._events: dict[bytes, bytes] = {}  # cursors, by subscription

    async def run(self) -> None:
        """Tidy periodically. Never returns."""
        failing = False
        while True:
            try:
                await self.tidy()
                failing = False
            except KubecdcError as e:
                if not failing:
                    log.warning("cannot tidy the bus", code="housekeeping-failing", error=str(e), hint=e.hint)
                failing = True
            await asyncio.sleep(self._period)

    async def tidy(self) -> None:
        """Put back what dead workers had, bring delayed events, drop what belongs to ended subscriptions, and look at
        the next lanes and events that are owed. Raises Unavailable."""
        connection = self._connection
        await subscriptions.drop_ended(connection)
        left = int(self._ack_wait * 1000)
        ids = (await connection.keyed("HGETALL", "subscriptions"))[1::2]
        self._events = {id_: self._events.get(id_, b"0") for id_ in ids}
        for id_, cursor in self._events.items():
            await sweep(connection, id_.decode(), self._period, self._ack_wait)
            self._events[id_], name, gone = await connection.run("administration/tidy", id_, cursor, STEP, left)
            losses.report(name.decode(), gone=gone)
        self._lane = await connection.run("administration/lanes", self._lane, STEP, self._lanes, jobs.time_text())
