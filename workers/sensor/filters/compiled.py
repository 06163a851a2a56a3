"""The filters of a dependency, compiled once for all its events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from kubecdc import jsonpath
from kubecdc.workers.scripts.program import Program
from kubecdc.workers.sensor import templates
from kubecdc.workers.sensor.filters.data import acceptance
from kubecdc.workers.sensor.filters.expression import compile_expression, kind, operand
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
from kubecdc.workers.sensor.filters.manifest import (
    ContextFilter,
    DataFilter,
    ExprFilter,
    Filters,
    Operator,
    TimeFilter,
)
from kubecdc.workers.sensor.filters.regex import Pattern
from kubecdc.workers.sensor.filters.time_of_day import within
from kubecdc.workers.sensor.values import Values


class CompiledFilters:
    """Decides which events pass. The kinds are evaluated in Argo's order: exprs, data, context, time, script.

    ``given``: there are any. ``paths``: what they read of the data. ``is_slow``: also a small event may take long. The
    ``script`` is run by the caller, and only if it decides.
    """

    def __init__(self, filters: Filters, operator: Operator = "") -> None:
        exprs = [_expr(i, given) for i, given in enumerate(filters.exprs)]
        data = [_data(i, given) for i, given in enumerate(filters.data)]
        others = [*_context(filters.context), *_time(filters.time)]
        kinds = [_joined(filters.expr_logical_operator, exprs), _joined(filters.data_logical_operator, data), *others]
        self._condition = _joined(operator, kinds)
        self.script = Program("filter", filters.script) if filters.script else None
        self._is_or = operator == "or"
        self.paths = [field.path for expr in filters.exprs for field in expr.fields]
        self.paths += [given.path for given in filters.data]
        self.given = self._condition is not None or self.script is not None
        self.is_slow = any(check.is_slow for check in (*exprs, *data, *others))

    def verdict(self, values: Values) -> Verdict:
        """Whether the event passes, if the script does not decide."""
        if self._condition is None:
            return PASSES
        denials: list[Denial] = []
        passes = self._condition.holds(values, denials)
        return Verdict(passes, denials) if denials else PASSES

    def needs_script(self, verdict: Verdict) -> bool:
        """Whether the script decides after this verdict of the other filters."""
        return self.script is not None and (self._condition is None or verdict.passes is not self._is_or)


def _joined(operator: Operator, parts: Iterable[Condition | None]) -> Condition | None:
    """The parts that there are, joined by an operator; None if there are none."""
    given = [part for part in parts if part]
    if len(given) < 2:
        return given[0] if given else None
    return AnyOf(given) if operator == "or" else All(given)


def _expr(index: int, given: ExprFilter) -> Check:
    expression = compile_expression(given.expr)
    finds = [(field.name, at(field.path)) for field in given.fields]

    def test(values: Values) -> bool:
        result = expression.evaluate({name: operand(find(values)) for name, find in finds})
        if result is True or result is False:
            return result
        raise FilterError(f"it gives {kind(result)}, which is neither true nor false")

    return Check(f"filters.exprs[{index}] ({given.expr})", test, expression.is_slow)


def _data(index: int, given: DataFilter) -> Check:
    find, accepts = at(given.path), acceptance(given.type, given.comparator, given.value)
    if given.template:
        find = _rendered(find, given.template)
    text = f"filters.data[{index}] ({given.path} {given.comparator or '='} {' or '.join(given.value)})"
    is_slow = given.type == "string" and any(Pattern(value).is_large for value in given.value)
    return Check(text, lambda values: accepts(find(values)), is_slow)


def _rendered(find: Callable[[Values], object], template: str) -> Callable[[Values], object]:
    render = templates.compile(template).render

    def rendered(values: Values) -> object:
        value = jsonpath.text(find(values))
        try:
            return render(value, values.meter)
        except templates.Runaway as e:
            raise Unjudged(f"the template: {e}") from e
        except templates.TemplateError as e:
            raise FilterError(f"the template: {e}") from e

    return rendered


def _context(given: ContextFilter | None) -> Iterator[Check]:
    if given:
        wanted = given.given
        text = f"filters.context ({', '.join(f'{name} = {value}' for name, value in wanted.items())})"
        yield Check(text, lambda values: all(getattr(values.event, name) == wanted[name] for name in wanted))


def _time(given: TimeFilter | None) -> Iterator[Check]:
    if given:
        accepts = within(given.start, given.stop, given.timezone)
        text = f"filters.time ({given.start} to {given.stop} {given.timezone or 'UTC'})"
        yield Check(text, lambda values: accepts(values.event.time))


def at(path: str) -> Callable[[Values], object]:
    """What finds the value at a path in the event's data. It raises FilterError if there is none."""
    compiled = jsonpath.compile(path)

    def find(values: Values) -> object:
        found = values.find(compiled)
        if found is jsonpath.MISSING:
            if values.unreadable:
                raise Unjudged(f"the event's data cannot be read: {values.unreadable}")
            raise FilterError(f"the event has nothing at {path!r}")
        return found

    return find
