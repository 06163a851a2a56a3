"""A job that a worker has, and how it is settled in RQ's structures."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from rq.results import Result
from rq.serializers import JSONSerializer

from kubecdc.storage.contracts import Failures
from kubecdc.storage.contracts.errors import ClaimLost
from kubecdc.storage.redis_server.connection import Argument, Connection
from kubecdc.storage.rq import jobs


@dataclass(frozen=True)
class Claim:
    """``subscription`` is its id in the bus, ``execution`` RQ's id of this run, ``worker`` RQ's name of the worker.

    Each call is one script, which checks that the worker still has the job. Each raises ClaimLost, Unavailable.
    """

    connection: Connection
    subscription: str
    job: str
    execution: str
    worker: str

    async def ack(self, *, success: bool) -> bool:
        """Delete the job. Returns whether the next one of its lane may go on."""
        return await self._settle("ack", jobs.time_text(), int(success)) > 0

    async def release(self, delay: float, attempts: int, failures: Failures) -> None:
        """Put the job back at the front of its queue after so many seconds. It keeps its place in its lane."""
        await self._settle("release", int(delay * 1000), attempts, failures.uncounted, failures.successes)

    async def dead_letter(self, reason: str, attempts: int) -> bool:
        """Put the job into RQ's FailedJobRegistry. Returns whether the next one of its lane may go on."""
        packed = zlib.compress(reason.encode(errors="replace"))
        result = _failure(self.job, reason, self.worker)
        fields: list[Argument] = [value for pair in result.items() for value in pair]
        return await self._settle("dead", jobs.time_text(), attempts, reason, packed, *fields) > 0

    async def extend(self, wait: int) -> None:
        """Keep the job for so many milliseconds from now."""
        await self._settle("extend", wait, jobs.time_text())

    async def record_attempts(self, attempts: int, failures: Failures) -> None:
        """Store how many attempts there were, and what is kept of their failures."""
        await self._settle("attempt", attempts, failures.uncounted, failures.successes)

    async def ending(self, attempts: int, reason: str = "", *, success: bool = False) -> None:
        """RQ's own worker is about to end the job: as done, perhaps a ``success``, or for that reason as failed."""
        await self._settle("ending", attempts, reason, int(success))

    async def _settle(self, what: str, *args: Argument) -> int:
        names = (self.subscription, self.job, self.execution, self.worker)
        answer = await self.connection.run("deliveries/settle", *names, what, *args)
        if answer[0] == b"LOST":
            raise ClaimLost.lapsed(self.job)
        return int(answer[1])


def _failure(job: str, reason: str, worker: str) -> dict[str, Any]:
    """The fields of RQ's record of a failure, which its tools show."""
    result = Result(
        job,
        Result.Type.FAILED,
        connection=jobs.OFFLINE,
        exc_string=reason,
        worker_name=worker,
        serializer=JSONSerializer,
    )
    return result.serialize()
