"""The metrics of the workers. Labels are bound once for each trigger, which makes counting cheap."""

from __future__ import annotations

from collections.abc import Sized
from weakref import WeakSet

from prometheus_client import Counter, Gauge, Histogram

from kubecdc.workers.outcome import Failure, Outcome, Retry, Success

_LABELS = ("sensor", "trigger")
_EXECUTIONS = Counter(
    "kubecdc_trigger_executions_total",
    "Times a trigger ran, tries of its retryStrategy included",
    (*_LABELS, "result"),
)
_DURATION = Histogram(
    "kubecdc_trigger_duration_seconds",
    "How long one run of a trigger took",
    _LABELS,
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
_IN_FLIGHT = Gauge("kubecdc_deliveries_in_flight", "Deliveries received and not yet settled", _LABELS)
_DEAD_LETTERS = Counter("kubecdc_dead_letters_total", "Deliveries given up on", _LABELS)
_BREAKER_OPEN = Gauge(
    "kubecdc_trigger_breaker_open", "1 while a trigger fails for all objects and one at a time tries it", _LABELS
)
_FILTERED = Counter(
    "kubecdc_events_filtered_total",
    "Events that the filters of the dependency did not let pass; error: a filter could not be evaluated",
    (*_LABELS, "reason"),
)
_CLAIMS_LOST = Counter(
    "kubecdc_claims_lost_total", "Deliveries whose claim lapsed before they were settled: delivered again", _LABELS
)


class TriggerMetrics:
    """The metrics of one trigger of one Sensor."""

    def __init__(self, sensor: str, trigger: str) -> None:
        self._results = {
            result: _EXECUTIONS.labels(sensor, trigger, result) for result in ("success", "retry", "failure", "error")
        }
        self._duration = _DURATION.labels(sensor, trigger)
        self._in_flight: WeakSet[Sized] = WeakSet()
        _IN_FLIGHT.labels(sensor, trigger).set_function(lambda: sum(map(len, self._in_flight)))  # when it is scraped
        self.breaker_open = _BREAKER_OPEN.labels(sensor, trigger)
        self.dead_letters = _DEAD_LETTERS.labels(sensor, trigger)
        self._filtered = {reason: _FILTERED.labels(sensor, trigger, reason) for reason in ("false", "error")}
        self.claims_lost = _CLAIMS_LOST.labels(sensor, trigger)

    def count_in_flight(self, deliveries: Sized) -> None:
        """Export how many deliveries are in flight there too, for as long as somebody has them."""
        self._in_flight.add(deliveries)

    def filtered(self, *, error: bool) -> None:
        """Count an event that the filters did not let pass. ``error``: one of them could not be evaluated."""
        self._filtered["error" if error else "false"].inc()

    def executed(self, outcome: Outcome | None, seconds: float) -> None:
        """Count one run of the trigger. Without an outcome it raised an error, or was cancelled."""
        match outcome:
            case Success():
                result = "success"
            case Retry():
                result = "retry"
            case Failure():
                result = "failure"
            case None:
                result = "error"
        self._results[result].inc()
        self._duration.observe(seconds)
