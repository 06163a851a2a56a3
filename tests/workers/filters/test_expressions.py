"""Expressions give what govaluate gives, which Argo Events uses, except for what docs/argo-compatibility.md lists."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from kubecdc.workers.sensor.filters.expression import compile_expression, operand
from kubecdc.workers.sensor.filters.logic import FilterError
from tests.workers.filters.support import compiled, verdict

RECORDED = json.loads((Path(__file__).parents[2] / "data" / "expressions" / "govaluate.json").read_text())
VALUES: dict[str, Any] = RECORDED["values"]
ERROR = "an error"

DIFFERENT: dict[str, object] = {
    # operators may follow each other without a space
    "a*-b": -2.5,
    "!!t": True,
    "a<b&&!f": True,
    # a quote of the other kind is part of the text
    '"it\'s"': "it's",
    # text that looks like a date is text
    '"2020-01-02" + "x"': "2020-01-02x",
    's > "2020-01-01"': True,
    # ? : is grouped from the right, and gives null if that is chosen
    "t ? 1 : f ? 2 : 3": 1,
    "t ? nul : 5": None,
    "a ** (!f ? (nul) : (1)) == 'hello'": ERROR,
    '((t ? nul : false)) && t != "x" & s =~ o * a ^ "x"': ERROR,
    # large numbers become text without an exponent
    '1000000 * 1000000 + "x"': "1000000000000x",
    '10 ** 20 + "x"': "100000000000000000000x",
    # a list needs parentheses, and a value
    "1,2": ERROR,
    "a, b": ERROR,
    "()": ERROR,
    # lists and objects do not become text
    '!((1,2,"x") != (1,2,"x") + s) != false': ERROR,
    # what Go gives for shifts of or by negative numbers depends on the machine
    "-8 >> 1": ERROR,
    "(1 >> neg - a) >= ~z | (1) % (b)": ERROR,
    "neg << (2) != 2 || s || neg": ERROR,
    "((z) >= 0.5 != a << -(1))": ERROR,
}


def evaluated(expression: str, values: dict[str, Any] = VALUES) -> object:
    try:
        return compile_expression(expression, values).evaluate({k: operand(v) for k, v in values.items()})
    except (ValueError, FilterError):
        return ERROR


def same(found: object, recorded: object) -> bool:
    """Equal as JSON, which tells booleans from numbers."""
    if isinstance(found, float) and isinstance(recorded, int | float) and not isinstance(recorded, bool):
        return found == float(recorded)
    return type(found) is type(recorded) and found == recorded


@pytest.mark.parametrize("row", [*RECORDED["expressions"], *RECORDED["random"]], ids=lambda row: row["expr"])
def test_an_expression_gives_what_it_gives_in_argo(row: dict[str, Any]) -> None:
    found = evaluated(row["expr"])
    if row["expr"] in DIFFERENT:
        assert same(found, DIFFERENT[row["expr"]])
        row = {"result": found, **row}
        assert "error" in row or not same(found, row["result"]), "it is the same: no difference to be listed"
    elif "error" in row:
        assert found == ERROR
    elif "not_finite" in row:
        assert isinstance(found, float)
        assert not math.isfinite(found)
    else:
        assert same(found, row["result"])


def test_the_differences_are_of_recorded_expressions() -> None:
    assert set(DIFFERENT) <= {row["expr"] for row in [*RECORDED["expressions"], *RECORDED["random"]]}


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "the expression ends too early"),
        ("a ==", "the expression ends too early"),
        ("a = 1", "unexpected '= 1': values are compared with =="),
        ("(a", "the expression ends too early"),
        ("a)", r"unexpected '\)' at character 2"),
        ("a b", "unexpected 'b' at character 3"),
        ('a == "x', 'the text that begins with "x has no end'),
        ("a == 1e3", "unexpected '1e3'"),
        ("1.2.3 == a", "`1.2.3` is not a number"),
        ("c == 1", "`c` is not the name of one of the `fields`"),
        ("a.b == 1", "`a.b` is not a name: give the value a name in `fields`, with its path"),
        ("a(1)", "there are no functions, such as 'a'"),
        ("a : b", "unexpected ':' at character 3"),
        ("a $ b", r"unexpected '\$ b'"),
        ('a =~ "("', r"'\(' is not a regular expression of RE2: missing \): \("),
        ("1,2", "unexpected ',' at character 2"),
    ],
)
def test_a_mistake_is_found_when_it_is_compiled(expression: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        compile_expression(expression, {"a", "b"})


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("s > 1", "a number is needed where text is"),
        ("nul && t", "true or false is needed where null is"),
        ("!a", "true or false is needed where a number is"),
        ("o + 1", "a number is needed where an object is"),
        ("a =~ s", "text is needed where a number is"),
        ("s =~ l", "text is needed where a list is"),
        ("a in s", "`in` needs a list on its right, but there is text"),
        ('l + "x"', "a list cannot be joined to text"),
        ("1 << neg", "a shift needs numbers of at least 0"),
        ("~(10 ** 20)", "a number of less than 64 bits is needed"),
        ('s =~ "(" + n', "is not a regular expression of RE2"),
        ("a + 1", "it gives a number, which is neither true nor false"),
        ("f ? t", "it gives null, which is neither true nor false"),
    ],
)
def test_a_value_that_does_not_fit_is_an_error_which_is_false(expression: str, reason: str) -> None:
    fields = [{"name": name, "path": name} for name in VALUES]
    found = verdict(compiled(exprs=[{"expr": expression, "fields": fields}]), VALUES)
    assert (found.passes, found.is_unjudged) == (False, False)
    assert found.errors[0].startswith(f"filters.exprs[0] ({expression}): ")
    assert reason in found.errors[0]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"n": 2**53 + 1}, True),  # 2**53, as a float
        ({"n": 10**400}, False),
        ({"n": True}, False),
        ({"n": "9007199254740992"}, False),
    ],
)
def test_numbers_of_the_event_are_floats(data: dict[str, object], expected: bool) -> None:
    filters = compiled(exprs=[{"expr": "n == 9007199254740992", "fields": [{"name": "n", "path": "n"}]}])
    assert verdict(filters, data).passes is expected


def test_a_field_that_is_not_there_is_an_error_even_if_it_does_not_matter() -> None:
    fields = [{"name": "a", "path": "a"}, {"name": "b", "path": "x.b"}]
    found = verdict(compiled(exprs=[{"expr": "a == 1 || b == 2", "fields": fields}]), {"a": 1})
    assert found.errors == ["filters.exprs[0] (a == 1 || b == 2): the event has nothing at 'x.b'"]
