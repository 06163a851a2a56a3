"""Types of queues, stores and triggers, discovered through entry points.

Each entry point of a group names a class that extends the base class of the group. The types that kubecdc ships are
registered in the same way.
https://packaging.python.org/en/latest/specifications/entry-points/
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Plugins(Generic[T]):
    """The types of one group, by name. ``broken`` maps the name of each unusable type to the reason.

    A broken type affects only the manifests that name it.
    """

    types: Mapping[str, T]
    broken: Mapping[str, str]


@cache
def load(group: str, base: type[T]) -> Plugins[T]:
    """Import every type of an entry-point group. The result is cached for the process and sorted by name."""
    found: dict[str, list[metadata.EntryPoint]] = defaultdict(list)
    for point in _provided().select(group=group):
        if point not in found[point.name]:  # an editable installation may be listed twice
            found[point.name].append(point)
    types: dict[str, T] = {}
    broken: dict[str, str] = {}
    for name, points in sorted(found.items()):
        if len(points) > 1:
            broken[name] = f"several packages provide it: {', '.join(sorted(point.value for point in points))}"
            continue
        try:
            types[name] = _instance(points[0], base)
        except (Exception, SystemExit) as e:  # a broken third-party package must not affect the other types
            broken[name] = f"{points[0].value}: {str(e) or type(e).__name__}"
    return Plugins(types, broken)


@cache
def _provided() -> Any:  # Python 3.11 has another type for it, with the same `select`
    """The entry points of all packages. To find them, every package that is installed is looked into."""
    return metadata.entry_points()


def _instance(point: metadata.EntryPoint, base: type[T]) -> T:
    loaded = point.load()
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        raise TypeError(f"it is not a class that extends {base.__module__}.{base.__qualname__}")
    return loaded()
