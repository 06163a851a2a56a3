"""The values that templates see: JSON as Go decodes it, with lists and objects that charge whoever walks them.

A template can put a list into itself twice, and that twenty times over. So the size of a value says nothing about
what it costs to print it; only walking it does.
"""

from __future__ import annotations

import math
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any

from kubecdc.workers.sensor.templates.meter import charge

_NODE = 5.0  # microseconds to format an element
_MAKE = 0.5  # to convert one
_COPY = 0.1  # to copy one


class Array(list[Any]):
    """A list that charges for being walked."""

    def __iter__(self) -> Iterator[Any]:
        charge(len(self) * _NODE)
        return super().__iter__()


class Object(dict[str, Any]):
    """A dict that charges for being walked."""

    def __iter__(self) -> Iterator[str]:
        charge(len(self) * _NODE)
        return super().__iter__()

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        """As in dict."""
        charge(len(self) * _NODE)
        return super().keys()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """As in dict."""
        charge(len(self) * _NODE)
        return super().values()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """As in dict."""
        charge(len(self) * _NODE)
        return super().items()


def of_json(value: Any) -> Any:
    """A copy of decoded JSON. Numbers become floats, as Go decodes them."""
    kind = type(value)
    if kind is int:
        return _float(value)
    if kind is dict:
        charge(len(value) * _MAKE)
        return Object([(key, of_json(inner)) for key, inner in value.items()])
    if kind is list:
        charge(len(value) * _MAKE)
        return Array([of_json(inner) for inner in value])
    return value


def made(value: Any) -> Any:
    """What a function has made, with lists and objects that charge."""
    if type(value) is list:
        charge(len(value) * _COPY)
        return Array([made(inner) if type(inner) in (list, dict) else inner for inner in value])
    if type(value) is dict:
        return Object([(key, made(inner)) for key, inner in value.items()])
    return value


def plain(value: Any) -> Any:
    """A list that does not charge, for a function that only copies it."""
    if type(value) is not Array:
        return value
    charge(len(value) * _COPY)
    return list.copy(value)


def _float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.copysign(math.inf, number)
