"""The end of a watch that is no longer wanted. The watch is read to its end first, so that no change is dropped
without a record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from kubecdc.cluster.errors import ApiError, Cut, Expired, Malformed, NotResumable
from kubecdc.cluster.list_watch import ListWatch
from kubecdc.cluster.versions import older, well_formed
from kubecdc.cluster.watch_lines import Silence
from kubecdc.concurrency import run_until_first
from kubecdc.storage.contracts import Gap
from kubecdc.watcher.capture import gap
from kubecdc.watcher.capture.checkpoint_writer import CheckpointWriter
from kubecdc.watcher.capture.diff import resource_of
from kubecdc.watcher.capture.pages import newest_version
from kubecdc.watcher.capture.quiet import unchanged
from kubecdc.watcher.capture.reasons import BACKWARDS, EXPIRED, EXPIRIES, LEFT, REFUSED, RanBackwards
from kubecdc.watcher.capture.relist import leave
from kubecdc.watcher.pipeline import PASSING, Watch
from kubecdc.watcher.recovery import RETRIED, short_pause

log = structlog.get_logger()
WATCH_SECONDS = (3.0, 3.0)  # the server sends a bookmark 2 s before the end of a watch, also where nothing happens
QUIET_SECONDS = 2.0  # that such a watch is open at least, if no one but its timeout ends it
PATIENCE_SECONDS = 15.0  # without progress
LOOK_SECONDS = 0.1
UNREACHED = "the API server did not show the end of history in time"
UNREADABLE = "history may no longer be read"
UNORDERED = "versions that cannot be compared"


async def end(watch: Watch, writer: CheckpointWriter) -> None:
    """Commit what changed up to now, then announce the end of every object known.

    Changes that can no longer be read are a gap, which a list repairs as anywhere else if one can be made. May be
    interrupted at any point, and repeated. Raises ApiError, Malformed, Unavailable, CommitMismatch, LeadershipLost.
    """
    if writer.state.listing != LEFT:  # else it was read to the end before
        reason, target = await read_to_end(watch, writer)
        if reason in EXPIRIES:
            reason = await _repair(watch, writer, reason)
        found = await _gap(watch, writer, reason, target) if reason else None
        position = writer.state.position
        if found is not None and older(position, found.until):
            # A former leader may have announced what lies in the gap, and not saved that: the DELETEs come after it.
            position = found.until
        # Marked before the end: if the namespace is selected again meanwhile, it is listed and compared.
        await writer.commit(listing=LEFT, gap=found, position=position)
        if found is not None:
            gap.report(found, watch.entry, watch.session, counted_for=watch.entry.whole)
    await leave(writer, watch.list_watch)


async def read_on(watch: Callable[[], Watch], key: str) -> None:
    """Commit what changed up to now, of a watch that was stopped and may go on in another way.

    What cannot be read or committed in time is no gap yet: whoever watches there next goes on from the same position.
    Raises LeadershipLost, Refused.
    """
    writer: CheckpointWriter | None = None

    async def read() -> None:
        nonlocal writer
        while True:
            stopped = watch()
            try:
                writer = await stopped.open_checkpoint()
                if writer.stored and not writer.state.listing:
                    await read_to_end(stopped, writer)
                return
            except RETRIED:
                await short_pause()
            finally:
                stopped.session.problems.forget(key)

    async def lose_patience() -> None:
        patience = Patience(PATIENCE_SECONDS)
        while not patience.is_over(writer.state.position if writer else ""):  # noqa: ASYNC110 - a position
            await asyncio.sleep(LOOK_SECONDS)
        log.warning("a watch ended before all changes were read", code="end-unread", watch=key)

    await run_until_first(read(), lose_patience())


async def read_to_end(watch: Watch, writer: CheckpointWriter) -> tuple[str, str]:
    """Commit all changes up to the server's current version. Returns why that is not possible ("" if it is done), and
    that version."""
    target, reason = "", ""
    patience = Patience(PATIENCE_SECONDS)
    while not reason:
        try:
            reason = await watch.relist_reason(writer)
            if not target:
                list_watch = ListWatch(watch.session.cluster, resource_of(writer.state.selection))
                target = await newest_version(list_watch, watch.memory)
            position = writer.state.position
            if not reason:
                if reached(position, target):
                    return "", target
                reason = _hopeless(watch, position, target, patience)
            if not reason and await _has_read_all(watch, writer, target):
                return "", target
        except NotResumable as e:
            reason = EXPIRED if isinstance(e, Expired) else REFUSED
        except ApiError as e:
            if e.status not in {403, 404}:
                raise
            # A deleted namespace takes its RoleBindings along, so the right to read may never come back. An API server
            # that has just started may refuse for a moment, so the first refusal does not count.
            if not reason and patience.is_over(_progress(watch, writer.state.position)):
                reason = UNREADABLE
            elif not reason:
                await short_pause()
    return reason, target


async def _repair(watch: Watch, writer: CheckpointWriter, reason: str) -> str:
    """Commit what a list shows to have changed. Returns why that is not possible; "" if it is done."""
    patience = Patience(PATIENCE_SECONDS)
    while True:
        try:
            await watch.relist(writer, reason, counted_for=watch.entry.whole)
            return ""
        except RanBackwards:
            return BACKWARDS
        except ApiError as e:
            if e.status not in {403, 404} and not isinstance(e, Expired):
                raise
            if patience.is_over(writer.state.position):
                return reason
        await short_pause()


async def _gap(watch: Watch, writer: CheckpointWriter, reason: str, target: str) -> Gap:
    """What to record where changes can no longer be read: only the ends of the objects are announced."""
    known = (await writer.inventory()).values()
    ends = sum(watch.entry.wants("DELETE", passed=k.passed) for k in known)
    since = writer.state.position
    return Gap(reason, since, target or since, datetime.now(UTC).isoformat(), ends)


async def _has_read_all(watch: Watch, writer: CheckpointWriter, target: str) -> bool:
    """Read one watch, and return whether that shows that nothing is left. If it fails, pause before the next one.

    The fifth failure in a row becomes a suspicion of the watch. Raises NotResumable, and ApiError for what no request
    gets through; Unavailable, CommitMismatch, LeadershipLost.
    """
    try:
        closed_at_once = await watch.read(writer, WATCH_SECONDS, until=target)
    except NotResumable:
        raise
    except (Silence, Cut):
        closed_at_once = True  # no failure, but nothing was shown either
    except (ApiError, Malformed) as e:
        if isinstance(e, ApiError) and e.status in PASSING:
            raise
        if not watch.suspicion:
            await watch.recovery.after(e)
        return False
    if closed_at_once:
        await short_pause()
        return False
    return await _is_quiet(watch, writer)


async def _is_quiet(watch: Watch, writer: CheckpointWriter) -> bool:
    """Whether nothing is left to read of a resource without bookmarks: the watch that ended had nothing to show, and
    a list shows what is known.

    A server ends a watch in order also when it shuts down, or when its time is over before all was sent. So one that
    had lines may have had more, as may one that ended early. Raises Unavailable.
    """
    if watch.list_watch.resource.has_bookmarks or watch.stream.lines or watch.stream.open_for() < QUIET_SECONDS:
        return False
    return bool(await unchanged(writer, watch.list_watch, watch.memory))


def reached(position: str, target: str) -> bool:
    """Whether the position is known to be at the target or past it."""
    return position == target or older(target, position)


def _hopeless(watch: Watch, position: str, target: str, patience: Patience) -> str:
    """Why reading on cannot reach the target; "" if it can."""
    if not (well_formed(position) and well_formed(target)):
        return UNORDERED
    return UNREACHED if patience.is_over(_progress(watch, position)) else ""


def _progress(watch: Watch, position: str) -> tuple[str, int]:
    """What moves as long as waiting makes sense. Failures do: after some in a row, no one waits any longer."""
    return position, watch.fruitless


class Patience:
    """Limits how many seconds something, such as a position, may stand still."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: object = None
        self._since = time.monotonic()

    def is_over(self, seen: object) -> bool:
        """Whether it has stood still for that long."""
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        return time.monotonic() - self._since >= self._seconds
