"""Reports a gap: log, metric, and a Kubernetes Event. Its record in the bus was made with the last commit."""

from __future__ import annotations

import structlog

from kubecdc.counts import counted
from kubecdc.storage.contracts import Gap
from kubecdc.watcher import metrics
from kubecdc.watcher.capture.entry import Entry
from kubecdc.watcher.session import Session

log = structlog.get_logger()


def report(gap: Gap, entry: Entry, session: Session, *, counted_for: str = "") -> None:
    """Report that versions may have been collapsed. Without the right to create Events, log and metric remain.

    It is counted for the watch, or for ``counted_for`` where the metrics of the watch end with it.
    """
    watch = counted_for or entry.key
    metrics.of(metrics.GAPS, watch, gap.reason).value += 1
    metrics.of(metrics.SYNTHETIC, watch).value += gap.synthetic
    facts = {"reason": gap.reason, "since": gap.since, "until": gap.until, "synthetic": gap.synthetic}
    log.warning("gap repaired", code="gap-repaired", watch=entry.key, **facts)
    if session.recorder and entry.resource.has_bookmarks:
        # Not of one that captures `events`: a gap that makes an Event, which is a change, might never end.
        text = (
            f"{entry.key}: {gap.reason}; versions after {gap.since or 'the start'} up to {gap.until} may have been "
            f"collapsed, and the repair made {counted(gap.synthetic, 'synthetic event')}"
        )
        session.recorder.record("GapRepaired", text, kind="EventSource", name=entry.source)


def count_routine(gap: Gap, watch: str) -> None:
    """Count a gap in which nothing was found to have changed. Nobody need look at it."""
    metrics.of(metrics.ROUTINE_GAPS, watch, gap.reason).value += 1
