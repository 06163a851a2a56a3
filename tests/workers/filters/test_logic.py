"""How filters are joined, against a table of truth values, and which of them are evaluated at all."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kubecdc.workers.sensor.filters.logic import All, AnyOf, Check, FilterError, Unjudged
from kubecdc.workers.sensor.filters.manifest import Operator
from kubecdc.workers.sensor.values import Values
from tests.workers.filters.support import compiled, verdict
from tests.workers.support import event

OPERATORS: list[Operator] = ["", "and", "or"]
Outcome = bool | None  # None: it cannot be evaluated
OUTCOMES: list[Outcome] = [True, False, None]


def oracle(operator: Operator, outcomes: Sequence[Outcome]) -> bool:
    """What the documentation of Argo Events says: an error is false."""
    truths = [outcome is True for outcome in outcomes]
    return any(truths) if operator == "or" else all(truths)


def data(outcome: Outcome) -> dict[str, Any]:
    path = {True: "yes", False: "no", None: "missing"}[outcome]
    return {"path": path, "type": "bool", "value": ["true"]}


def expr(outcome: Outcome) -> dict[str, Any]:
    path = {True: "yes", False: "no", None: "missing"}[outcome]
    return {"expr": "x", "fields": [{"name": "x", "path": path}]}


CONTEXT: dict[Outcome, Any] = {True: {"type": "resource"}, False: {"type": "other"}}
CLOCK = {"start": "00:00:00", "stop": "12:00:00"}
TIMES: dict[Outcome, str] = {True: "2026-01-01T01:00:00Z", False: "2026-01-01T13:00:00Z", None: "broken"}


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("kind", ["exprs", "data"])
def test_filters_of_one_kind(kind: str, operator: Operator) -> None:
    name, make = {"exprs": ("exprLogicalOperator", expr), "data": ("dataLogicalOperator", data)}[kind]
    for number in (1, 2, 3):
        for outcomes in itertools.product(OUTCOMES, repeat=number):
            given: dict[str, Any] = {kind: [make(outcome) for outcome in outcomes], name: operator}
            found = verdict(compiled(**given), {"yes": True, "no": False})
            assert found.passes is oracle(operator, outcomes), outcomes


@pytest.mark.parametrize("operator", OPERATORS)
def test_all_kinds_together(operator: Operator) -> None:
    """Each kind with two filters where it may have them, given or not, with each operator of its own."""
    kinds: list[list[tuple[str, Any, bool]]] = [
        [("exprs", (inner, pair), oracle(inner, pair)) for inner in ("and", "or") for pair in PAIRS],
        [("data", (inner, pair), oracle(inner, pair)) for inner in ("and", "or") for pair in PAIRS],
        [("context", CONTEXT[outcome], outcome is True) for outcome in (True, False)],
        [("time", TIMES[outcome], outcome is True) for outcome in OUTCOMES],
    ]
    for chosen in itertools.product(*([None, *kind] for kind in kinds)):
        given = [kind for kind in chosen if kind]
        filters: dict[str, Any] = {}
        when = TIMES[True]
        for name, what, _ in given:
            match name:
                case "exprs":
                    filters |= {"exprLogicalOperator": what[0], "exprs": [expr(outcome) for outcome in what[1]]}
                case "data":
                    filters |= {"dataLogicalOperator": what[0], "data": [data(outcome) for outcome in what[1]]}
                case "context":
                    filters["context"] = what
                case "time":
                    filters["time"], when = CLOCK, what
        found = verdict(compiled(operator, **filters), {"yes": True, "no": False}, time=when)
        expected = oracle(operator, [truth for *_, truth in given]) if given else True
        assert found.passes is expected, (filters, when)


PAIRS: list[tuple[Outcome, Outcome]] = [(True, True), (True, None), (False, True), (None, False)]


def recording(*outcomes: Outcome) -> tuple[list[Check], list[int]]:
    """Checks with these outcomes, and the numbers of those that were evaluated."""
    evaluated: list[int] = []

    def check(number: int, outcome: Outcome) -> Callable[[Values], bool]:
        def test(_: Values) -> bool:
            evaluated.append(number)
            if outcome is None:
                raise FilterError("odd")
            return outcome

        return test

    return [Check(f"check {n}", check(n, outcome)) for n, outcome in enumerate(outcomes)], evaluated


@pytest.mark.parametrize(
    ("outcomes", "evaluated", "denied"),
    [
        ([True, True, True], [0, 1, 2], []),
        ([True, False, None], [0, 1], [1]),
        ([None, True, True], [0], [0]),
    ],
)
def test_and_ends_with_the_first_that_is_not_true(
    outcomes: list[Outcome], evaluated: list[int], denied: list[int]
) -> None:
    checks, found = recording(*outcomes)
    denials: list[Any] = []
    assert All(checks).holds(Values(event()), denials) is (denied == [])
    assert (found, [text for text, _ in denials]) == (evaluated, [f"check {n}" for n in denied])


@pytest.mark.parametrize(
    ("outcomes", "evaluated", "denied", "passes"),
    [
        ([True, None], [0], [], True),
        ([False, None, True, False], [0, 1, 2], [0, 1], True),
        ([False, None], [0, 1], [0, 1], False),
    ],
)
def test_or_ends_with_the_first_that_is_true(
    outcomes: list[Outcome], evaluated: list[int], denied: list[int], passes: bool
) -> None:
    checks, found = recording(*outcomes)
    denials: list[Any] = []
    assert AnyOf(checks).holds(Values(event()), denials) is passes
    assert (found, [text for text, _ in denials]) == (evaluated, [f"check {n}" for n in denied])


def test_kinds_are_evaluated_in_the_order_of_argo() -> None:
    filters = compiled("or", context=CONTEXT[False], time=CLOCK, data=[data(None)], exprs=[expr(False)])
    found = verdict(filters, {"yes": True, "no": False}, time=TIMES[False])
    assert [text.split()[0] for text, _ in found.denials] == [
        "filters.exprs[0]", "filters.data[0]", "filters.context", "filters.time",
    ]  # fmt: skip
    assert found.reason == (
        "filters.exprs[0] (x) is false; filters.context (type = other) is false; "
        "filters.time (00:00:00 to 12:00:00 UTC) is false; "
        "filters.data[0] (missing = true): the event has nothing at 'missing'"
    )


def test_an_error_is_told_though_another_branch_lets_the_event_pass() -> None:
    found = verdict(compiled("or", data=[data(None)], context=CONTEXT[True]))
    assert (found.passes, found.false) == (True, [])
    assert found.errors == ["filters.data[0] (missing = true): the event has nothing at 'missing'"]


@pytest.mark.parametrize("other", [True, False])
def test_what_is_beyond_a_limit_is_unjudged_unless_another_branch_lets_it_pass(other: bool) -> None:
    def too_deep(_: Values) -> bool:
        raise RecursionError

    def limited(_: Values) -> bool:
        raise Unjudged("too large")

    for test in (too_deep, limited):
        denials: list[Any] = []
        parts = [Check("a", test), Check("b", lambda _: other)]
        assert AnyOf(parts).holds(Values(event()), denials) is other
        assert isinstance(denials[0][1], Unjudged)
