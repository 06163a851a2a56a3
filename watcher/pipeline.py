"""The main path of the watcher, for one entry: checkpoint -> list or resume -> changes -> events -> commit."""

from __future__ import annotations

from functools import partial

import structlog

from kubecdc import facts
from kubecdc.cluster.errors import ApiError, Cut, Expired, Malformed, NotResumable
from kubecdc.cluster.list_watch import ListWatch
from kubecdc.cluster.versions import older, well_formed
from kubecdc.cluster.watch_lines import Silence
from kubecdc.concurrency import run_until_first
from kubecdc.errors import Unavailable
from kubecdc.metrics import Series
from kubecdc.storage.contracts.errors import CommitMismatch
from kubecdc.watcher import metrics
from kubecdc.watcher.audit.auditor import Auditor, Differs
from kubecdc.watcher.capture import gap, identity
from kubecdc.watcher.capture.announced import Announced
from kubecdc.watcher.capture.batch import Batcher
from kubecdc.watcher.capture.checkpoint_writer import CheckpointWriter, commits_of
from kubecdc.watcher.capture.entry import Entry
from kubecdc.watcher.capture.memory import Memory
from kubecdc.watcher.capture.pages import newest_version
from kubecdc.watcher.capture.progress import Progress
from kubecdc.watcher.capture.quiet import QuietPosition
from kubecdc.watcher.capture.reasons import (
    ASKED,
    BACKWARDS,
    CLOSED,
    DIFFERS,
    EXPIRED,
    LEFT,
    REFUSED,
    RETURNED,
    SELECTION,
    RanBackwards,
)
from kubecdc.watcher.capture.relist import relist
from kubecdc.watcher.capture.stream import StreamCommitter
from kubecdc.watcher.recovery import Recovery
from kubecdc.watcher.session import Session

log = structlog.get_logger()

REASONS = {LEFT: RETURNED, ASKED: DIFFERS}  # of marks that others have left in the checkpoint
FRUITLESS = 5  # watches in a row that end without a line, although lists work
PASSING = frozenset({0, 401, 403, 404})  # these refuse lists too: not reached, no rights, no such resource
LASTING = frozenset({400, 405, 406, 415, 422})  # what was asked for is wrong, and will be
HINT = "correct the entry; `kubectl api-resources -o wide` shows what can be listed and watched"
EXTERNAL_CHECK_SECONDS = 5.0  # between two looks at a checkpoint that another process may have changed


