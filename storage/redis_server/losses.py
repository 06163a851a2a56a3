"""Reports what somebody has deleted from Redis although a subscription needs it."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from kubecdc.metrics import Counter

log = structlog.get_logger()
GONE = Counter("kubecdc_gone_events", "Events that were gone from the bus before they were settled", ["subscription"])


def report(subscription: str, *, record: bool = False, missing: Sequence[bytes] = (), gone: int = 0) -> None:
    """``record``: that of the subscription was missing.

    ``missing`` are streams that had no consumer group of the subscription, or were not there.
    """
    if record:
        log.warning(
            "the record of a subscription was missing in Redis and is made again",
            code="record-missing",
            subscription=subscription,
            hint="what it is owed was counted again from the bus; find out who deletes keys of the bus",
        )
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
