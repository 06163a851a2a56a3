"""Events of another dependency than the manifest has: it was changed after they were owed."""

from __future__ import annotations

import structlog

from kubecdc.storage.contracts import Subscription
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.attempt import log_fields
from kubecdc.workers.claim import Claim
from kubecdc.workers.route import Route
from kubecdc.workers.settlement import DeadLetter, Nack, Settlement, persist

log = structlog.get_logger()
SECONDS = 2.0  # until an event that waits for a worker with another manifest is delivered again


async def not_of_dependency(claim: Claim, event: Event, subscription: Subscription, route: Route) -> Settlement:
    """Settle an event that is not of the dependency, because that was changed. Such an event is never acked.

    If the bus owes such events now, processes with different manifests are at work: the event waits for a worker that
    has that dependency. Else it was owed under an older dependency, and becomes a dead letter.
    """
    wants = await persist(subscription.registered)
    if not wants or (event.source, event.subject) in {(spec.source, spec.subject) for spec in wants}:
        report = log.debug if route.outdated else log.warning
        report(
            "another process has a different dependency for this trigger: those events wait for a worker that has it",
            code="dependency-differs",
            source=event.source,
            subject=event.subject,
            hint="give all processes the same manifests; what is left of the older dependency becomes dead letters",
            **log_fields(claim, route),
        )
        route.outdated = True
        return Nack(SECONDS)
    wanted = f"{route.dependency.event_source_name}/{route.dependency.event_name}"
    return DeadLetter(
        f"the Sensor waits for {wanted} now, and this is an event of {event.source}/{event.subject}, "
        "owed before its dependency was changed"
    )
