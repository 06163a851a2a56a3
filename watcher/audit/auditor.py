"""When audits are made: after each start, after an API server that was away, and each `auditInterval`."""

from __future__ import annotations

import asyncio
import random
import time

import structlog

from kubecdc.cluster.errors import ApiError, Malformed
from kubecdc.cluster.list_watch import Api
from kubecdc.watcher import metrics
from kubecdc.watcher.audit.comparison import Difference, audit
from kubecdc.watcher.capture.checkpoint_writer import Journal
from kubecdc.watcher.capture.entry import Entry
from kubecdc.watcher.capture.relist import DIFFERS

log = structlog.get_logger()

SOON_SECONDS = 10.0  # spread, so that all entries do not list at once
RETRY_SECONDS = 60.0
SHOWN = 3


class Differs(Exception):
    """The inventory differs from the cluster, and no event explains it."""


class Auditor:
    """The audits of one watch. ``passed`` is set once an audit found nothing, or a repair has mended what it found."""

    def __init__(self, entry: Entry) -> None:
        self._interval = entry.audit_seconds if entry.keeps_inventory else 0.0
        self._log = log.bind(watch=entry.key)
        self._labels = entry.key
        self._next = 0.0
        self.passed = asyncio.Event()
        self.soon()

    def soon(self) -> None:
        """Something happened that an audit should look at."""
        self._next = time.monotonic() + random.uniform(0, SOON_SECONDS)  # spread, not a secret

    def repaired(self) -> None:
        """A list has just been compared with the inventory: the next audit has time."""
        self._next = time.monotonic() + self._interval
        self.passed.set()

    async def run(self, journal: Journal, api: Api) -> None:
        """For ever, beside the watch. Raises Differs, and RanBackwards."""
        if not self._interval:
            await asyncio.Event().wait()

        while True:
            await asyncio.sleep(self._next - time.monotonic())
            self._next = time.monotonic() + self._interval
            try:
                found = await audit(api, journal.inventory, journal.reach)
            except (ApiError, Malformed) as e:
                self._log.info("the audit was not finished", reason=str(e))
                self._next = time.monotonic() + min(self._interval, RETRY_SECONDS)
                continue
            metrics.AUDITS.labels(self._labels, "differs" if found else "clean").inc()
            if found:
                self._say(found)
                raise Differs
            self._log.debug("audited")
            self.passed.set()

    def _say(self, found: list[Difference]) -> None:
        metrics.DIFFERENCES.labels(self._labels).inc(len(found))
        examples = [f"{d.kind}: {d.namespace}/{d.name} ({d.inventory or '-'} -> {d.cluster or '-'})" for d in found]
        self._log.error(DIFFERS, count=len(found), examples=examples[:SHOWN])
