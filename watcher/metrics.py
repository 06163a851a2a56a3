"""What the watcher counts. Names and labels are part of the interface: dashboards and alerts use them."""

from __future__ import annotations

from typing import TypeVar

from prometheus_client import Counter, Gauge

M = TypeVar("M", Counter, Gauge)

CHANGES = Counter("kubecdc_changes", "Changes read from watches, by type", ["watch", "type"])
EVENTS = Counter("kubecdc_events", "Events committed to the bus", ["watch"])
SYNTHETIC = Counter("kubecdc_synthetic_events", "Events made by gap repair", ["watch"])
TRUNCATED = Counter("kubecdc_truncated_events", "Events too large for the bus, sent with metadata only", ["watch"])
LEFT_OUT = Counter(
    "kubecdc_left_out_objects",
    "Objects that cannot be captured, each time one is read from a watch or a list",
    ["watch"],
)
GAPS = Counter("kubecdc_gaps", "Gaps repaired, by reason", ["watch", "reason"])
ROUTINE_GAPS = Counter(
    "kubecdc_routine_gaps", "Expired history in which nothing was found to have changed, by reason", ["watch", "reason"]
)
ERRORS = Counter(
    "kubecdc_watch_errors", "Failed lists and watches, by HTTP status (0: not reached)", ["watch", "status"]
)
LAST_COMMIT = Gauge("kubecdc_last_commit_timestamp_seconds", "When the watch last committed", ["watch"])
LEADER = Gauge("kubecdc_leader", "Buses that this process leads: 1 or 0, if it has one")
AUDITS = Counter("kubecdc_audits", "Audits of the inventory against the cluster, by result", ["watch", "result"])
DIFFERENCES = Counter("kubecdc_audit_differences", "Objects found different, which no event explains", ["watch"])

_series: dict[str, set[tuple[Counter | Gauge, tuple[str, ...]]]] = {}  # by watch


def of(metric: M, watch: str, *labels: str) -> M:
    """The series of a watch, until it is forgotten."""
    _series.setdefault(watch, set()).add((metric, labels))
    return metric.labels(watch, *labels)


def forget(watch: str) -> None:
    """The watch has ended for good: remove its series."""
    for metric, labels in _series.pop(watch, ()):
        metric.remove(watch, *labels)
