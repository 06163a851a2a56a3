"""A job that RQ's own worker has begun: what ``kubecdc.rq.handle`` knows of it and tells of it."""

from __future__ import annotations

from kubecdc.storage.contracts import Failures
from kubecdc.storage.contracts.errors import ClaimLost, NoSubscription
from kubecdc.storage.redis_server.connection import Connection
from kubecdc.storage.rq.deliveries.claim import Claim


class RunningJob:
    """`begin` comes first. RQ's worker ends the job; until then its process keeps it, even if RQ's worker dies."""

    def __init__(self, connection: Connection, job: str, worker: str, subscription: str, ack_wait: float) -> None:
        self._connection = connection
        self._job = job
        self._worker = worker
        self._subscription = subscription
        self.wait = int(ack_wait * 1000)

    async def begin(self) -> tuple[Claim, int, int, Failures, str]:
        """The claim of this run, how often the job was received and attempted before, with what was kept, and why it is
        delivered again.

        Raises ClaimLost, NoSubscription, Unavailable.
        """
        id_ = await self._connection.keyed("HGET", "subscriptions", self._subscription)
        if not id_:
            raise NoSubscription.of(self._subscription)
        args = (id_, self._job, self._worker, self.wait)
        answer = await self._connection.run("deliveries/running", *args)
        if answer is None:
            raise NoSubscription.of(self._subscription)
        if answer[0] == b"LOST":
            raise ClaimLost.lapsed(self._job)
        execution, received, attempts, redelivery, *failures = answer
        claim = Claim(self._connection, id_.decode(), self._job, execution.decode(), self._worker)
        return claim, int(received), int(attempts), Failures(*map(int, failures)), redelivery.decode()

    async def stopping(self) -> bool:
        """Whether RQ's worker was told to stop once this job has ended. Raises Unavailable."""
        prefix = await self._connection.keyed("HGET", "meta", "rq")
        key = f"{(prefix or b'rq').decode()}:worker:{self._worker}"
        return bool(await self._connection.command("HEXISTS", key, "shutdown_requested_date"))
