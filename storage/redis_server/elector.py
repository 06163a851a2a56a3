"""Elects the leader: the process whose token is in a key that expires, for as long as it renews the key."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog

from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.retry import until_done
from kubecdc.storage.contracts import LeadTimes, Term, least_term
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.storage.outage import RETRY, until_closed
from kubecdc.storage.redis_server.checkpoints import newest_term
from kubecdc.storage.redis_server.connection import Connection

log = structlog.get_logger()
POLL = 0.2  # seconds between two attempts to take the lead
RELEASE = 2.0  # seconds: a process that is told to stop must stop, whether or not Redis answers


class RedisElector:
    """`storage.contracts.Elector`. While it leads, it also runs the housekeeping of the bus, which never returns.

    A leader that cannot renew is cancelled before another process can lead, and its block raises LeadershipLost. Terms
    fence an old leader in any case.
    """

    def __init__(
        self,
        connection: Connection,
        housekeeping: Callable[[], Coroutine[Any, Any, None]],
        settings: LeadTimes,
        holder: str,
        now: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._housekeeping = housekeeping
        self._kept = int(settings.duration.total_seconds() * 1000)
        self._trust = settings.deadline.total_seconds()
        self._period = settings.period.total_seconds()
        self._holder = holder
        self._now = now
        self._sent = 0.0  # when the last renewal that succeeded was sent

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[Term]:
        """Wait until no other process leads.

        The end of the block hands the lead over. Raises LeadershipLost from it.
        """
        token = secrets.token_hex(8)
        try:
            term = await self._take(token)
        except asyncio.CancelledError:
            await self._release(token)  # the lead may be ours, and only the reply is missing
            raise
        log.info("leading", code="leading", term=term.number, holder=self._holder)
        task = asyncio.current_task()
        assert task is not None
        lost: list[str] = []

        async def hold() -> None:
            lost.append(await self._hold(token))
            task.cancel()

        helpers = [asyncio.create_task(hold()), asyncio.create_task(self._housekeeping())]
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

    def _left(self) -> float:
        """For how many seconds from now this process may act."""
        return self._sent + self._trust - self._now()

    async def _take(self, token: str) -> Term:
        report = until_closed("cannot begin a term", lambda: self._connection.ending, code="term-unbegun")
        standing_by = False

        async def attempt() -> tuple[int, bytes, float]:
            while True:
                sent = self._now()
                epoch, leader = await self._connection.run(
                    "commits/lead", token, self._holder, self._kept, least_term()
                )
                if not epoch or await newest_term(self._connection) <= epoch:
                    return epoch, leader, sent

        while True:
            epoch, leader, self._sent = await until_done(attempt, RETRY, report=report)
            if epoch:
                return Term(epoch, self._holder, self._left, self._trust - self._period)
            if not standing_by:
                standing_by = True
                log.info("standing by", code="standing-by", leader=leader.decode(errors="replace"), holder=self._holder)
            await asyncio.sleep(POLL)

    async def _release(self, token: str) -> None:
        with suppress(KubecdcError, TimeoutError):  # then the key expires
            async with asyncio.timeout(RELEASE):
                await self._connection.run("commits/renew", token, 0)

    async def _hold(self, token: str) -> str:
        """Renew until that is not possible any more. Returns the reason."""
        while True:
            await asyncio.sleep(self._period)
            begin = self._now()
            try:
                async with asyncio.timeout(max(0.0, self._left())):
                    if not await self._connection.run("commits/renew", token, self._kept):
                        return "another process has taken the lead in Redis, or the lead has expired"
                self._sent = begin
            except (Unavailable, TimeoutError) as e:
                if self._left() <= 0:
                    return f"the lead in Redis could not be renewed: {str(e) or 'no answer in time'}"
            except KubecdcError as e:  # no retry helps: the next attempt to take the lead raises it, with its hint
                return f"the lead in Redis could not be renewed: {e}"
