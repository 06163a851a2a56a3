"""Reports what somebody has deleted from Redis although a subscription needs it."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from kubecdc.metrics import Counter

log = structlog.get_logger()
GONE = Counter("kubecdc_gone_events", "Events that were gone from the bus before they were settled", ["subscription"])


def report(subscription: str, *, missing: Sequence[bytes] = (), gone: int = 0) -> None:
    """``missing`` are streams that had no consumer group of the subscription, or were not there."""
    if missing:
        log.warning(
            "consumer groups were missing in Redis and are made again",
            code="groups-missing",
            subscription=subscription,
            streams=[name.decode() for name in missing],
            hint="what the streams still have is delivered, perhaps again; find out who deletes keys of the bus",
        )
    if gone:
        GONE.at(subscription).value += gone
        log.warning(
            "gap in a subscription: events that it had not settled are gone",
            code="events-gone",
            subscription=subscription,
            events=gone,
            hint="find out who deletes events of the bus, or acks them in another way than docs/consumers.md says",
        )
