"""When audits are made: after each start, after an API server that was away, and every `auditInterval`."""

from __future__ import annotations

import asyncio
import random
import time

import structlog

from kubecdc import facts
from kubecdc.cluster.errors import ApiError, Malformed
from kubecdc.cluster.list_watch import ListWatch
from kubecdc.watcher import metrics
from kubecdc.watcher.audit.comparison import Difference, audit
from kubecdc.watcher.capture.checkpoint_writer import CheckpointWriter
from kubecdc.watcher.capture.entry import Entry
from kubecdc.watcher.capture.memory import Memory
from kubecdc.watcher.capture.reasons import DIFFERS

log = structlog.get_logger()

SOON_SECONDS = 10.0  # an audit that is scheduled starts within this time; spread, so that not all entries list at once
RETRY_SECONDS = 60.0
EXAMPLES = 3  # in the log


class Differs(Exception):
    """The inventory differs from the cluster, and no event explains it."""


class Auditor:
    """The audits of one watch."""

    def __init__(self, entry: Entry, memory: Memory) -> None:
        self._memory = memory
        self._interval = entry.audit_seconds if entry.keeps_inventory else 0.0
        self._key = entry.key
        self._log = log.bind(watch=entry.key)
        self._next = 0.0
        self.last: facts.Audit | None = None
        self.schedule()

    def schedule(self) -> None:
        """Something happened that calls for an audit soon."""
        self._next = time.monotonic() + random.uniform(0, SOON_SECONDS)  # spread, not a secret

    def relisted(self) -> None:
        """A list has just been compared with the inventory: the next audit is a whole interval away."""
        self._next = time.monotonic() + self._interval

    async def run(self, writer: CheckpointWriter, list_watch: ListWatch) -> None:
        """Audit until cancelled, while the watch goes on. Raises Differs, RanBackwards, Unavailable."""
        if not self._interval:
            await asyncio.Event().wait()

        while True:
            await asyncio.sleep(self._next - time.monotonic())
            self._next = time.monotonic() + self._interval
            try:
                found = await audit(list_watch, self._memory, writer.inventory, writer.wait_for_position)
            except (ApiError, Malformed) as e:
                self._log.info("the audit was not finished", code="audit-unfinished", reason=str(e))
                self._next = time.monotonic() + min(self._interval, RETRY_SECONDS)
                continue
            self.last = facts.Audit("differs" if found else "clean", time.time())
            metrics.of(metrics.AUDITS, self._key, self.last.result).value += 1
            if found:
                self._report(found)
                raise Differs
            self._log.debug("audited", code="audit-clean")

    def _report(self, found: list[Difference]) -> None:
        metrics.of(metrics.DIFFERENCES, self._key).value += len(found)
        examples = [f"{d.kind}: {d.namespace}/{d.name} ({d.inventory or '-'} -> {d.cluster or '-'})" for d in found]
        self._log.error(DIFFERS, code="audit-differs", count=len(found), examples=examples[:EXAMPLES])
