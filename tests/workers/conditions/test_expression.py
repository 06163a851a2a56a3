"""The expressions of `conditions`."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubecdc.workers.conditions.expression import MOST_NESTED, BadConditions, Expression, parse

NAMES = ("a", "b-1", "c.d")
SETS = [frozenset(some) for size in range(len(NAMES) + 1) for some in combinations(NAMES, size)]

Tree = str | tuple[str, "Tree", "Tree"]
trees: st.SearchStrategy[Tree] = st.recursive(
    st.sampled_from(NAMES), lambda inner: st.tuples(st.sampled_from(["&&", "||"]), inner, inner), max_leaves=12
)


def written(tree: Tree) -> str:
    return tree if isinstance(tree, str) else f"({written(tree[1])} {tree[0]} {written(tree[2])})"


def truth(tree: Tree, present: frozenset[str]) -> bool:
    if isinstance(tree, str):
        return tree in present
    left, right = truth(tree[1], present), truth(tree[2], present)
    return left and right if tree[0] == "&&" else left or right


@given(trees)
def test_it_is_true_for_exactly_the_events_that_make_it_true(tree: Tree) -> None:
    expression = parse(written(tree))
    assert [expression.met(present) for present in SETS] == [truth(tree, present) for present in SETS]
    assert expression.alone == {name for name in expression.names if truth(tree, frozenset([name]))}


def test_and_binds_closer_than_or() -> None:
    expression = parse("a||b-1&&c.d")
    assert [expression.met(present) for present in SETS] == [
        "a" in present or {"b-1", "c.d"} <= present for present in SETS
    ]


def test_without_an_expression_an_event_of_each_is_needed() -> None:
    expression = Expression.all_of(["a", "b"])
    assert (expression.met({"a"}), expression.met({"a", "b"}), expression.alone) == (False, True, frozenset())
    assert Expression.all_of(["a"]).alone == {"a"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a &&", "ends where the name of a dependency is expected"),
        ("&& a", "'&&' at character 1 stands where the name of a dependency is expected"),
        ("a b", "'b' at character 3 is not expected: `&&` or `||` is missing before it"),
        ("(a || b", "a parenthesis is not closed"),
        ("a)", "')' at character 2 is not expected: `&&` or `||` is missing before it"),
        ("()", "')' at character 2 stands where the name of a dependency is expected"),
        ("a & b", "'&' at character 3 is not an operator: write `&&` or `||`"),
        ("a | b", "'|' at character 3 is not an operator: write `&&` or `||`"),
        ("!a", "'!a' at character 1 is a negation, which `conditions` cannot have"),
        ("", "is empty"),
        ("(" * (MOST_NESTED + 1) + "a", f"has more than {MOST_NESTED} parentheses within each other"),
    ],
)
def test_what_is_no_expression_is_said(text: str, message: str) -> None:
    with pytest.raises(BadConditions) as raised:
        parse(text)
    assert str(raised.value) == message
