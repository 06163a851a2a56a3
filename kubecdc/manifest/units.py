"""Durations and quantities in the notation of Go and Kubernetes."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_TERM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(rf"([+-]?)((?:{_TERM.pattern})+)", re.ASCII)
_LARGEST_DURATION = 2**63 - 1  # nanoseconds, as in Go: about 292 years
_LARGEST_QUANTITY = 2**63 - 1  # as in Kubernetes
_SCALES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_SCALES |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(?:([kMGTPE]i?|Ki)|[eE]([+-]?\d{1,2}))?", re.ASCII)


def duration(text: str) -> timedelta:
    """Read a Go duration (``1h30m``, ``500ms``, ``0``), to the microsecond. Raises ValueError.

    Grammar of ``time.ParseDuration``, https://pkg.go.dev/time#ParseDuration.
    """
    if text in ("0", "+0", "-0"):
        return timedelta()
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration")
    total = sum(Decimal(number) * _NANOSECONDS[unit] for number, unit in _TERM.findall(match[2]))
    return nanoseconds(-int(total) if match[1] == "-" else int(total))


def duration_text(length: timedelta) -> str:
    """A duration as `duration` reads it."""
    return f"{length // timedelta(microseconds=1)}us"


def nanoseconds(count: int) -> timedelta:
    """A duration given in nanoseconds, to the microsecond. Raises ValueError where Go would overflow."""
    if abs(count) > _LARGEST_DURATION:
        raise ValueError("the duration is above 292 years")
    return timedelta(microseconds=count // 1000)


def quantity(text: str) -> int:
    """Read a whole Kubernetes quantity (``1Gi``, ``500M``, ``1e9``, ``1024``). Raises ValueError.

    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity")
    number, scale, exponent = match.groups()
    value = Decimal(number) * (Decimal(10) ** int(exponent) if exponent else _SCALES[scale or ""])
    if value > _LARGEST_QUANTITY:
        raise ValueError(f"{text!r} is too large")
    if value != int(value):
        raise ValueError(f"{text!r} is not a whole number")
    return int(value)
