"""The main path of the workers.

receive -> match dependency -> transform -> filter -> turn -> parameters -> execute -> settle

``Delivery -> TriggerRequest -> Outcome -> Settlement``, each a value. One `consume` per trigger of a Sensor.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from kubecdc.cluster import open_files
from kubecdc.errors import Refused
from kubecdc.storage.contracts import Subscription
from kubecdc.storage.contracts.errors import ClaimLost, Undecodable
from kubecdc.storage.contracts.event import Event
from kubecdc.workers import filtering, retry
from kubecdc.workers.breaker import Breaker, Overdue
from kubecdc.workers.claim import Claim, InFlight
from kubecdc.workers.computing import compute
from kubecdc.workers.joining import join
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.route import Route
from kubecdc.workers.scripts.process import Interrupted, ScriptError
from kubecdc.workers.sensor.parameters import ParameterError, Values
from kubecdc.workers.settings import Settings
from kubecdc.workers.settlement import Ack, DeadLetter, Nack, Settlement, age, decide, persist, settle

log = structlog.get_logger()
PREPARING = 30.0  # seconds for the request of a large event
OUTDATED_SECONDS = 2.0  # until an event that waits for a worker with another manifest is delivered again


async def consume(
    subscription: Subscription, route: Route, settings: Settings, *, stop: asyncio.Event, breaker: Breaker | None = None
) -> None:
    """Work on a subscription until ``stop`` is set (or the caller cancels), then drain.

    The subscriptions of a trigger share its ``breaker``.

    The subscription was opened with a prefetch of ``settings.concurrency``: the bus hands out no more than that at a
    time, and only the next event of each partitionkey.
    """
    breaker = breaker or breaker_of(route, settings)
    handle = partial(_handle, subscription=subscription, route=route, settings=settings, breaker=breaker)
    in_flight = InFlight(handle, settings, route.metrics)

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
            await asyncio.gather(in_flight.drain(), handed_back)
        finally:
            keeper.cancel()
    if receiver.done() and not receiver.cancelled():
        receiver.result()  # an error of the bus that is not an outage


def breaker_of(route: Route, settings: Settings) -> Breaker:
    """A new breaker for the trigger of a route. Called within a running event loop."""
    names, now = {"sensor": route.sensor, "trigger": route.name}, asyncio.get_running_loop().time
    return Breaker(settings.backoff, route.metrics.breaker_open, names=names, now=now)


async def _handle(
    claim: Claim, *, subscription: Subscription, route: Route, settings: Settings, breaker: Breaker
) -> None:
    """Handle one delivery, from its claim to its settlement."""
    try:
        settlement = await _process_safely(claim, subscription, route, settings, breaker)
        claim.phase = "settling"
        if isinstance(settlement, Ack):
            route.acks.add(claim.task)
            claim.task.add_done_callback(route.acks.discard)
        await settle(claim.delivery, settlement)
        if claim.joined and isinstance(settlement, Ack):
            await claim.joined.acked()
    except ClaimLost:
        route.metrics.claims_lost.inc()
        log.warning("the claim of a delivery was lost; it is delivered again", **_names(claim, route))
        return
    if isinstance(settlement, DeadLetter):
        route.metrics.dead_letters.inc()
        log.error("dead letter", reason=settlement.reason, **_names(claim, route))


async def _process_safely(
    claim: Claim, subscription: Subscription, route: Route, settings: Settings, breaker: Breaker
) -> Settlement:
    """`_process`, which `InFlight` may cancel: then the delivery is lost, or returned."""
    try:
        return await _process(claim, subscription, route, settings, breaker)
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
    if not route.matches(event):
        return await _not_of_dependency(claim, event, subscription, route)
    if 0 < settings.max_deliveries < _counted(claim):
        return DeadLetter(f"gave up after {claim.attempt - 1} attempts: {_why_none_is_left(claim, settings)}")
    try:
        event = await route.transformed(event, settings.scripts)
        values = route.values(event)
        if route.filters.given:
            left_out = await filtering.left_out(event, values, route, settings, _names(claim, route))
            if left_out:
                return left_out
        if route.half_met:
            key = await _prepared(partial(route.key, values), event, values, route, settings)
            claim.joined = await join(event, values, key, route.half_met)
            if claim.joined.found is None:
                return Ack()
    except (ScriptError, ParameterError) as e:
        return DeadLetter(str(e))
    except Interrupted as e:
        await persist(claim.delivery.start)  # it counts as an attempt: the event may be what ends the process
        claim.phase = "started"
        log.warning("a script was not run to its end", reason=str(e), **_names(claim, route))
        return await _decided(Retry(str(e), ours=e.ours), claim, event, subscription, route, settings)
    claim.phase = "waiting"
    try:
        async with breaker.turn(settings.left(event)) as is_probe:
            claim.phase = "received"
            if claim.returning:
                return Nack(0.0)
            await persist(claim.delivery.start)
            claim.phase = "started"
            outcome = await _attempt(claim, event, values, route, settings, once=is_probe)
            breaker.ended(event.partitionkey, outcome, probe=is_probe)
    except Overdue:
        return DeadLetter(f"gave up after {claim.attempt - 1} attempts, {age(settings)}: {breaker.reason}")
    if isinstance(outcome, Retry):
        known = breaker.open or outcome.reason == route.retry_reason  # said once, not for each event that waits
        (log.debug if known else log.warning)("the trigger failed", reason=outcome.reason, **_names(claim, route))
    route.retry_reason = outcome.reason if isinstance(outcome, Retry) else ""
    return await _decided(outcome, claim, event, subscription, route, settings)


async def _decided(
    outcome: Outcome, claim: Claim, event: Event, subscription: Subscription, route: Route, settings: Settings
) -> Settlement:
    successes = await _successes(subscription, route) if isinstance(outcome, Retry) else 0
    if claim.joined and isinstance(outcome, Success):
        await claim.joined.fired()
    return decide(outcome, claim.attempt, claim.delivery.failures, successes, settings, settings.left(event))


async def _successes(subscription: Subscription, route: Route) -> int:
    """`Subscription.successes` after a failure. Acks under way are from before it: they must not seem to come later."""
    if route.acks:
        await asyncio.wait(route.acks)
    return await persist(subscription.successes)


async def _attempt(
    claim: Claim, event: Event, values: Values, route: Route, settings: Settings, *, once: bool
) -> Outcome:
    """Run the trigger for the event. An error that is nobody's outcome is a failed attempt."""
    try:
        prepare = partial(route.request, event, values, attempt=claim.attempt)
        request = await _prepared(prepare, event, values, route, settings)
        outcome = await retry.execute(partial(_execute, route, request), None if once else route.retry_strategy)
    except ParameterError as e:
        return Failure(str(e))
    except (asyncio.CancelledError, Exception) as e:
        if claim.task.cancelling():
            raise
        log.exception("the trigger failed unexpectedly", **_names(claim, route))
        outcome = Retry(f"{type(e).__name__}: {e}")
    if isinstance(outcome, Retry) and open_files.exhausted():
        return Retry(f"this process has no file descriptor left: {outcome.reason}", outcome.after, ours=True)
    return outcome


