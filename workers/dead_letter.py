"""The dlqTrigger, which runs for an event that becomes a dead letter, before the dead letter is settled.

If the process dies meanwhile, the event is delivered again: the trigger is tried once more, and then the dlqTrigger.
So no dead letter goes unannounced, but one may be announced twice. Whether the dlqTrigger succeeds or fails, the event
is a dead letter.
"""

from __future__ import annotations

import structlog

from kubecdc.storage.contracts.errors import Undecodable
from kubecdc.workers.attempt import attempt, log_fields
from kubecdc.workers.claim import Claim
from kubecdc.workers.outcome import Success
from kubecdc.workers.route import Route
from kubecdc.workers.settings import Settings
from kubecdc.workers.settlement import DeadLetter, persist

log = structlog.get_logger()
MORE = 3  # attempts beyond maxDeliveries in which the dlqTrigger of an event that ends its worker is tried


async def announced(letter: DeadLetter, claim: Claim, dlq: Route, settings: Settings) -> DeadLetter:
    """The dead letter, after its dlqTrigger has run as its retryStrategy says. Raises ClaimLost."""
    try:
        values = claim.values or dlq.values(claim.delivery.event)
    except Undecodable:
        return letter  # there is nothing that a trigger could be given
    attempts = claim.attempt
    if claim.phase != "started":  # it is given up without an attempt
        attempts -= 1
        if 0 < settings.max_deliveries < claim.counted - MORE:
            return DeadLetter(f"{letter.reason}; its dlqTrigger was started {MORE} times and never ended")
        await persist(claim.delivery.start)  # what ends the process now is counted
        claim.phase = "started"
    values.annotate({"error": letter.reason, "attempts": attempts})
    outcome = await attempt(values.event, values, dlq, settings, claim)
    if isinstance(outcome, Success):
        return letter
    log.error("the dlqTrigger failed too", code="dlq-trigger-failed", reason=outcome.reason, **log_fields(claim, dlq))
    return DeadLetter(f"{letter.reason}; its dlqTrigger failed too: {outcome.reason}")
