"""What the deliveries from brokers count."""

from __future__ import annotations

from prometheus_client import Counter

STALE = Counter(
    "kubecdc_stale_deliveries_total",
    "Deliveries acked without a run, because a newer event of the object was settled before",
    ["subscription"],
)