def _counted(claim: Claim) -> int:
    """The attempts that count, with the one that would begin now."""
    return claim.attempt - claim.delivery.failures.uncounted


async def _prepared(prepare: Callable[[], Any], event: Event, values: Values, route: Route, settings: Settings) -> Any:
    """The trigger's request. No event holds up the event loop, however large. Raises ParameterError."""
    try:
        return await compute(prepare, values, route, settings, step="parameters", seconds=PREPARING)
    except TimeoutError:
        raise ParameterError(f"what the parameters ask for takes more than {PREPARING:g} s") from None


def _why_none_is_left(claim: Claim, settings: Settings) -> str:
    """Why an event comes back after its last attempt, which makes a dead letter of it if it ends."""
    if _counted(claim) - 1 > settings.max_deliveries:
        return f"maxDeliveries was lowered to {settings.max_deliveries} since"
    return "the last did not end, its worker died or was stopped; or maxDeliveries was lowered since"


async def _not_of_dependency(claim: Claim, event: Event, subscription: Subscription, route: Route) -> Settlement:
    """Settle an event that is not of the dependency, because that was changed. Such an event is never acked.

    If the bus owes such events now, processes with different manifests are at work: the event waits for a worker that
    has that dependency. Else it was owed under an older dependency, and becomes a dead letter.
    """
    wants = await persist(subscription.registered)
    if not wants or (event.source, event.subject) in {(spec.source, spec.subject) for spec in wants}:
        report = log.debug if route.outdated else log.warning
        report(
            "another process has another dependency for this trigger: its events wait for a worker that has it",
            source=event.source,
            subject=event.subject,
            hint="give all processes the same manifests; what is left of the older dependency becomes dead letters",
            **_names(claim, route),
        )
        route.outdated = True
        return Nack(OUTDATED_SECONDS)
    wanted = f"{route.dependency.event_source_name}/{route.dependency.event_name}"
    return DeadLetter(
        f"the Sensor waits for {wanted} now, and this is an event of {event.source}/{event.subject}, "
        "owed before its dependency was changed"
    )


async def _execute(route: Route, request: Any) -> Outcome:
    """Run the trigger once, and count and measure that."""
    begun = time.perf_counter()
    outcome: Outcome | None = None
    try:
        outcome = await route.trigger.execute(request)
        return outcome
    finally:
        route.metrics.executed(outcome, time.perf_counter() - begun)


def _names(claim: Claim, route: Route) -> dict[str, object]:
    """The fields of every log line about a delivery."""
    return {"sensor": route.sensor, "trigger": route.name, "event_id": claim.event_id, "attempt": claim.attempt}
