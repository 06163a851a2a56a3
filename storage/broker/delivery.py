"""A message that is handed out, as the contract's `Delivery`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from kubecdc.storage.broker.lanes import Entry
from kubecdc.storage.broker.ledger import Tries
from kubecdc.storage.contracts import ClaimLost, Failures
from kubecdc.storage.delivery import ClaimedDelivery

if TYPE_CHECKING:
    from kubecdc.storage.broker.subscription import BrokerSubscription

Call = Callable[[Entry], Awaitable[None]]


class BrokerDelivery(ClaimedDelivery):
    """Implements `storage.contracts.Delivery`. Once its own deadline has passed, the claim counts as lost.

    The broker may not know better: SQS takes a receipt that has lapsed, although another worker has the message.
    """

    def __init__(self, owner: BrokerSubscription, entry: Entry) -> None:
        tries = entry.tries or Tries()
        super().__init__(
            entry.message.body,
            name=entry.message.id,
            received=int(entry.repeated),
            attempts=tries.attempts,
            failures=tries.failures,
        )
        self._owner = owner
        self._entry = entry
        self._recorded = tries

    async def ack(self) -> None:
        await self._settle("ack", self._ack)

    async def nack(self, delay: timedelta, failures: Failures | None = None) -> None:
        tries = Tries(self._attempted, failures or self.failures)

        async def give_back(entry: Entry) -> None:
            await self._record(tries)
            entry.tries = tries
            await self._owner.nack(entry, delay.total_seconds())

        await self._settle("nack", lambda: self._valid(give_back), delay=delay.total_seconds())

    async def extend(self) -> None:
        await self._while_claimed(lambda: self._valid(self._owner.extend))

    async def dead_letter(self, reason: str) -> None:
        async def give_up(entry: Entry) -> None:
            await self._owner.dead_letter(entry, reason, self._attempted)

        await self._settle("dead letter", lambda: self._valid(give_up))

    async def _ack(self) -> None:
        if self._owner.lapsed(self._entry):
            await self._owner.not_acked(self._entry)
        success = self._started
        await self._valid(lambda entry: self._owner.ack(entry, success=success))

    async def _record_attempt(self) -> None:
        await self._record(Tries(self.attempt, self.failures))

    async def _record(self, tries: Tries) -> None:
        if tries != self._recorded:
            await self._owner.ledger.record(self._entry.message, tries, before=self._recorded)
            self._recorded = tries

    async def _valid(self, call: Call) -> None:
        if self._owner.lapsed(self._entry):
            raise ClaimLost.lapsed(self._entry.message.id)
        await call(self._entry)

    def _closed(self, delay: float | None) -> None:
        self._owner.closed(self._entry, lost=self._settled == "claim lost")
