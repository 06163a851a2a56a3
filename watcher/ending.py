"""The end of a watch whose place is no longer meant. It is read to its end first: nothing is dropped unrecorded."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from kubecdc.cluster.errors import ApiError, Expired
from kubecdc.cluster.list_watch import Api, Silence
from kubecdc.cluster.versions import older, well_formed
from kubecdc.storage.contracts import Gap
from kubecdc.watcher.capture.checkpoint_writer import Journal
from kubecdc.watcher.capture.gap import report
from kubecdc.watcher.capture.relist import EXPIRED, LEFT, leave, of
from kubecdc.watcher.pipeline import BACKOFF, Watch

WATCH_SECONDS = (3.0, 3.0)  # a bookmark comes 2 s before the end of a watch: here soon, also where nothing happens
PATIENCE_SECONDS = 15.0  # without coming nearer to the end
UNREACHED = "the API server did not show the end of history in time"
UNREADABLE = "history may no longer be read"
UNORDERED = "versions that cannot be compared"


async def end(watch: Watch, journal: Journal) -> None:
    """Commit what changed up to now, then announce the end of every object known.

    What history no longer has is a gap. May be interrupted at any point, and repeated. Raises ApiError, Malformed,
    Unavailable, CommitMismatch, LeadershipLost.
    """
    if journal.state.listing != LEFT:  # else it was read to the end before
        gap = await read_to_end(watch, journal)
        # Marked first: should it be selected again before this is through, it is listed and compared.
        await journal.commit(listing=LEFT, gap=gap)
        if gap is not None:
            await report(gap, watch.entry, watch.api.cluster, watch.notices)
    await leave(journal, watch.api, watch.notices)


async def read_to_end(watch: Watch, journal: Journal) -> Gap | None:
    """Commit what came up to the version at which the server stands now. If that fails for good, the gap to record."""
    target, reason = "", ""
    patience = Patience(PATIENCE_SECONDS)
    while not reason:
        try:
            reason = await watch.due(journal)
            if not target:
                target = (await Api(watch.api.cluster, of(journal.state.selection)).page(limit=1)).version
            position = journal.state.position
            if not reason:
                if reached(position, target):
                    return None
                reason = _hopeless(position, target, patience)
            if not reason:
                lasted = await watch.stream(journal, watch.api.watch(position, WATCH_SECONDS), until=target)
                if watch.closed_at_once(lasted):
                    await asyncio.sleep(BACKOFF.delay(1))
        except Expired:
            reason = EXPIRED
        except Silence:
            pass  # the connection may be dead: another one is opened
        except ApiError as e:
            if e.status not in {403, 404}:
                raise
            # A deleted namespace takes its RoleBindings along, so this is not waited for without end; an API server
            # that has just started may say so for a moment, so it is not believed at once.
            if not reason and patience.is_over(journal.state.position):
                reason = UNREADABLE
            elif not reason:
                await asyncio.sleep(BACKOFF.delay(1))
    known = (await journal.inventory()).values()
    ends = sum(watch.entry.wants("DELETE", passed=k.passed) for k in known)
    since = journal.state.position
    return Gap(reason, since, target or since, datetime.now(UTC).isoformat(), ends)


def reached(position: str, target: str) -> bool:
    """Whether a watch that stands at the position is known to have come to the target."""
    return position == target or older(target, position)


def _hopeless(position: str, target: str, patience: Patience) -> str:
    """Why not to go on reading; "" if there is hope."""
    if not (well_formed(position) and well_formed(target)):
        return UNORDERED
    return UNREACHED if patience.is_over(position) else ""


class Patience:
    """For how long a position may stand still."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._position = ""
        self._since = time.monotonic()

    def is_over(self, position: str) -> bool:
        """Whether it has stood there for so long."""
        if position != self._position:
            self._position, self._since = position, time.monotonic()
        return time.monotonic() - self._since >= self._seconds
