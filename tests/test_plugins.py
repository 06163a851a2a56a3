"""Types that packages provide: found by entry point, and harmless where they are broken."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from kubecdc import plugins
from kubecdc.manifest.model import Model
from kubecdc.storage.contracts import Queue
from kubecdc.storage.contracts.types import BusSettings, Opening, QueueType


class Base:
    """What types of the test's group extend."""


class Good(Base):
    pass


class Bare(QueueType[Model]):
    """A queue that declares nothing."""

    def place(self, spec: Model) -> str:
        return ""

    async def open(self, spec: Model, settings: BusSettings, opening: Opening) -> Queue:
        raise NotImplementedError


class Odd(Bare):
    model = Model


def point(name: str, value: str) -> metadata.EntryPoint:
    return metadata.EntryPoint(name, f"{__name__}:{value}" if ":" not in value else value, "kubecdc.test")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[metadata.EntryPoint]]:
    points: list[metadata.EntryPoint] = []
    monkeypatch.setattr(plugins, "_provided", lambda: metadata.EntryPoints(points))
    plugins.load.cache_clear()
    yield points
    plugins.load.cache_clear()


def test_a_type_is_found_under_the_name_of_its_entry_point(found: list[metadata.EntryPoint]) -> None:
    found += [point("b", "Good"), point("a", "Good"), point("a", "Good")]
    loaded = plugins.load("kubecdc.test", Base)
    assert list(loaded.types) == ["a", "b"]
    assert isinstance(loaded.types["a"], Good)
    assert not loaded.broken


def test_a_type_that_cannot_be_used_harms_no_other(found: list[metadata.EntryPoint]) -> None:
    found += [point("good", "Good"), point("gone", "no.such.module:X"), point("other", "builtins:int")]
    found += [point("twice", "Good"), point("twice", "Base")]
    loaded = plugins.load("kubecdc.test", Base)
    assert list(loaded.types) == ["good"]
    assert "No module named 'no'" in loaded.broken["gone"]
    assert "not a class that extends" in loaded.broken["other"]
    assert "several packages" in loaded.broken["twice"]


def test_a_queue_without_a_model_is_broken_by_itself(found: list[metadata.EntryPoint]) -> None:
    found += [point("bare", "Bare"), point("odd", "Odd"), point("sqlite", "kubecdc.storage.sqlite.queue:SqliteQueue")]
    loaded = plugins.load("kubecdc.test", QueueType)
    assert list(loaded.types) == ["sqlite"]
    assert "its `model` is not a class that extends kubecdc.manifest.model.Model" in loaded.broken["bare"]
    assert "no `example`" in loaded.broken["odd"]


def test_a_package_that_exits_at_import_does_not_end_the_process(
    found: list[metadata.EntryPoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kubecdc_quits.py").write_text("raise SystemExit('no license')\n")
    monkeypatch.syspath_prepend(tmp_path)
    found += [point("good", "Good"), point("quits", "kubecdc_quits:Quits")]
    loaded = plugins.load("kubecdc.test", Base)
    assert list(loaded.types) == ["good"]
    assert loaded.broken["quits"] == "kubecdc_quits:Quits: no license"
