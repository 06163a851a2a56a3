"""Who leads: the process whose token is in a key that expires, for as long as it renews it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog

from kubecdc.backoff import Backoff
from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.contracts import LeadTimes, Term
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.storage.redis.administration.retention import Retention
from kubecdc.storage.redis.server.connection import Connection

log = structlog.get_logger()
POLL = 0.2  # seconds between two tries to take it
RELEASE = 2.0  # seconds: a process that is told to go must go, whether or not Redis answers
RETRY = Backoff(duration=0.1, cap=5.0)


class RedisElector:
    """`storage.contracts.Elector`. While it leads, it also keeps the bus tidy.

    A leader that cannot renew is cancelled before another can lead: its block raises LeadershipLost. The terms fence
    in any case.
    """

    def __init__(
        self,
        connection: Connection,
        retention: Retention,
        settings: LeadTimes,
        holder: str,
        now: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._retention = retention
        self._kept = int(settings.duration.total_seconds() * 1000)
        self._trust = settings.deadline.total_seconds()
        self._period = settings.period.total_seconds()
        self._holder = holder
        self._now = now

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[Term]:
        """Wait until nobody else leads; it is handed over at the end of the block. Raises LeadershipLost from it."""
        token = secrets.token_hex(8)
        try:
            term, sent = await self._take(token)
        except asyncio.CancelledError:
            await self._release(token)  # it may be ours, and only the reply is missing
            raise
        log.info("leading", term=term.number, holder=self._holder)
        task = asyncio.current_task()
        assert task is not None
        lost: list[str] = []

        async def hold() -> None:
            lost.append(await self._hold(token, sent))
            task.cancel()

        helpers = [asyncio.create_task(hold()), asyncio.create_task(self._retention.run())]
        try:
            yield term
        except asyncio.CancelledError:
            if lost and task.uncancel() == 0:
                raise LeadershipLost(lost[0]) from None
            raise
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            if not lost:
                await self._release(token)

    async def _take(self, token: str) -> tuple[Term, float]:
        failures, said = 0, False
        while True:
            sent = self._now()
            try:
                epoch, leader = await self._connection.run("commits/lead", token, self._holder, self._kept)
            except Unavailable as e:
                if self._connection.ending:
                    raise
                failures += 1
                if failures == 1:
                    log.warning("cannot begin a term", error=str(e), hint=e.hint)
                await asyncio.sleep(RETRY.delay(failures))
                continue
            if epoch:
                return Term(int(epoch), self._holder), sent
            if not said:
                said = True
                log.info("standing by", leader=leader.decode(errors="replace"), holder=self._holder)
            await asyncio.sleep(POLL)

    async def _release(self, token: str) -> None:
        with suppress(KubecdcError, TimeoutError):  # then it expires
            async with asyncio.timeout(RELEASE):
                await self._connection.run("commits/renew", token, 0)

    async def _hold(self, token: str, sent: float) -> str:
        """Renew until that is not possible any more; returns why."""
        while True:
            await asyncio.sleep(self._period)
            begin = self._now()
            try:
                async with asyncio.timeout(max(0.0, sent + self._trust - begin)):
                    if not await self._connection.run("commits/renew", token, self._kept):
                        return "the lead in Redis is not ours any more"
                sent = begin
            except (Unavailable, TimeoutError) as e:
                if self._now() >= sent + self._trust:
                    return f"the lead in Redis could not be renewed: {str(e) or 'no answer in time'}"
            except KubecdcError as e:  # it will not be: whoever takes the lead next says it as it should be said
                return f"the lead in Redis could not be renewed: {e}"
