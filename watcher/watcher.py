"""The watcher of one bus: stands by, leads, and while it leads watches every entry."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

import structlog

from kubecdc import facts
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.recorder import Recorder
from kubecdc.current import Current
from kubecdc.errors import KubecdcError, most_relevant
from kubecdc.metrics import Series
from kubecdc.storage.contracts import Bus, Elector
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.watcher import metrics
from kubecdc.watcher.capture.memory import BYTES
from kubecdc.watcher.entries import EntriesOfLeader
from kubecdc.watcher.manifest import Entries
from kubecdc.watcher.session import Session

log = structlog.get_logger()
HAND_OVER_SECONDS = 2.0  # for the last write of the checkpoints; a process that is told to stop must stop


async def run(
    bus: Bus,
    entries: Current[Entries],
    cluster: Cluster,
    elector: Elector | None = None,
    *,
    buses: int = 1,
    name: str = "default",
    recorder: Recorder | None = None,
) -> None:
    """Watch until cancelled. ``entries`` may be replaced meanwhile, whether this process leads or stands by.

    ``elector`` defaults to the bus's own; ``buses`` are watched by this process. ``name`` is that of the bus in the
    metrics; ``recorder`` writes Kubernetes Events.

    Raises Refused (in an ExceptionGroup) where only an operator can decide.
    """
    elector = elector or bus.elector
    timelines: dict[str, int] = {}
    stand_by = partial(_stand_by, name, entries, recorder)
    with closing(Series()) as exported:
        exported.read(metrics.IS_LEADER, lambda: name in metrics.leading, name)
        while True:
            try:
                async with elector.lead() as term:
                    session = Session(
                        cluster,
                        bus,
                        term,
                        timelines=timelines,
                        recorder=recorder,
                        bus_name=name,
                        cluster_name=cluster.name,
                    )
                    try:
                        with _led(name, session):
                            await lead(session, entries, BYTES // buses)
                    except* LeadershipLost as lost:
                        stand_by(most_relevant(lost))
            except LeadershipLost as lost:
                stand_by(lost)


@contextmanager
def _led(bus: str, session: Session) -> Iterator[None]:
    """While this process leads the bus."""
    metrics.leading.add(bus)
    ends = metrics.TERM.read(lambda: session.term.number, bus), facts.troubles.read_all(session.problems.active)
    try:
        yield
    finally:
        metrics.leading.discard(bus)
        for end in ends:
            end()


def _stand_by(bus: str, entries: Current[Entries], recorder: Recorder | None, reason: BaseException) -> None:
    log.warning("no longer the leader, standing by", code="lead-lost", reason=str(reason))
    if recorder:
        source = next(iter(entries.value), "").partition("/")[0]
        recorder.record("LeadLost", f"bus {bus}: {reason}", kind="EventSource", name=source)


async def lead(session: Session, entries: Current[Entries], memory: int) -> None:
    """Watch every entry for as long as the term lasts. They share ``memory``, in bytes.

    Raises Refused, LeadershipLost (in groups).
    """
    try:
        await EntriesOfLeader(session, entries, memory).watch()
    finally:
        await _hand_over(session.bus)


async def _hand_over(bus: Bus) -> None:
    """Write the checkpoints before another process leads. If that fails, the next leader repeats what they lack."""
    try:
        async with asyncio.timeout(HAND_OVER_SECONDS):
            await bus.checkpoints.flush()
    except (KubecdcError, TimeoutError) as e:
        log.warning(
            "the checkpoint could not be written at the hand-over",
            code="checkpoint-unwritten",
            error=str(e),
            hint=getattr(e, "hint", ""),
        )
