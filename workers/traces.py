"""The spans of a delivery, from its claim to its settlement, and of each run of a trigger for it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from kubecdc import tracing
from kubecdc.storage.contracts.errors import Undecodable
from kubecdc.workers.claim import Claim
from kubecdc.workers.outcome import Outcome, Success
from kubecdc.workers.route import Route
from kubecdc.workers.settlement import Ack, DeadLetter, Nack, Settlement

Handle = Callable[[Claim], Coroutine[Any, Any, Settlement | None]]


def traced(handle: Handle, route: Route) -> Handle:
    """``handle``, with a span for each delivery; itself unless this process traces."""
    found = tracing.active
    return handle if found is None else _with_span(handle, route, found)


def _with_span(handle: Handle, route: Route, found: tracing.Tracing) -> Handle:
    async def handled(claim: Claim) -> Settlement | None:
        try:
            parent = claim.delivery.event.traceparent
        except Undecodable:
            parent = ""
        about = {"kubecdc.subscription": route.subscription, **_names(route)}
        about |= {f"kubecdc.{name}": value for name, value in claim.facts.items()}
        span = found.begin(f"deliver {route.subscription}", "consumer", about, parent)
        leave = span.enter()
        try:
            settlement = await handle(claim)
        except BaseException as e:
            span.end(failed=type(e).__name__, outcome="unsettled")
            raise
        finally:
            leave()
        match settlement:
            case Ack():
                span.end(outcome="acked")
            case Nack(delay, failures):
                failed = "" if failures is None else "the trigger failed"
                span.tell("delivered again", seconds=delay)
                span.end(failed=failed, outcome="retried" if failures else "returned")
            case DeadLetter(reason):
                span.end(failed=reason, outcome="dead_letter")
            case None:
                span.end(failed="the claim was lost", outcome="lost")
        return settlement

    return handled


class Run:
    """The span of a run of a trigger, tries of its retryStrategy included. It is that of the task meanwhile."""

    __slots__ = ("_leave", "_span")

    def __init__(self, found: tracing.Tracing, claim: Claim, route: Route) -> None:
        about = {**_names(route), "kubecdc.attempt": claim.attempt}
        self._span = found.begin(f"trigger {route.sensor}/{route.name}", "client", about)
        self._leave = self._span.enter()

    def tried(self, outcome: Outcome, tries: int) -> None:
        """A try of its retryStrategy has ended."""
        if not isinstance(outcome, Success):
            self._span.tell("a try failed", reason=outcome.reason, tries=tries)

    def ended(self, outcome: Outcome | None) -> None:
        """It has; without an outcome it was cancelled."""
        self._leave()
        reason = "cancelled" if outcome is None else "" if isinstance(outcome, Success) else outcome.reason
        self._span.end(failed=reason, result="cancelled" if outcome is None else type(outcome).__name__.lower())


def _names(route: Route) -> dict[str, Any]:
    return {"kubecdc.sensor": route.sensor, "kubecdc.trigger": route.name}
