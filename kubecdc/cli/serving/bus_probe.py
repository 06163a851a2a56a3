"""Whether a bus answers, asked again and again."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence

from kubecdc.current import Current
from kubecdc.errors import KubecdcError
from kubecdc.storage.contracts import Bus, SubscriptionSpec

PERIOD_SECONDS = 10.0
ANSWER_SECONDS = 5.0  # less than back ends take to give up: an answer that is as late is none
OLD_SECONDS = 60.0  # an answer from before that says nothing of today


class BusProbe:
    """Asks one bus. ``now`` is a monotonic clock."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._why = "it is not open yet"
        self._asked = math.nan

    @property
    def up(self) -> bool:
        """It answered when it was asked last, lately."""
        return not self.why_not()

    def why_not(self) -> str:
        """Why it does not count as answering; "" if it does. For any thread."""
        age = self._now() - self._asked
        return self._why or (f"it was last asked {age:.0f} s ago" if age > OLD_SECONDS else "")

    async def watch(
        self,
        bus: Bus,
        specs: Current[list[SubscriptionSpec]],
        *,
        period: float = PERIOD_SECONDS,
        most: float = ANSWER_SECONDS,
    ) -> None:
        """Ask periodically. Never returns."""
        while True:
            try:
                async with asyncio.timeout(most):
                    await _ask(bus, specs.value)
                self._why = ""
            except TimeoutError:
                self._why = f"no answer within {most:g} s"
            except KubecdcError as e:
                self._why = str(e)
            self._asked = self._now()
            await asyncio.sleep(period)


async def _ask(bus: Bus, specs: Sequence[SubscriptionSpec]) -> None:
    """Something small that every bus has to look up where it keeps it."""
    if specs:
        await bus.subscription(specs[0].name, prefetch=1).registered()
    else:
        await bus.checkpoints.newest_term()
