"""The numbers that a process keeps, and how the library exports them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import generate_latest

from kubecdc import metrics
from kubecdc.metrics import Counter, Gauge, Histogram, Series
from tests.exported import REGISTRY


@pytest.fixture(autouse=True)
def own_definitions() -> Iterator[None]:
    """What a test defines is gone after it."""
    before = dict(metrics.defined)
    yield
    metrics.defined.clear()
    metrics.defined.update(before)


def exported(name: str) -> list[str]:
    return [line for line in generate_latest(REGISTRY).decode().splitlines() if line.startswith(name)]


def test_a_counter_is_a_number_that_is_read_when_it_is_scraped() -> None:
    cell = Counter("test_things", "Things", ["kind"]).at("a")
    cell.value += 2
    assert exported("test_things") == ['test_things_total{kind="a"} 2.0']
    cell.value += 1
    assert exported("test_things") == ['test_things_total{kind="a"} 3.0']


def test_a_histogram_adds_up_from_bucket_to_bucket() -> None:
    found = Histogram("test_took_seconds", "Time", buckets=(0.1, 1)).at()
    for value in (0.05, 0.1, 0.5, 7):
        found.observe(value)
    assert exported("test_took_seconds") == [
        'test_took_seconds_bucket{le="0.1"} 2.0',
        'test_took_seconds_bucket{le="1.0"} 3.0',
        'test_took_seconds_bucket{le="+Inf"} 4.0',
        "test_took_seconds_count 4.0",
        "test_took_seconds_sum 7.65",
    ]


def test_a_gauge_adds_what_several_have_and_leaves_out_what_is_not_known() -> None:
    gauge = Gauge("test_held", "Held", ["who"])
    ends = gauge.read(lambda: 2, "a")
    gauge.read(lambda: 3, "a")
    gauge.read(lambda: None, "b")
    assert exported("test_held") == ['test_held{who="a"} 5.0']
    ends()
    assert exported("test_held") == ['test_held{who="a"} 3.0']
    there: dict[metrics.Labels, float] = {("c",): 1.0, ("d",): 2.0}
    gauge.read_all(lambda: there)
    assert len(exported("test_held")) == 3
    del there["c",]
    assert exported("test_held") == ['test_held{who="a"} 3.0', 'test_held{who="d"} 2.0']


def test_series_end_with_the_last_who_uses_them() -> None:
    counter, gauge = Counter("test_things", "Things", ["kind"]), Gauge("test_held", "Held", ["who"])
    one, other = Series(), Series()
    assert one.of(counter, "a") is one.of(counter, "a") is other.of(counter, "a")
    one.read(gauge, lambda: 1, "a")
    one.close()
    assert exported("test_") == ['test_things_total{kind="a"} 0.0']
    other.close()
    other.close()
    assert exported("test_") == []
    one.of(counter, "b")
    counter.at("c")
    metrics.forget("kind", "b")
    assert exported("test_") == ['test_things_total{kind="c"} 0.0']
    one.close()


def test_a_name_is_defined_once() -> None:
    Counter("test_things", "Things")
    with pytest.raises(ValueError, match="test_things is defined twice"):
        Gauge("test_things", "Things")
