"""The values of Argo Events' own tests of filters (pkg/sensors/dependencies/filter_*_test.go, commit 6478ece).

What Argo refuses for each event, and kubecdc when the manifest is read, is in tests/manifests/test_problems.py.
The values with a zone are in test_attributes.py.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.workers.filters.support import compiled, verdict

NESTED = {"k": True, "k1": {"k": 3.14, "k2": "hello, world"}}
MULTI = {"k": "v", "k1": {"a": [{"k2": "v2"}, {"k2": "v3"}]}}


def data(path: str, type_: str, *value: str, comparator: str = "") -> dict[str, Any]:
    return {"path": path, "type": type_, "comparator": comparator, "value": list(value)}


def expr(text: str, **fields: str) -> dict[str, Any]:
    return {"expr": text, "fields": [{"name": name, "path": path} for name, path in fields.items()]}


@pytest.mark.parametrize(
    ("given", "operator", "event", "expected"),
    [
        ([data("k", "string", "v")], "", {"k": "v"}, True),
        ([data("k", "string", "v", comparator="=")], "", {"k": "v"}, True),
        ([data("k", "string", "b", comparator="!=")], "", {"k": "v"}, True),
        ([data("k", "number", "1.0")], "", {"k": "1.0"}, True),
        ([data("k", "number", "1.0", comparator=">")], "", {"k": "2.0"}, True),
        ([data("k", "number", "1.0", comparator="<=")], "", {"k": "2.0"}, False),
        ([data("k", "number", "1.0", comparator="!=")], "", {"k": "1.0"}, False),
        ([data("k", "number", "5.0", comparator="=")], "", {"k": "5.0"}, True),
        ([data("k", "number", "10.0")], "", {"k": "10.0"}, True),
        ([data("k", "number", "1.0")], "", {"k": 1.0}, True),
        ([data("k", "number", "1.0", comparator=">")], "", {"k": 2.0}, True),
        ([data("k", "number", "1.0", comparator="<=")], "", {"k": 2.0}, False),
        ([data("k", "number", "1.0", comparator="!=")], "", {"k": 1.0}, False),
        ([data("k", "number", "5.0", comparator="=")], "", {"k": 5.0}, True),
        ([data("k", "number", "10.0")], "", {"k": 10.0}, True),
        (
            [
                data("k", "string", "v"),
                data("k1.k", "number", "2.14"),
                data("k1.k2", "string", "hello,world", "hello there"),
            ],
            "",
            NESTED,
            False,
        ),
        (
            [
                data("k", "bool", "true"),
                data("k1.k", "number", "3.14"),
                data("k1.k2", "string", "hello,world", "hello, world", "hello there"),
            ],
            "and",
            NESTED,
            True,
        ),
        (
            [
                data("k", "bool", "false"),
                data("k1.k", "number", "3.14"),
                data("k1.k2", "string", "hello,world", "hello there"),
            ],
            "or",
            NESTED,
            True,
        ),
        ([data('[k,k1.a.#(k2=="v2").k2]', "string", r"\bv\b.*\bv2\b", comparator="=")], "", MULTI, True),
        (
            [
                data(
                    '[k,k1.a.#(k2=="v2").k2,,k1.a.#(k2=="v3").k2]',
                    "string",
                    r"(\bz\b.*\bv2\b)|(\bv\b.*(\bv2\b.*\bv3\b))",
                )
            ],
            "",
            MULTI,
            True,
        ),
        (
            [{**data("k", "string", "HELLO WORLD"), "template": "{{ b64dec .Input | upper }}"}],
            "",
            {"k": "aGVsbG8gd29ybGQ="},
            True,
        ),
        (
            [{**data("k", "number", "3.13", comparator=">"), "template": "{{ b64dec .Input }}"}],
            "",
            {"k": "My4xNA=="},
            True,
        ),
        (
            [{**data("k", "string", "hello world", comparator="!="), "template": "{{ b64dec .Input }}"}],
            "",
            {"k": "aGVsbG8gd29ybGQ"},
            True,
        ),
        (
            [{**data("k", "string", "world$"), "template": "{{ b64dec .Input }}"}],
            "",
            {"k": "aGVsbG8gd29ybGQ="},
            True,
        ),
    ],
)
def test_data(given: list[dict[str, Any]], operator: str, event: object, expected: bool) -> None:
    found = verdict(compiled(data=given, dataLogicalOperator=operator), event)
    assert (found.passes, found.errors) == (expected, [])


B, C, D, E = (expr(text, **{text[0]: path}) for text, path in (
    ('b == "x"', "a.b"), ('c == "c"', "a.c"), ('d == "y"', "a.d"), ("e == true", "a.d.e"),
))  # fmt: skip
FLAT, DEEP = {"a": {"b": "x", "d": "y"}}, {"a": {"b": "x", "d": {"e": True}}}
INNER = {"a": {"b": "x", "c": {"d": True}}}


@pytest.mark.parametrize(
    ("given", "operator", "event", "expected", "missing"),
    [
        ([expr('a == "b"', a="a")], "", {"a": "b"}, True, ""),
        ([expr('a != "b"', a="a")], "", {"a": "c"}, True, ""),
        ([expr('b == "b"', b="a.b")], "", {"a": {"b": "c"}}, False, ""),
        ([expr("b == 2", b="a.b")], "", {"a": {"b": 2}}, True, ""),
        ([expr("b < 1", b="a.b")], "", {"a": {"b": 2}}, False, ""),
        ([expr('b =~ "start"', b="a.b")], "", {"a": {"b": "start long string"}}, True, ""),
        ([expr('b !~ "start"', b="a.b")], "", {"a": {"b": "long string"}}, True, ""),
        ([B, D], "", FLAT, True, ""),
        ([B, expr('d == "d"', d="a.d")], "and", FLAT, False, ""),
        ([B, expr('d == "d"', d="a.d")], "or", FLAT, True, ""),
        ([expr('b == "b"', b="a.b"), C], "or", FLAT, False, "a.c"),
        ([B, C, E], "or", DEEP, True, ""),
        ([expr('b == "b"', b="a.b"), C], "", FLAT, False, ""),
        ([B, C], "", FLAT, False, "a.c"),
        ([B, C, E], "and", DEEP, False, "a.c"),
        ([expr('b != "b" && d == true', b="a.b", d="a.d")], "", INNER, False, "a.d"),
        ([expr('b != "b" && d == true', b="a.b", d="a.c.d")], "or", INNER, True, ""),
        ([expr('b == "b" || d == true', b="a.b", d="a.c.d")], "", {"a": {"b": "b", "c": {"d": False}}}, True, ""),
    ],
)
def test_exprs(given: list[dict[str, Any]], operator: str, event: object, expected: bool, missing: str) -> None:
    found = verdict(compiled(exprs=given, exprLogicalOperator=operator), event)
    assert found.passes is expected
    assert [error.partition(": ")[2] for error in found.errors] == (
        [f"the event has nothing at {missing!r}"] if missing else []
    )


def test_an_expression_with_a_name_that_is_not_a_field_is_refused_though_argo_may_never_look_at_it() -> None:
    with pytest.raises(ValidationError, match="`e` is not the name of one of the `fields`"):
        compiled(exprs=[expr('b == "b" || (d == true && e == 2)', b="a.b", d="a.c.d")])


EVENT = {"a": "x", "b": 10, "c": {"d": "hello world", "e": False}}
A, A_NOT = data("a", "string", "x"), data("a", "string", "y")
B_IS, B_NOT = data("b", "number", "10"), data("b", "number", "11")
MISSING = data("z", "string", "x")
C_IS, C_NOT = expr('d == "hello world"', d="c.d"), expr('d == "hello everybody"', d="c.d")
D_IS, D_NOT = expr("e == false", e="c.e"), expr("e == true", e="c.e")
C_MISSING = expr('f == "hello world"', f="c.f")


@pytest.mark.parametrize(
    ("data_operator", "given", "operator", "expr_operator", "exprs", "expected", "fails"),
    [
        ("", [A, B_IS], "", "", [C_IS, D_IS], True, False),
        ("", [MISSING, B_IS], "", "", [C_IS, D_IS], False, True),
        ("and", [A, B_IS], "or", "and", [C_IS, D_NOT], True, False),
        ("or", [A, B_NOT], "and", "or", [C_IS, D_NOT], True, False),
        ("or", [A_NOT, B_NOT], "or", "or", [C_IS, D_IS], True, False),
        ("and", [A, B_IS], "or", "or", [C_NOT, D_NOT], True, False),
        ("or", [A, B_NOT], "or", "and", [C_NOT, D_IS], True, False),
        ("and", [A, B_NOT], "and", "or", [C_NOT, D_NOT], False, False),
        ("or", [A, B_IS], "and", "and", [C_MISSING, D_IS], False, True),
        ("", [A_NOT], "or", "", [expr('A == "not-valid"', A="a")], False, False),
    ],
)
def test_both(
    data_operator: str, given: Any, operator: Any, expr_operator: str, exprs: Any, expected: bool, fails: bool
) -> None:
    filters = compiled(
        operator, data=given, dataLogicalOperator=data_operator, exprs=exprs, exprLogicalOperator=expr_operator
    )
    found = verdict(filters, EVENT)
    assert (found.passes, found.has_errors) == (expected, fails)


CONTEXT = {"type": "webhook", "source": "webhook-gateway", "subject": "example-1", "time": "2024-07-15T16:36:34Z"}
DAY, NEVER = {"start": "09:09:09", "stop": "19:19:19"}, {"start": "09:09:09", "stop": "10:10:10"}
HOOK, FAKE = {"type": "webhook", "source": "webhook-gateway"}, {"type": "webhook", "source": "webhook-fake"}
V, K = data("k", "string", "v"), expr('k != "x"', k="k")


@pytest.mark.parametrize(
    ("filters", "operator", "expected"),
    [
        ({"time": DAY, "context": HOOK, "data": [V], "exprs": [K]}, "and", True),
        ({"time": NEVER, "context": HOOK, "data": [V], "exprs": [K]}, "and", False),
        ({"time": DAY, "context": FAKE, "data": [V], "exprs": [K]}, "and", False),
        ({"time": DAY, "context": HOOK, "data": [V], "exprs": [expr('k == "x"', k="k")]}, "and", False),
        ({"time": DAY, "context": HOOK, "data": [V], "exprs": [expr('k != "v"', k="k")]}, "and", False),
        ({"exprs": [K]}, "and", True),
        ({"exprs": [expr('k != "v"', k="k")]}, "and", False),
        ({"data": [V]}, "and", True),
        ({"data": [data("k", "string", "x")]}, "and", False),
        ({"context": HOOK}, "and", True),
        ({"context": FAKE}, "and", False),
        ({"time": DAY}, "and", True),
        ({"time": NEVER}, "and", False),
        ({"context": HOOK, "data": [data("k", "string", "z")]}, "", False),
        ({"context": HOOK, "data": [data("z", "string", "v")]}, "", False),
        ({"context": FAKE, "data": [V]}, "and", False),
        ({"context": HOOK, "data": [data("z", "string", "v")]}, "and", False),
        # Argo's filterEvent says (true, error) here, and its Filter makes false of that
        ({"context": HOOK, "data": [data("z", "string", "v")]}, "or", True),
        ({"context": {"type": "calendar"}}, "", False),
        ({}, "and", True),
    ],
)
def test_all_kinds(filters: dict[str, Any], operator: Any, expected: bool) -> None:
    assert verdict(compiled(operator, **filters), {"k": "v"}, **CONTEXT).passes is expected
