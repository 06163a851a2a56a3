"""The list: the first one, and the repair of a gap by comparing a list with the inventory.

The checkpoint is marked `listing` before anything else is committed. The last commit removes the mark and sets the
position to the list's version. In between, each page commits its differences: events and inventory together. Whoever
finds the mark lists and compares again, and never resumes from the old position.

Expired history is routine: a restarted API server forgets all of it. If the list shows no difference, there is one
commit, of the new position, and nobody is alarmed.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import NamedTuple

import structlog

from kubecdc.cluster.changes import Page
from kubecdc.cluster.list_watch import ListWatch
from kubecdc.storage.contracts import Gap
from kubecdc.watcher.capture.announced import Announced
from kubecdc.watcher.capture.checkpoint_writer import CheckpointWriter
from kubecdc.watcher.capture.diff import Diff
from kubecdc.watcher.capture.memory import Memory
from kubecdc.watcher.capture.namesakes import uids_by_name
from kubecdc.watcher.capture.pages import pages
from kubecdc.watcher.capture.reasons import BACKWARDS, EXPIRIES, LEFT, RETURNED, STARTS_TIMELINE

log = structlog.get_logger()
PROGRESS_SECONDS = 10.0


class Repair(NamedTuple):
    """What a list has repaired; None: no gap. ``routine``: history expired, and nothing was found to have changed."""

    gap: Gap | None
    routine: bool


async def relist(
    writer: CheckpointWriter, list_watch: ListWatch, reason: str, announced: Announced, memory: Memory
) -> Repair:
    """List everything, announce what differs from the inventory, and set the position.

    Raises Expired when the pages outlive the server's history (list again), RanBackwards, ApiError, Malformed,
    CommitMismatch.
    """
    inventory = await writer.inventory()
    told = {uid: known for uid, known in inventory.items() if not known.intended}
    if len(uids_by_name(told)) < len(told):
        # Two objects of one name: a restore that nobody noticed undid the first, and its successor was made since.
        reason = BACKWARDS
    if reason == RETURNED and not writer.session.bus.capabilities.atomic_commit:
        # The ends of some may have been announced, and not saved: consumers have to hear again that they are there.
        inventory = {uid: known._replace(intended=True) for uid, known in inventory.items()}
    resumed = writer.stored and writer.state.listing == reason
    if not resumed and reason in STARTS_TIMELINE:
        await writer.commit(listing=reason, timeline=await writer.next_timeline())
    elif not resumed and (writer.state.listing or reason not in EXPIRIES):
        await writer.commit(listing=reason)
    log.info("listing", code="listing", watch=writer.entry.key, reason=reason, path=list_watch.resource.path)
    diff = Diff(writer, list_watch, inventory, reason, announced, resumed=resumed)
    await diff.leave_old_resource()
    again = resumed and reason == BACKWARDS
    told_of = _Progress(writer)
    async with aclosing(pages(list_watch, memory)) as listed:
        async for page in listed:
            if again:
                # The attempt before may have announced some, and since then etcd may have been restored once more.
                await writer.commit(timeline=await writer.next_timeline())
                again = False
            await diff.page(page)
            told_of.page(page)
    found = await diff.finish()
    return Repair(found, routine=reason in EXPIRIES and not diff.differs)


class _Progress:
    """Logs the progress of a long list."""

    def __init__(self, writer: CheckpointWriter) -> None:
        self._watch, self._now = writer.entry.key, writer.session.now
        self._begun = self._told = self._now()
        self._objects = 0

    def page(self, page: Page) -> None:
        """Its objects are committed."""
        self._objects += len(page.items)
        now = self._now()
        if not page.next or now - self._told < PROGRESS_SECONDS:
            return
        self._told = now
        log.info(
            "the list is still running",
            code="list-progress",
            watch=self._watch,
            objects=self._objects,
            # The server does not know it of a list with a label selector.
            **({} if page.remaining is None else {"of": self._objects + page.remaining}),
            per_second=round(self._objects / (now - self._begun)),
        )


async def leave(writer: CheckpointWriter, list_watch: ListWatch) -> None:
    """Announce the end of every object known. The checkpoint is marked LEFT. Raises ApiError, CommitMismatch."""
    await Diff(writer, list_watch, await writer.inventory(), LEFT, Announced()).leave()
