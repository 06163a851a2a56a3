"""The deliveries that a consumer has in flight. Their claims are extended; at a stop they are returned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Literal

import structlog

from kubecdc.errors import Refused, Unavailable
from kubecdc.storage.contracts import Delivery
from kubecdc.storage.contracts.errors import ClaimLost, Undecodable
from kubecdc.workers.joining import Joined
from kubecdc.workers.metrics import TriggerMetrics
from kubecdc.workers.sensor.values import Values
from kubecdc.workers.settings import Settings

log = structlog.get_logger()

PATIENCE = 30.0  # seconds for what runs already of a trigger that was changed, while the process goes on
_CANCELLED = 0.1  # seconds for cancelled tasks to end


class Claim:
    """One delivery in flight. Before ``settling`` its task may be cancelled: it is ``lost`` or ``returning``.

    ``waiting`` is for the breaker of its trigger: at a stop it is not waited for. ``kept`` is when the bus gave or
    extended it, by the clock of the event loop.
    """

    task: asyncio.Task[Any]
    # These objects are made for each event: what changes for only some of them has its first value here.
    phase: Literal["received", "waiting", "started", "settling"] = "received"
    lost = False  # another worker has the delivery, or will have it
    returning = False  # this process is stopping
    joined: Joined | None = None  # what it means for the conditions of its trigger
    values: Values | None = None  # of its event, transformed, once they are known

    def __init__(self, delivery: Delivery, kept: float) -> None:
        self.delivery = delivery
        self.kept = kept
        self.attempt = delivery.attempt

    @property
    def counted(self) -> int:
        """The attempts that count, with the one that would begin now."""
        return self.attempt - self.delivery.failures.uncounted

    async def hold(self, ack_wait: timedelta) -> None:
        """Before a change that no other worker must make: ask the bus, if this process has not done so for a while.

        Raises ClaimLost, Unavailable.
        """
        if asyncio.get_running_loop().time() - self.kept > ack_wait.total_seconds() / 2:
            await self.extend()

    async def extend(self) -> None:
        """Keep the claim for another ackWait. Raises ClaimLost, Unavailable."""
        begun = asyncio.get_running_loop().time()
        await self.delivery.extend()
        self.kept = begun

    @property
    def facts(self) -> dict[str, object]:
        """For log lines: the object (`Event.partitionkey`), the event's id, and the attempt."""
        try:
            event = self.delivery.event
        except Undecodable:
            return {"object": "?", "event_id": "?", "attempt": self.attempt}
        return {"object": event.partitionkey, "event_id": event.id, "attempt": self.attempt}


class InFlight:
    """The claims of one consumer. `begin` is synchronous, so every delivery that the bus hands out is tracked.

    They are counted in the metrics until `uncount`.
    """

    def __init__(
        self, handle: Callable[[Claim], Coroutine[Any, Any, object]], settings: Settings, metrics: TriggerMetrics
    ) -> None:
        self._handle = handle
        self._settings = settings
        self._claims: dict[asyncio.Task[Any], Claim] = {}
        self._loop = asyncio.get_running_loop()
        self.uncount = metrics.count_in_flight(self)

    def __len__(self) -> int:
        return len(self._claims)

    def begin(self, delivery: Delivery) -> None:
        """Start to work on a delivery."""
        claim = Claim(delivery, self._loop.time())
        claim.task = self._loop.create_task(self._handle(claim))
        claim.task.add_done_callback(self._end)
        self._claims[claim.task] = claim

    def _end(self, task: asyncio.Task[Any]) -> None:
        claim = self._claims.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            known = {"error": str(error)} if isinstance(error, Refused) else {"exc_info": error}
            log.error(
                "a delivery could not be settled; it is delivered again when its claim lapses",
                code="delivery-unsettled",
                **claim.facts,
                **known,
            )

    async def keep(self) -> None:
        """Extend every claim each third of ackWait, forever; each twelfth while the bus is unavailable."""
        ack_wait = self._settings.ack_wait.total_seconds()
        pause = ack_wait / 3
        while True:
            await asyncio.sleep(pause)
            kept = await asyncio.gather(*(self._extend(claim, ack_wait / 3) for claim in self._claims.values()))
            pause = ack_wait / 3 if all(kept) else ack_wait / 12

    async def _extend(self, claim: Claim, deadline: float) -> bool:
        try:
            async with asyncio.timeout(deadline):
                await claim.extend()
        except ClaimLost:
            if claim.phase != "settling" and not claim.task.done():  # a settlement notices it without help
                claim.lost = True
                claim.task.cancel()
        except (Unavailable, Refused, TimeoutError):  # Refused also ends the subscription
            return False
        except Exception:  # extending must go on
            log.exception("a claim could not be extended", code="claim-unextended", **claim.facts)
            return False
        return True

    async def drain(self, hurry: asyncio.Event | None = None) -> None:
        """Let running triggers finish within the grace period, return the rest, and wait for the settlements.

        With ``hurry``, only that hurries: until it is set, what runs has `PATIENCE` seconds, and settlements as long as
        the bus takes.
        """
        try:
            for claim in self._claims.values():
                claim.returning = True
                if claim.phase == "waiting":
                    claim.task.cancel()
            if hurry:
                await self._idle_or(hurry, PATIENCE)
                if not hurry.is_set():
                    self._interrupt()
                    await self._idle_or(hurry, None)
            await self._idle(self._settings.grace)
            self._interrupt()
            await self._idle(self._settings.settle)
            if self._claims:
                log.warning(
                    "stopped before the bus answered; these deliveries are delivered again",
                    code="deliveries-unsettled",
                    count=len(self._claims),
                )
        finally:  # also when the drain itself is cancelled
            for task in self._claims:
                task.cancel()
        await self._idle(_CANCELLED)

    def _interrupt(self) -> None:
        for claim in self._claims.values():
            if claim.phase != "settling":
                claim.task.cancel()

    async def _idle_or(self, hurry: asyncio.Event, timeout: float | None) -> None:
        """Wait until nothing is in flight, or ``hurry`` is set."""
        hurried = asyncio.create_task(hurry.wait())
        try:
            idle = asyncio.create_task(self._idle(timeout))
            await asyncio.wait({idle, hurried}, return_when=asyncio.FIRST_COMPLETED)
            idle.cancel()
        finally:
            hurried.cancel()

    async def _idle(self, timeout: float | None) -> None:
        if self._claims:
            await asyncio.wait(list(self._claims), timeout=timeout)
