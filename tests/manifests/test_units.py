"""Durations as Go writes them, quantities as Kubernetes does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kubecdc.manifest import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("0", 0),
        ("-2s", -2),
        ("3us", 3e-6),
        ("1m0.25s", 60.25),
    ],
)
def test_a_duration_is_read_as_go_does(text: str, seconds: float) -> None:
    assert units.duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "10", "1 s", "5 minutes", "1d", "s", "1h-2m", "٣s", "99999999h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration|above 292 years"):
        units.duration(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1Gi", 1 << 30), ("1.5Ki", 1536), ("500M", 500_000_000), ("1e9", 10**9), ("1024", 1024), ("2k", 2000), ("0", 0)],
)
def test_a_quantity_is_read_as_kubernetes_does(text: str, number: int) -> None:
    assert units.quantity(text) == number


@pytest.mark.parametrize("text", ["", "1GB", "-1", "0.5", "1 Gi", "Gi", "100m"])
def test_what_is_no_whole_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        units.quantity(text)


@pytest.mark.parametrize("text", ["0", "300ms", "1us", "1h30m", "-2.5s"])
def test_a_duration_that_is_written_is_read_again(text: str) -> None:
    assert units.duration(units.duration_text(units.duration(text))) == units.duration(text)
