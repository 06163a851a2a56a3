"""What a scrape is answered is what the library would write."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY as OTHERS
from prometheus_client import Counter as LibraryCounter
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from kubecdc import metrics
from kubecdc.cli.serving.exposition import exposition
from tests.exported import REGISTRY

ODD = ('"', "\\", "a\nb", "ü", 'x\\"y', "", "{},=")


@pytest.fixture
def definitions() -> Iterator[None]:
    before = dict(metrics.defined)
    for name in ODD:
        metrics.Counter(f"test_{ODD.index(name)}_odd", f"It's {ODD.index(name)}", ["one", "two"]).at(
            name, "b"
        ).value += 3
    metrics.Counter("test_many", "Many").at().value = 12345678901
    metrics.Histogram("test_size_bytes", "Size", buckets=(1, 10)).at().observe(0.5)
    metrics.Gauge("test_none", "Nothing", ["a"])
    metrics.Gauge("test_level", "Level").read(lambda: -1.5e-9)
    metrics.Histogram("test_took_seconds", "Took", ["a"]).at("b").observe(2)
    theirs = LibraryCounter("test_plugins_own", "Of a plug-in")
    yield
    OTHERS.unregister(theirs)
    metrics.defined.clear()
    metrics.defined.update(before)


def parsed(text: bytes) -> dict[str, tuple[str, str, list[object]]]:
    return {
        family.name: (family.type, family.documentation, [(s.name, s.labels, s.value) for s in family.samples])
        for family in text_string_to_metric_families(text.decode())
        if not family.name.startswith(("process_", "python_"))  # they change
    }


def test_it_says_what_the_library_would_say(definitions: None) -> None:
    found = parsed(exposition())
    assert found == parsed(generate_latest(OTHERS) + generate_latest(REGISTRY))
    assert len([name for name in found if name.startswith("test_")]) >= len(ODD) + 4
