"""Reports a gap: log, metric, and a Kubernetes Event. Its record in the bus was made with the last commit."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import structlog

from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.resource import Resource
from kubecdc.storage.contracts import Gap
from kubecdc.watcher import metrics
from kubecdc.watcher.capture.entry import Entry
from kubecdc.watcher.session import Session

log = structlog.get_logger()


async def report(gap: Gap, entry: Entry, session: Session, *, counted_for: str = "") -> None:
    """Report that versions may have been collapsed. Without the right to create Events, log and metric remain.

    It is counted for the watch, or for ``counted_for`` where the metrics of the watch end with it.
    """
    watch = counted_for or entry.key
    metrics.of(metrics.GAPS, watch, gap.reason).value += 1
    metrics.of(metrics.SYNTHETIC, watch).value += gap.synthetic
    facts = {"reason": gap.reason, "since": gap.since, "until": gap.until, "synthetic": gap.synthetic}
    log.warning("gap repaired", code="gap-repaired", watch=entry.key, **facts)
    if not entry.resource.has_bookmarks:
        return  # it captures `events`: a gap that makes an Event, which is a change, might never end
    try:
        try:
            await _post(gap, entry, session, entry.namespace or "default")
        except ApiError as e:
            if e.status != 404:
                raise
            await _post(gap, entry, session, "default")  # the namespace itself was deleted
    except ApiError as e:
        session.problems.report_once(
            "gaps are not written as Kubernetes Events",
            code="kubernetes-events-refused",
            reason=str(e),
            hint="grant create on events",
        )


def count_routine(gap: Gap, entry: Entry) -> None:
    """Count a gap in which nothing was found to have changed. Nobody need look at it."""
    metrics.of(metrics.ROUTINE_GAPS, entry.key, gap.reason).value += 1


async def _post(gap: Gap, entry: Entry, session: Session, namespace: str) -> None:
    await session.cluster.post(Resource("", "v1", "events", namespace).path, _event(gap, entry, namespace))


def _event(gap: Gap, entry: Entry, namespace: str) -> dict[str, object]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"kubecdc.{secrets.token_hex(8)}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "EventSource",
            "name": entry.source,
            "namespace": namespace,
        },
        "reason": "GapRepaired",
        "message": f"{entry.key}: {gap.reason}; versions after {gap.since or 'the start'} up to {gap.until} may have "
        f"been collapsed, {gap.synthetic} synthetic events were made",
        "type": "Warning",
        "source": {"component": "kubecdc"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
