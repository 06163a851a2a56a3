"""Says at debug level what becomes of a delivery, and what it waits for. `Settings.debug` is asked before."""

from __future__ import annotations

import structlog

from kubecdc.workers.attempt import log_fields
from kubecdc.workers.breaker import Breaker
from kubecdc.workers.claim import Claim
from kubecdc.workers.route import Route
from kubecdc.workers.settlement import Ack, DeadLetter, Nack, Settlement

log = structlog.get_logger()


def matched(claim: Claim, route: Route, breaker: Breaker) -> None:
    """Nothing left the event out: it is the turn of its trigger, now or later."""
    waits = ["the breaker"] if breaker.open else []
    waits += ["rateLimit"] if route.rate else []
    log.debug("the event is for the trigger", code="delivery-matched", waits_for=waits, **log_fields(claim, route))


def kept(claim: Claim, route: Route) -> None:
    """Its conditions are not met yet."""
    log.debug("the event waits for others of the conditions", code="delivery-kept", **log_fields(claim, route))


def settled(claim: Claim, route: Route, settlement: Settlement) -> None:
    """The bus knows what becomes of it. A dead letter has a line of its own."""
    match settlement:
        case Ack():
            log.debug("the event is done", code="delivery-done", **log_fields(claim, route))
        case Nack(delay):
            text = "the event is delivered again after a delay, and before the next one of its object"
            log.debug(text, code="delivery-delayed", seconds=round(delay, 3), **log_fields(claim, route))
        case DeadLetter():
            pass
