"""The watcher of one bus: stands by, leads, and while it leads watches every entry."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial

import structlog

from kubecdc import facts
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.recorder import Recorder
from kubecdc.errors import KubecdcError, most_relevant
from kubecdc.metrics import Series
from kubecdc.storage.contracts import Bus, Elector
from kubecdc.storage.contracts.errors import LeadershipLost
from kubecdc.watcher import metrics
from kubecdc.watcher.capture.memory import BYTES, LEAST_BYTES, Memory
from kubecdc.watcher.manifest import EventSource
from kubecdc.watcher.namespaces.entry import watch_entry
from kubecdc.watcher.namespaces.watches import EntryWatches
from kubecdc.watcher.recovery import Recovery
from kubecdc.watcher.session import Session

log = structlog.get_logger()
REMOVED = "no manifest has the entry of this checkpoint, so its changes are not captured now"
HAND_OVER_SECONDS = 2.0  # for the last write of the checkpoints; a process that is told to stop must stop


async def run(
    bus: Bus,
    sources: Sequence[EventSource],
    cluster: Cluster,
    elector: Elector | None = None,
    *,
    buses: int = 1,
    name: str = "default",
    recorder: Recorder | None = None,
) -> None:
    """Watch until cancelled. ``elector`` defaults to the bus's own; ``buses`` are watched by this process.

    ``name`` is that of the bus in the metrics; ``recorder`` writes Kubernetes Events.

    Raises Refused (in an ExceptionGroup) where only an operator can decide.
    """
    elector = elector or bus.elector
    timelines: dict[str, int] = {}
    stand_by = partial(_stand_by, name, sources[0].name, recorder)
    with closing(Series()) as exported:
        exported.read(metrics.IS_LEADER, lambda: name in metrics.leading, name)
        while True:
            try:
                async with elector.lead() as term:
                    session = Session(cluster, bus, term, timelines=timelines, recorder=recorder, bus_name=name)
                    try:
                        with _led(name, session):
                            await lead(session, sources, BYTES // buses)
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


def _stand_by(bus: str, source: str, recorder: Recorder | None, reason: BaseException) -> None:
    log.warning("no longer the leader, standing by", code="lead-lost", reason=str(reason))
    if recorder:
        recorder.record("LeadLost", f"bus {bus}: {reason}", kind="EventSource", name=source)


async def lead(session: Session, sources: Sequence[EventSource], memory: int) -> None:
    """Watch every entry of the sources for as long as the term lasts. They share ``memory``, in bytes.

    Raises Refused, LeadershipLost (in groups).
    """
    entries = sum(len(source.spec.resource) for source in sources)
    limit = max(LEAST_BYTES, memory // max(1, entries))
    try:
        async with asyncio.TaskGroup() as tasks:
            report = partial(
                _report_removed, session, {f"{s.name}/{name}" for s in sources for name in s.spec.resource}
            )
            tasks.create_task(Recovery(session, "removed entries").until_done(report))
            for source in sources:
                for name, manifest in source.spec.resource.items():
                    tasks.create_task(watch_entry(EntryWatches(session, source.name, name, manifest, Memory(limit))))
    finally:
        await _hand_over(session.bus)


async def _report_removed(session: Session, entries: set[str]) -> None:
    """Name the checkpoints of entries that no manifest has any more. They stay where they are, so nothing is dropped:
    if the entry comes back, its watch goes on from there, or repairs a gap."""
    for checkpoint in await session.bus.checkpoints.checkpoints():
        if checkpoint.state and entries.isdisjoint({checkpoint.key, checkpoint.key.rpartition("/")[0]}):
            log.warning(
                REMOVED,
                code="entry-removed",
                watch=checkpoint.key,
                position=checkpoint.state.position,
                hint="they are captured once an entry has that name again; "
                f"`kubecdc checkpoint reset {checkpoint.key}` gives them up",
            )


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
