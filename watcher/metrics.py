"""What the watcher exports. Names and labels are part of the interface: dashboards and alerts use them.

``watch`` is the key of a checkpoint: `<EventSource>/<entry>`, with `/<namespace>` where each namespace has a watch.
"""

from __future__ import annotations

from collections import defaultdict

from kubecdc.metrics import LEADER, Cell, Counter, Gauge, Histogram, Series

CHANGES = Counter("kubecdc_changes", "Changes read from watches, by type", ["watch", "type"])
FILTERED = Counter(
    "kubecdc_changes_filtered",
    "Changes that `eventTypes`, `filter` or `initialList` kept from becoming events",
    ["watch"],
)
EVENTS = Counter("kubecdc_events", "Events committed to the bus", ["watch"])
SYNTHETIC = Counter("kubecdc_synthetic_events", "Events made by gap repair", ["watch"])
TRUNCATED = Counter("kubecdc_truncated_events", "Events too large for the bus, sent with metadata only", ["watch"])
LEFT_OUT = Counter(
    "kubecdc_left_out_objects",
    "Objects that cannot be captured, each time one is read from a watch or a list",
    ["watch"],
)
GAPS = Counter("kubecdc_gaps", "Gaps repaired in which something differed, by reason", ["watch", "reason"])
ROUTINE_GAPS = Counter(
    "kubecdc_routine_gaps", "Expired history in which nothing was found to have changed, by reason", ["watch", "reason"]
)
RELISTS = Counter("kubecdc_relists", "Lists of all objects that were begun, by reason", ["watch", "reason"])
RESTARTS = Counter("kubecdc_watch_restarts", "Ends of a watch, which is then resumed, by reason", ["watch", "reason"])
ERRORS = Counter(
    "kubecdc_watch_errors", "Failed lists and watches, by HTTP status (0: not reached)", ["watch", "status"]
)
AUDITS = Counter("kubecdc_audits", "Audits of the inventory against the cluster, by result", ["watch", "result"])
DIFFERENCES = Counter(
    "kubecdc_audit_differences", "Objects found to differ from the cluster, which no event explains", ["watch"]
)
BEHIND = Gauge(
    "kubecdc_watch_behind_seconds",
    "0 while a watch is open and everything received is committed; otherwise the seconds since that was last so",
    ["watch"],
    by=LEADER,
)
LAST_CHANGE = Gauge(
    "kubecdc_watch_last_change_age_seconds",
    "Seconds since this leader last committed a change; it also grows while a resource is quiet",
    ["watch"],
    by=LEADER,
)
POSITION_AGE = Gauge(
    "kubecdc_watch_position_age_seconds",
    "Seconds since the position last moved, by a change or a bookmark, which comes about once a minute; "
    "at least that long, if this leader has not moved it yet",
    ["watch"],
    by=LEADER,
)
EXPIRES = Gauge(
    "kubecdc_checkpoint_expires_seconds",
    "Seconds until the API server has probably discarded the history after the position, if that does not move: "
    "etcd is compacted every 5 minutes. At 0, the next resume may need a list",
    ["watch"],
    by=LEADER,
)
COMMIT_SECONDS = Histogram(
    "kubecdc_commit_duration_seconds", "Duration of a commit, until the bus accepted it", ["bus"]
)
IS_LEADER = Gauge("kubecdc_leader", "1 if this process leads the bus, 0 if it stands by: sum is 1", ["bus"])
TERM = Gauge("kubecdc_leader_term", "The number of the term, which only grows", ["bus"], by=LEADER)

leading: set[str] = set()
"""The buses that this process leads."""

_series: defaultdict[str, Series] = defaultdict(Series)  # by watch


def of(metric: Counter, watch: str, *labels: str) -> Cell:
    """The series of a watch, until it is forgotten."""
    return _series[watch].of(metric, watch, *labels)


def forget(watch: str) -> None:
    """The watch has ended for good: remove its series."""
    if watch in _series:
        _series.pop(watch).close()


def forget_entry(entry: str) -> None:
    """No manifest has the entry any more: remove the series of all its watches."""
    for watch in [watch for watch in _series if watch == entry or watch.startswith(f"{entry}/")]:
        forget(watch)