class Watch:
    """Captures one entry for as long as the term lasts."""

    def __init__(self, session: Session, entry: Entry, list_watch: ListWatch, memory: Memory | None = None) -> None:
        self.session = session
        self.entry = entry
        self.list_watch = list_watch
        self.suspicion = ""  # why history seems to be missing, if the checkpoint does not record it yet
        self.memory = memory or Memory()
        self.fruitless = 0  # watches in a row
        self.announced = Announced()
        self.batcher = Batcher(entry, list_watch)
        self.recovery = Recovery(session, entry.key)
        self.progress = Progress(session.now)
        self.stream = StreamCommitter(self.batcher, self.recovery, self.memory, self.progress)
        self.auditor = Auditor(entry, self.memory)
        self.quiet = QuietPosition(list_watch, self.memory, self.progress)

    async def once(self) -> None:
        """From the checkpoint to the end of one watch stream."""
        writer = await self.open_checkpoint()
        try:
            await self.quiet.advance(writer)
            if reason := await self.relist_reason(writer):
                await self.relist(writer, reason)
            await run_until_first(
                self.follow(writer),
                self.auditor.run(writer, self.list_watch),
                self.quiet.run(writer, self.stream),
                writer.watch_for_external_changes(EXTERNAL_CHECK_SECONDS),
            )
        finally:
            self.session.timelines[self.entry.key] = writer.state.timeline

    async def open_checkpoint(self) -> CheckpointWriter:
        """The checkpoint, taken for our term. Raises Refused if it was made for another cluster."""
        uid = await identity.cluster_uid(self.session.cluster, self.session.problems)
        writer = await CheckpointWriter.open(self.session, self.entry, cluster=uid)
        await identity.require_same_cluster(writer, uid)
        writer.progress = self.progress
        return writer

    async def relist_reason(self, writer: CheckpointWriter) -> str:
        """Why a list is needed before a watch may resume from the position; "" if none is. Raises ApiError, Expired."""
        seen = self.session.timelines.get(self.entry.key, 0)
        if writer.stored and writer.state.timeline < seen:
            # The store came back as it was before we noticed a restore of etcd. Versions may have grown past our
            # position since, so nothing else would show it. (Without a state, the checkpoint was reset by hand.)
            writer.override_state(timeline=seen, listing="")
            return BACKWARDS
        state = writer.state
        if self.suspicion == BACKWARDS or state.listing == BACKWARDS:
            return BACKWARDS
        if state.listing or self.suspicion:
            return REASONS.get(state.listing, state.listing) or self.suspicion
        if state.selection != self.entry.selection(state.selection.cluster):
            return SELECTION
        # The API server accepts a watch from a version that does not exist yet, and then stays silent forever.
        newest = await newest_version(self.list_watch, self.memory)
        if older(newest, state.position):
            return BACKWARDS
        if well_formed(newest) and not well_formed(state.position):
            return REFUSED  # as it would be, again and again: no server gave us this position
        if not self.list_watch.resource.has_bookmarks:
            await self.list_watch.require_history(state.position)
        return ""

    async def relist(self, writer: CheckpointWriter, reason: str, *, counted_for: str = "") -> None:
        """List everything, commit what differs from the inventory, and report it. See `gap` for ``counted_for``."""
        metrics.of(metrics.RELISTS, counted_for or self.entry.key, reason).value += 1
        found, routine = await relist(writer, self.list_watch, reason, self.announced, self.memory)
        self.suspicion = ""
        self.auditor.relisted()
        if found is not None and routine:
            gap.count_routine(found, counted_for or self.entry.key)
        elif found is not None:
            gap.report(found, self.entry, self.session, counted_for=counted_for)

    async def follow(self, writer: CheckpointWriter) -> None:
        """Watch from the position and commit what comes, until the stream ends."""
        closed_at_once = await self.read(writer)
        if closed_at_once and self.fruitless > 1:
            raise ApiError("the API server closed the watch at once")

    async def read(
        self, writer: CheckpointWriter, seconds: tuple[float, float] | None = None, *, until: str = ""
    ) -> bool:
        """Read one watch, and commit its changes, to its end or up to the version ``until``.

        Returns whether the server closed it as soon as it was open.
        """
        changes = partial(self.list_watch.watch, writer.state.position, seconds)
        try:
            closed_at_once = await self.stream.commit_changes(writer, changes, until)
        except (ApiError, Malformed) as e:
            self._suspect(REFUSED, fruitless=not (isinstance(e, ApiError) and e.status in PASSING))
            raise
        self._suspect(CLOSED, fruitless=closed_at_once)
        return closed_at_once

    def _suspect(self, reason: str, *, fruitless: bool) -> None:
        """Whatever ends each watch from this position, a list leads past it."""
        if self.stream.lines:
            self.fruitless = 0
        self.fruitless += fruitless
        if self.fruitless >= FRUITLESS:
            self.suspicion, self.fruitless = reason, 0

    async def run(self) -> None:
        """Capture until cancelled. Raises LeadershipLost, and Refused where only an operator can decide."""
        exported = Series()
        self.progress.export(self.entry.key, exported)
        untold = facts.watches.read(self.entry.key, self.facts)
        try:
            while True:
                try:
                    await self.once()
                    self._restarts("closed")
                except Expired:
                    self._restarts("expired")
                    self.suspicion = EXPIRED
                    await self.recovery.after_routine()
                except NotResumable as e:
                    self._restarts("refused")
                    self.suspicion = REFUSED
                    metrics.of(metrics.ERRORS, self.entry.key, str(e.status)).value += 1
                    await self.recovery.after(e)
                except RanBackwards:
                    self._restarts("versions ran backwards")
                    self.suspicion = BACKWARDS
                    await self.recovery.after_routine()
                except Differs:
                    self._restarts("audit found differences")
                    self.suspicion = DIFFERS
                except CommitMismatch as e:
                    self._restarts("checkpoint moved")
                    log.warning(
                        "reloading the checkpoint", code="checkpoint-moved", watch=self.entry.key, reason=str(e)
                    )
                    await self.recovery.after_routine()
                except Silence:
                    self._restarts("silent")
                    log.info("silent watch closed, resuming", code="watch-silent", watch=self.entry.key)
                except Cut as e:
                    self._restarts("cut")
                    await self._after_cut(e)
                except (ApiError, Malformed, Unavailable) as e:
                    self._restarts("failed")
                    if isinstance(e, ApiError):
                        metrics.of(metrics.ERRORS, self.entry.key, str(e.status)).value += 1
                        if e.status in LASTING:
                            e.hint = e.hint or HINT
                        self.auditor.schedule()  # an API server that was away may have come back with an older etcd
                    await self.recovery.after(e)
        finally:
            exported.close()
            untold()
            self.session.problems.forget(self.entry.key)
            self.session.problems.forget(commits_of(self.entry.key))

    async def _after_cut(self, cut: Cut) -> None:
        """The next watch begins where this one was cut, so nothing is lost. Only one that is cut at once is trouble."""
        if self.stream.stayed_open():
            self.recovery.succeeded()
            log.info("watch was cut, resuming", code="watch-cut", watch=self.entry.key, reason=str(cut))
            return
        metrics.of(metrics.ERRORS, self.entry.key, str(cut.status)).value += 1
        if self.recovery.failures:
            self.auditor.schedule()  # the API server may be away
        await self.recovery.after(cut)

    def facts(self) -> facts.Watch:
        """What `kubecdc status` shows of it."""
        events = metrics.of(metrics.EVENTS, self.entry.key).value
        return facts.Watch(self.progress.behind(), events, self.auditor.last)

    def _restarts(self, reason: str) -> None:
        metrics.of(metrics.RESTARTS, self.entry.key, reason).value += 1
