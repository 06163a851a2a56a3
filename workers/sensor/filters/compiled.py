"""The filters of a dependency, compiled once for all its events."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kubecdc import jsonpath
from kubecdc.workers.sensor.filters.data import acceptance
from kubecdc.workers.sensor.filters.logic import (
    PASSES,
    All,
    AnyOf,
    Check,
    Condition,
    Denial,
    FilterError,
    Unjudged,
    Verdict,
)
from kubecdc.workers.sensor.filters.manifest import DataFilter, Filters, Operator
from kubecdc.workers.sensor.filters.regex import Pattern
from kubecdc.workers.sensor.parameters import Values


class CompiledFilters:
    """Decides which events pass. The kinds are evaluated in Argo's order: exprs, data, context, time.

    ``given``: there are any. ``is_slow``: also a small event may take long.
    """

    def __init__(self, filters: Filters, operator: Operator = "") -> None:
        data = _joined(filters.data_logical_operator, (_data(i, given) for i, given in enumerate(filters.data)))
        self._condition = _joined(operator, [data])
        self.given = self._condition is not None
        self.is_slow = any(
            Pattern(value).is_large for given in filters.data if given.type == "string" for value in given.value
        )

    def verdict(self, values: Values) -> Verdict:
        """Whether the event passes."""
        if self._condition is None:
            return PASSES
        denials: list[Denial] = []
        passes = self._condition.holds(values, denials)
        return Verdict(passes, denials) if denials else PASSES


def _joined(operator: Operator, parts: Iterable[Condition | None]) -> Condition | None:
    """The parts that there are, joined by an operator; None if there are none."""
    given = [part for part in parts if part]
    if len(given) < 2:
        return given[0] if given else None
    return AnyOf(given) if operator == "or" else All(given)


def _data(index: int, given: DataFilter) -> Check:
    find, accepts = at(given.path), acceptance(given.type, given.comparator, given.value)
    wanted = " or ".join(given.value)
    return Check(
        f"filters.data[{index}] ({given.path} {given.comparator or '='} {wanted})", lambda values: accepts(find(values))
    )


def at(path: str) -> Callable[[Values], object]:
    """What finds the value at a path in the event's data. It raises FilterError if there is none."""
    get = jsonpath.compile(path).get

    def find(values: Values) -> object:
        found = get(values.data)
        if found is jsonpath.MISSING:
            if values.unreadable:
                raise Unjudged(f"the event's data cannot be read: {values.unreadable}")
            raise FilterError(f"the event has nothing at {path!r}")
        return found

    return find
