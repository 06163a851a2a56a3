"""The main path of the workers.

receive -> match dependency -> transform -> filter -> join -> turn -> parameters -> execute -> settle

``Delivery -> TriggerRequest -> Outcome -> Settlement``, each a value. One `consume` per trigger of a Sensor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from kubecdc.counts import counted
from kubecdc.errors import Refused
from kubecdc.storage.contracts import Subscription
from kubecdc.storage.contracts.errors import ClaimLost, Undecodable
from kubecdc.storage.contracts.event import Event
from kubecdc.workers import dead_letter, explanation, filtering, locked, outdated, traces
from kubecdc.workers.attempt import attempt, log_fields, prepared
from kubecdc.workers.breaker import Breaker, Overdue
from kubecdc.workers.claim import Claim, InFlight
from kubecdc.workers.joining import join
from kubecdc.workers.outcome import Failure, Retry, Success
from kubecdc.workers.route import Route
from kubecdc.workers.scripts.process import Interrupted, ScriptError
from kubecdc.workers.sensor.parameters import ParameterError
from kubecdc.workers.settings import Settings
from kubecdc.workers.settlement import Ack, DeadLetter, Nack, Settlement, age, decide, persist, settle

log = structlog.get_logger()


async def consume(
    subscription: Subscription,
    route: Route,
    settings: Settings,
    *,
    stop: asyncio.Event,
    breaker: Breaker | None = None,
    hurry: Callable[[], asyncio.Event | None] = lambda: None,
) -> None:
    """Work on a subscription until ``stop`` is set (or the caller cancels), then drain.

    The subscriptions of a trigger share its ``breaker``. ``hurry`` is asked at the end for that of `InFlight.drain`.

    The subscription was opened with a prefetch of ``settings.concurrency``: the bus hands out no more than that at a
    time, and only the next event of each partitionkey.
    """
    breaker = breaker or breaker_of(route, settings)
    handle = partial(_handle, subscription, route, settings, breaker)
    in_flight = InFlight(traces.traced(handle, route), settings, route.metrics)

    async def receive() -> None:
        async for delivery in subscription.deliveries():
            in_flight.begin(delivery)

    receiver, keeper = asyncio.create_task(receive()), asyncio.create_task(in_flight.keep())
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((receiver, stopped), return_when=asyncio.FIRST_COMPLETED)
    finally:
        receiver.cancel()
        stopped.cancel()
        try:
            handed_back = asyncio.wait((receiver, stopped), timeout=settings.grace + settings.settle)
            await asyncio.gather(in_flight.drain(hurry()), handed_back)
        finally:
            keeper.cancel()
            in_flight.uncount()
    if receiver.done() and not receiver.cancelled():
        receiver.result()  # an error of the bus that is not an outage


def breaker_of(route: Route, settings: Settings, opened: Callable[[str], None] | None = None) -> Breaker:
    """A new breaker for the trigger of a route. Called within a running event loop."""
    names, now = {"sensor": route.sensor, "trigger": route.name}, asyncio.get_running_loop().time
    breaker = Breaker(settings.backoff, names=names, now=now, opened=opened)
    route.metrics.breaker_open = lambda: breaker.open
    return breaker


async def _handle(
    subscription: Subscription, route: Route, settings: Settings, breaker: Breaker, claim: Claim
) -> Settlement | None:
    """Handle one delivery, from its claim to its settlement. None: the claim was lost."""
    try:
        settlement = await _process_safely(claim, subscription, route, settings, breaker)
        claim.values = None  # an event is many times as large decoded, and the bus may take its time
        claim.phase = "settling"
        acked = isinstance(settlement, Ack)
        if acked:
            route.acks.add(claim.task)
        await settle(claim.delivery, settlement)
        route.metrics.settled(settlement)
        if settings.debug:
            explanation.settled(claim, route, settlement)
        if acked:
            route.metrics.acked(claim.delivery.event, settings.wall())
            if claim.joined:
                await claim.joined.acked()
    except ClaimLost:
        route.metrics.lost()
        log.warning(
            "the claim of a delivery was lost; it is delivered again", code="claim-lost", **log_fields(claim, route)
        )
        return None
    finally:
        route.acks.discard(claim.task)
    if isinstance(settlement, DeadLetter):
        log.error("dead letter", code="dead-letter", reason=settlement.reason, **log_fields(claim, route))
    return settlement


async def _process_safely(
    claim: Claim, subscription: Subscription, route: Route, settings: Settings, breaker: Breaker
) -> Settlement:
    """`_process` and the dlqTrigger. `InFlight` may cancel them: then the delivery is lost, or returned."""
    try:
        settlement = await _process(claim, subscription, route, settings, breaker)
        if isinstance(settlement, DeadLetter) and route.dlq is not None:
            return await dead_letter.announced(settlement, claim, route.dlq, settings)
        return settlement
    except (ClaimLost, Refused):
        raise
    except (asyncio.CancelledError, Exception):
        if claim.lost:
            raise ClaimLost("the claim lapsed") from None
        if claim.returning and claim.task.cancelling():
            if claim.phase == "started":
                claim.delivery.withdraw()  # a stop is no attempt
            return Nack(0.0)
        raise


async def _process(
    claim: Claim, subscription: Subscription, route: Route, settings: Settings, breaker: Breaker
) -> Settlement:
    """The settlement of a delivery. Raises ClaimLost."""
    try:
        event = claim.delivery.event
    except Undecodable as e:
        return DeadLetter(str(e))
    if event.encryptionkey:
        return locked.wait(event, claim, route, settings)
    if not route.matches(event):
        return await outdated.not_of_dependency(claim, event, subscription, route)
    if 0 < settings.max_deliveries < claim.counted:
        return DeadLetter(
            f"gave up after {counted(claim.attempt - 1, 'attempt')}: {_why_none_is_left(claim, settings)}"
        )
    try:
        if route.transforms:
            event = await route.transformed(event, settings.scripts)
        values = claim.values = route.values(event)
        if route.filters.given:
            left_out = await filtering.left_out(claim, event, values, route, settings)
            if left_out:
                return left_out
        if route.half_met:
            async with filtering.Counted(claim.delivery, event):
                key = await prepared(partial(route.key, values), values, route, settings)
                hold = partial(claim.hold, settings.ack_wait)
                claim.joined = await join(event, values, key, route.half_met, hold)
            if claim.joined.found is None:
                if settings.debug:
                    explanation.kept(claim, route)
                return Ack()
    except (ScriptError, ParameterError) as e:
        return DeadLetter(str(e))
    except (ClaimLost, Refused):
        raise
    except Exception as e:
        if claim.task.cancelling():
            raise
        retry = _interrupted(e, claim, route)
        await persist(claim.delivery.start)  # it counts as an attempt: the event may be what this is due to
        claim.phase = "started"
        return await _not_done(retry, claim, event, subscription, route, settings)
    if settings.debug:
        explanation.matched(claim, route, breaker)
    claim.phase = "waiting"
    try:
        is_probe = breaker.open and await breaker.turn(settings.left(event))
    except Overdue:
        return DeadLetter(f"gave up after {counted(claim.attempt - 1, 'attempt')}, {age(settings)}: {breaker.reason}")
    try:
        if route.rate:
            await route.rate.turn()
        claim.phase = "received"
        if claim.returning:
            return Nack(0.0)
        await persist(claim.delivery.start)
        claim.phase = "started"
        outcome = await attempt(event, values, route, settings, claim, once=is_probe, placed=True)
        breaker.ended(event.partitionkey, outcome, probe=is_probe)
    finally:
        if is_probe:
            breaker.leave()
    if isinstance(outcome, Success):
        route.retry_reason = ""
        if claim.joined:
            await claim.joined.fired()
        return Ack()
    _tell_failure(outcome, claim, route, breaker)
    return await _not_done(outcome, claim, event, subscription, route, settings)


def _tell_failure(outcome: Failure | Retry, claim: Claim, route: Route, breaker: Breaker) -> None:
    """Log why the trigger failed, if it may work later: once, not for each event that waits."""
    if isinstance(outcome, Retry):
        known = breaker.open or outcome.reason == route.retry_reason
        (log.debug if known else log.warning)(
            "the trigger failed", code="trigger-failed", reason=outcome.reason, **log_fields(claim, route)
        )
    route.retry_reason = outcome.reason if isinstance(outcome, Retry) else ""


def _interrupted(error: Exception, claim: Claim, route: Route) -> Retry:
    """What an error before the attempt comes to."""
    names = log_fields(claim, route)
    if isinstance(error, Interrupted):
        log.warning("a script did not run to its end", code="script-interrupted", reason=str(error), **names)
        return Retry(str(error), ours=error.ours)
    log.error("the event failed unexpectedly before its trigger", code="event-failed", exc_info=error, **names)
    return Retry(f"{type(error).__name__}: {error}")


async def _not_done(
    outcome: Failure | Retry, claim: Claim, event: Event, subscription: Subscription, route: Route, settings: Settings
) -> Settlement:
    successes = await _successes(subscription, route) if isinstance(outcome, Retry) else 0
    return decide(outcome, claim.attempt, claim.delivery.failures, successes, settings, settings.left(event))


async def _successes(subscription: Subscription, route: Route) -> int:
    """`Subscription.successes` after a failure. Acks under way are from before it: they must not seem to come later."""
    if route.acks:
        await asyncio.wait(route.acks)
    return await persist(subscription.successes)


def _why_none_is_left(claim: Claim, settings: Settings) -> str:
    """Why an event comes back after its last attempt, which makes a dead letter of it if it ends."""
    if claim.counted - 1 > settings.max_deliveries:
        return f"maxDeliveries was lowered to {settings.max_deliveries} since"
    return "the last did not end, its worker died or was stopped; or maxDeliveries was lowered since"
