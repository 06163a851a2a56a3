"""What a process counts and exports. To count is to add to a number; it is read when somebody scrapes.

A metric is defined once, where it is counted. docs/metrics.md is made from the definitions. Its series are asked for
once (`Counter.at`), not for each event, and end with the `Series` that holds them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import ClassVar, Generic, TypeVar

Labels = tuple[str, ...]
Read = Callable[[], float | None]  # in the thread of a scrape. None: not known, and left out
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

# Who exports a metric, and so how replicas are added up.
EACH = "every process, its own part: sum"
WORKERS = "every worker, its own part: sum"
LEADER = "the leader alone"
SAME = "every process that knows, the same: max"
ONE = "one process of each bus, which is elected: sum or max"

defined: dict[str, Metric] = {}
"""All metrics, by name."""


class Cell:
    """One series that is counted: add to ``value``."""

    __slots__ = ("users", "value")

    def __init__(self) -> None:
        self.value: float = 0
        self.users = 0


class Distribution:
    """One series of a histogram."""

    __slots__ = ("_bounds", "counts", "sum", "users")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.users = 0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class Metric(ABC):
    """A definition. ``by`` is one of the constants above. ``name`` has the base unit, but not the suffix ``_total``."""

    kind: ClassVar[str]
    parts: tuple[tuple[str, str], ...] = (("", ""),)
    """The samples of a series: the suffix of the name, and the value of the label `le` or ""."""

    def __init__(self, name: str, help_: str, labels: Sequence[str] = (), *, by: str = EACH) -> None:
        self.name = name
        self.help = help_
        self.labels = tuple(labels)
        self.by = by
        if name in defined:
            raise ValueError(f"the metric {name} is defined twice")
        defined[name] = self

    @abstractmethod
    def series(self) -> Iterable[tuple[Labels, Sequence[float]]]:
        """All series as they are now: the labels, and a value for each of ``parts``."""


S = TypeVar("S", Cell, Distribution)


class Kept(Metric, Generic[S]):
    """A metric whose series are numbers that are kept here, each while it has users."""

    def __init__(self, name: str, help_: str, labels: Sequence[str] = (), *, by: str = EACH) -> None:
        super().__init__(name, help_, labels, by=by)
        self._kept: dict[Labels, S] = {}

    @abstractmethod
    def _new(self) -> S: ...

    def at(self, *labels: str) -> S:
        """The series of these labels, until each of its users has called `release`. Without one, it stays."""
        found = self._kept.get(labels)
        if found is None:
            found = self._kept[labels] = self._new()
        found.users += 1
        return found

    def release(self, *labels: str) -> None:
        """One user less."""
        if found := self._kept.get(labels):
            found.users -= 1
            if not found.users:
                del self._kept[labels]

    def forget(self, label: str, value: str) -> None:
        """End the series with that value of a label, whoever uses them."""
        if label in self.labels:
            at = self.labels.index(label)
            for labels in [labels for labels in self._kept if labels[at] == value]:
                del self._kept[labels]


class Counter(Kept[Cell]):
    """It only grows."""

    kind = "counter"
    parts = (("_total", ""),)

    def _new(self) -> Cell:
        return Cell()

    def series(self) -> Iterable[tuple[Labels, Sequence[float]]]:
        return [(labels, (cell.value,)) for labels, cell in list(self._kept.items())]


class Histogram(Kept[Distribution]):
    """How values are distributed, over these ``buckets``."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        help_: str,
        labels: Sequence[str] = (),
        *,
        by: str = EACH,
        buckets: Sequence[float] = SECONDS,
    ) -> None:
        super().__init__(name, help_, labels, by=by)
        self._buckets = tuple(buckets)
        bounds = (*(str(float(bound)) for bound in buckets), "+Inf")
        self.parts = (*(("_bucket", bound) for bound in bounds), ("_count", ""), ("_sum", ""))

    def _new(self) -> Distribution:
        return Distribution(self._buckets)

    def series(self) -> Iterable[tuple[Labels, Sequence[float]]]:
        for labels, found in list(self._kept.items()):
            below = list(accumulate(found.counts))
            yield labels, (*below, below[-1], found.sum)


class Gauge(Metric):
    """It goes up and down, and is read when it is scraped."""

    kind = "gauge"

    def __init__(self, name: str, help_: str, labels: Sequence[str] = (), *, by: str = EACH) -> None:
        super().__init__(name, help_, labels, by=by)
        self._reads: list[tuple[Labels, Read]] = []
        self._tables: list[Callable[[], Mapping[Labels, float]]] = []

    def read(self, read: Read, *labels: str) -> Callable[[], None]:
        """Export what ``read`` returns; what others have of the same labels is added. Returns what ends it."""
        entry = labels, read
        self._reads.append(entry)
        return lambda: self._reads.remove(entry)

    def read_all(self, table: Callable[[], Mapping[Labels, float]]) -> Callable[[], None]:
        """Export series that come and go, as ``table`` returns them by their labels. Returns what ends it."""
        self._tables.append(table)
        return lambda: self._tables.remove(table)

    def series(self) -> Iterable[tuple[Labels, Sequence[float]]]:
        values: dict[Labels, float] = {}
        for labels, read in list(self._reads):
            if (value := read()) is not None:
                values[labels] = values.get(labels, 0) + value
        for table in list(self._tables):
            values |= table()
        return [(labels, (value,)) for labels, value in values.items()]


class Series:
    """Series that end together."""

    def __init__(self) -> None:
        self._ends: list[Callable[[], None]] = []
        self._known: dict[tuple[str, Labels], Cell | Distribution] = {}

    def of(self, metric: Kept[S], *labels: str) -> S:
        """One series, the same one each time."""
        found = self._known.get((metric.name, labels))
        if found is None:
            found = self._known[metric.name, labels] = metric.at(*labels)
            self._ends.append(lambda: metric.release(*labels))
        return found  # type: ignore[return-value]

    def read(self, gauge: Gauge, read: Read, *labels: str) -> None:
        """As `Gauge.read`."""
        self._ends.append(gauge.read(read, *labels))

    def read_all(self, gauge: Gauge, table: Callable[[], Mapping[Labels, float]]) -> None:
        """As `Gauge.read_all`."""
        self._ends.append(gauge.read_all(table))

    def close(self) -> None:
        """Export them no more. May be repeated."""
        ends, self._ends = self._ends, []
        self._known.clear()
        for end in ends:
            end()


def forget(label: str, value: str) -> None:
    """What is named so has ended for good, such as a subscription: end what was counted of it."""
    for metric in defined.values():
        if isinstance(metric, Kept):
            metric.forget(label, value)
