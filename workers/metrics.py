"""What the workers export. The series of a trigger are looked up once, which makes counting cheap."""

from __future__ import annotations

from collections.abc import Callable, Sized
from datetime import datetime

from kubecdc.metrics import SAME, WORKERS, Counter, Gauge, Histogram, Series
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.settlement import Ack, DeadLetter, Nack, Settlement

_LABELS = ("sensor", "trigger")
_EXECUTIONS = Counter(
    "kubecdc_trigger_executions",
    "Runs of a trigger, including the tries of its retryStrategy; error: it raised an error or was cancelled",
    (*_LABELS, "result"),
    by=WORKERS,
)
_RETRIES = Counter(
    "kubecdc_trigger_retries",
    "Runs of a trigger that repeat an earlier run for the same event, in the same attempt or a later one",
    _LABELS,
    by=WORKERS,
)
_DURATION = Histogram(
    "kubecdc_trigger_duration_seconds",
    "How long one run of a trigger took",
    _LABELS,
    by=WORKERS,
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_CHANGE_TO_ACK = Histogram(
    "kubecdc_change_to_ack_seconds",
    "Seconds from reading a change from the API server to its ack, for events that are delivered for the first time; "
    "by the clocks of both machines",
    _LABELS,
    by=WORKERS,
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600),
)
_IN_FLIGHT = Gauge("kubecdc_deliveries_in_flight", "Deliveries received and not yet settled", _LABELS, by=WORKERS)
_DELIVERIES = Counter(
    "kubecdc_deliveries",
    "Deliveries by outcome. acked: the trigger succeeded, or there was nothing to do; retried: delivered again after "
    "a failure; returned: delivered again because the worker stopped, or has another dependency; dead_letter: given "
    "up on; lost: the claim lapsed first, and it is delivered again",
    (*_LABELS, "outcome"),
    by=WORKERS,
)
_BREAKER_OPEN = Gauge(
    "kubecdc_trigger_breaker_open",
    "1 while a trigger fails for all objects, and only one event at a time is tried",
    _LABELS,
    by=WORKERS,
)
_FILTERED = Counter(
    "kubecdc_events_filtered",
    "Events that did not pass the filters of the dependency; error: a filter could not be evaluated",
    (*_LABELS, "reason"),
    by=WORKERS,
)
PAUSED = Gauge(
    "kubecdc_subscription_paused",
    "1 while the subscription is paused, by a command or in the manifest",
    ["subscription"],
    by=SAME,
)
KEY_MISSING = Gauge(
    "kubecdc_subscription_key_missing",
    "1 while events of the subscription wait for the key that they are encrypted with, which the process does not have",
    ["subscription"],
    by=SAME,
)


class TriggerMetrics:
    """The metrics of one trigger of one Sensor, until `close`. ``breaker_open`` tells whether its breaker is."""

    def __init__(self, sensor: str, trigger: str) -> None:
        names = sensor, trigger
        self._series = series = Series()
        self._results = {
            result: series.of(_EXECUTIONS, *names, result) for result in ("success", "retry", "failure", "error")
        }
        self._duration = series.of(_DURATION, *names)
        self._retries = series.of(_RETRIES, *names)
        self._outcomes = {
            outcome: series.of(_DELIVERIES, *names, outcome)
            for outcome in ("acked", "retried", "returned", "dead_letter", "lost")
        }
        self._filtered = {reason: series.of(_FILTERED, *names, reason) for reason in ("false", "error")}
        self._latency = series.of(_CHANGE_TO_ACK, *names)
        self._time = "", 0.0  # of the last event: those of one commit have the same
        self.breaker_open: Callable[[], bool] = bool
        self._names = names
        series.read(_IN_FLIGHT, int, *names)
        series.read(_BREAKER_OPEN, self._breaker_is_open, *names)

    @property
    def done(self) -> float:
        """How many deliveries were acked, or given up on. It only grows."""
        return self._outcomes["acked"].value + self._outcomes["dead_letter"].value

    def close(self) -> None:
        """The trigger has ended: export it no more."""
        self._series.close()

    def count_in_flight(self, deliveries: Sized) -> Callable[[], None]:
        """Export how many deliveries are in flight there too. Returns what ends that."""
        return _IN_FLIGHT.read(deliveries.__len__, *self._names)

    def _breaker_is_open(self) -> bool:
        return self.breaker_open()

    def filtered(self, *, error: bool) -> None:
        """Count an event that the filters did not let pass. ``error``: one of them could not be evaluated."""
        self._filtered["error" if error else "false"].value += 1

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
        self._results[result].value += 1
        self._duration.observe(seconds)

    def repeated(self) -> None:
        """Count a run that repeats another."""
        self._retries.value += 1

    def lost(self) -> None:
        """Count a delivery whose claim was lost."""
        self._outcomes["lost"].value += 1

    def settled(self, settlement: Settlement) -> None:
        """Count a delivery that was settled."""
        match settlement:
            case Ack():
                outcome = "acked"
            case Nack(failures=failures):
                outcome = "returned" if failures is None else "retried"
            case DeadLetter():
                outcome = "dead_letter"
        self._outcomes[outcome].value += 1

    def acked(self, event: Event, now: float) -> None:
        """Measure how old an event was when it was acked; ``now`` is wall-clock time."""
        if event.redelivery:
            return
        text, captured = self._time
        if event.time != text:
            try:
                captured = datetime.fromisoformat(event.time).timestamp()
            except ValueError:
                return
            self._time = event.time, captured
        self._latency.observe(now - captured if now > captured else 0.0)
