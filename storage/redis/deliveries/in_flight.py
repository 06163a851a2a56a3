"""The deliveries that are handed out here and not settled."""

from __future__ import annotations

import math
from collections.abc import Callable

from kubecdc.storage.redis.deliveries.delivery import RedisDelivery
from kubecdc.storage.redis.deliveries.lanes import Entry


class InFlight:
    """At most ``limit`` deliveries. They outlive the loss of their partition, since their claims do."""

    def __init__(self, limit: int, now: Callable[[], float]) -> None:
        self._limit = limit
        self._now = now
        self._deliveries: dict[tuple[str, bytes], RedisDelivery] = {}
        self.first_lapse = math.inf  # no claim lapses before this time

    def __len__(self) -> int:
        return len(self._deliveries)

    @property
    def full(self) -> bool:
        """Nothing more may be handed out."""
        return len(self._deliveries) >= self._limit

    def entry(self, at: tuple[str, bytes]) -> Entry | None:
        """The entry of that stream and id, if it is handed out."""
        delivery = self._deliveries.get(at)
        return delivery.entry if delivery else None

    def of(self, partition: int) -> list[tuple[str, bytes, float]]:
        """The entries of a partition, as stream and id, each with the seconds for which its claim still holds."""
        deliveries = self._deliveries.items()
        return [(*at, delivery.left) for at, delivery in deliveries if delivery.entry.partition == partition]

    def add(self, delivery: RedisDelivery) -> None:
        """It is handed out."""
        self._deliveries[delivery.entry.at] = delivery
        if delivery.until < self.first_lapse:
            self.first_lapse = delivery.until

    def remove(self, delivery: RedisDelivery) -> None:
        """It is settled, or its claim is lost."""
        at = delivery.entry.at
        if self._deliveries.get(at) is delivery:
            del self._deliveries[at]

    def let_lapse(self) -> None:
        """Close the deliveries whose claim has passed."""
        now = self._now()
        if now <= self.first_lapse:
            return
        for delivery in [delivery for delivery in self._deliveries.values() if delivery.until < now]:
            delivery.lapse()
        self.first_lapse = min((delivery.until for delivery in self._deliveries.values()), default=math.inf)
