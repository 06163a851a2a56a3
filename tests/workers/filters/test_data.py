"""Data filters: the table of Argo's semantics, with the differences in docs/argo-compatibility.md."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import re2

from kubecdc.manifest.mounts import Mounts
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.route import routes
from kubecdc.workers.sensor.filters.regex import Pattern
from kubecdc.workers.sensor.values import Values
from kubecdc.workers.triggers.contract import json_line
from tests.workers.filters.support import compiled, verdict
from tests.workers.support import event, http_trigger, sensor

DATA = {
    "type": "UPDATE",
    "text": "prod-x",
    "lines": "one\ntwo",
    "empty": "",
    "n": 3,
    "f": 2.5,
    "big": 2**60,
    "digits": "10",
    "decimal": "1.0",
    "padded": " 10",
    "grouped": "1_0",
    "arabic": "١٠",
    "words": "True",
    "one": "1",
    "yes": True,
    "no": False,
    "none": None,
    "object": {"b": 1, "a": [1, "x"]},
    "list": [{"k": "v2"}, {"k": "v3"}],
    "a.b": "dotted",
}


def passes(path: str, type_: str, comparator: str, *value: str, data: object = DATA) -> bool:
    given = {"path": path, "type": type_, "comparator": comparator, "value": list(value)}
    return verdict(compiled(data=[given]), data).passes


@pytest.mark.parametrize(
    ("path", "comparator", "value", "expected"),
    [
        ("text", "", ["prod-x"], True),
        ("text", "=", ["prod-x"], True),
        ("text", "", ["prod"], True),  # not anchored
        ("text", "", ["^prod$"], False),
        ("text", "", ["^prod-.$"], True),
        ("text", "", ["PROD"], False),
        ("text", "", ["(?i)PROD"], True),
        ("text", "", ["a", "x$"], True),  # one of several
        ("text", "", ["a", "b"], False),
        ("text", "!=", ["a"], True),
        ("text", "!=", ["prod"], False),
        ("text", "!=", ["a", "prod"], False),  # none of several: Argo lets it pass, because "a" differs
        ("text", "!=", ["a", "b"], True),
        ("text", "", [""], True),
        ("empty", "", ["^$"], True),
        ("empty", "", ["."], False),
        ("lines", "", ["^two$"], False),
        ("lines", "", ["(?m)^two$"], True),
        ("lines", "", ["one.two"], False),
        ("n", "", ["^3$"], True),
        ("f", "", [r"^2\.5$"], True),
        ("big", "", ["^1152921504606846976$"], True),
        ("yes", "", ["^true$"], True),
        ("none", "", ["^$"], True),
        ("object", "", [r'^\{"b":1,"a":\[1,"x"\]\}$'], True),
        ("list.#.k", "", [r'^\["v2","v3"\]$'], True),
        ('list.#(k=="v3").k', "", ["^v3$"], True),
        ("list.1.k", "", ["^v3$"], True),
        (r"a\.b", "", ["^dotted$"], True),
        ("t*", "", ["UPDATE"], True),
        ("[type,text]", "", [r'^\["UPDATE","prod-x"\]$'], True),
        ('[type,list.#(k=="v9").k,,text]', "", [r'^\["UPDATE","prod-x"\]$'], True),
    ],
)
def test_text_is_matched_by_re2(path: str, comparator: str, value: list[str], expected: bool) -> None:
    assert passes(path, "string", comparator, *value) is expected


@pytest.mark.parametrize("text", ["", "a", "ab", "ba", "aba", "a\n", "\na", "é", "aé", "a.b", "a b", "^a$", "é\n"])
@pytest.mark.parametrize("inner", ["", "a", "ab", "é", "a b", "a.b", "_", "/"])
def test_plain_text_is_matched_as_re2_does(inner: str, text: str) -> None:
    for pattern in (inner, f"^{inner}", f"{inner}$", f"^{inner}$"):
        assert Pattern(pattern).matches(text) is (re2.search(pattern, text) is not None), pattern


@pytest.mark.parametrize(
    ("path", "comparator", "value", "expected"),
    [
        ("n", "", ["3"], True),
        ("n", "=", ["3.0"], True),
        ("n", "=", ["4"], False),
        ("n", "", ["4", "3"], True),
        ("n", ">=", ["3"], True),
        ("n", ">=", ["3.1"], False),
        ("n", ">", ["2"], True),
        ("n", ">", ["3"], False),
        ("n", "<=", ["3"], True),
        ("n", "<=", ["2"], False),
        ("n", "<", ["4"], True),
        ("n", "<", ["3"], False),
        ("n", ">", ["9", "2"], True),
        ("n", "!=", ["4"], True),
        ("n", "!=", ["3"], False),
        ("n", "!=", ["4", "3"], False),
        ("n", "!=", ["4", "5"], True),
        ("f", "", ["2.5"], True),
        ("f", "", ["25e-1"], True),
        ("f", ">", ["-.5"], True),
        ("digits", "", ["10"], True),
        ("decimal", "", ["1"], True),
        ("padded", "", ["0"], True),
        ("grouped", "", ["0"], True),
        ("arabic", "", ["0"], True),
        ("text", "", ["0"], True),
        ("yes", "", ["1"], True),
        ("no", "", ["0"], True),
        ("none", "", ["0"], True),
        ("object", "", ["0"], True),
        ("list.#", "", ["2"], True),
    ],
)
def test_numbers_are_compared_as_floats(path: str, comparator: str, value: list[str], expected: bool) -> None:
    assert passes(path, "number", comparator, *value) is expected


@pytest.mark.parametrize(
    ("path", "comparator", "value", "expected"),
    [
        ("yes", "", ["true"], True),
        ("yes", "=", ["True"], True),
        ("yes", "", ["1"], True),
        ("yes", "", ["false"], False),
        ("yes", "", ["false", "true"], True),
        ("yes", "!=", ["true"], False),  # Argo ignores the comparator
        ("yes", "!=", ["false"], True),
        ("no", "", ["f"], True),
        ("no", "", ["0"], True),
        ("words", "", ["true"], True),
        ("one", "", ["true"], True),
        ("digits", "", ["false"], True),
        ("text", "", ["false"], True),
        ("n", "", ["true"], True),
        ("none", "", ["false"], True),
        ("object", "", ["false"], True),
    ],
)
def test_booleans_are_compared(path: str, comparator: str, value: list[str], expected: bool) -> None:
    assert passes(path, "bool", comparator, *value) is expected


@pytest.mark.parametrize(
    ("path", "template", "type_", "value", "expected"),
    [
        ("text", "{{ .Input | upper }}", "string", "^PROD-X$", True),
        ("n", '{{ printf "%s!" .Input }}', "string", "^3!$", True),  # the value is text
        ("object", "{{ .Input }}", "string", r'^\{"b":1,"a":\[1,"x"\]\}$', True),
        ("text", "{{ len .Input }}", "number", "6", True),
        ("text", '{{ hasPrefix "prod" .Input }}', "bool", "true", True),
        ("text", "x{{ .Other }}", "string", "^x<no value>$", True),
        ("empty", '{{ .Input | default "none" }}', "string", "^none$", True),
    ],
)
def test_a_template_makes_the_text_that_is_compared(
    path: str, template: str, type_: str, value: str, expected: bool
) -> None:
    given = {"path": path, "type": type_, "value": [value], "template": template}
    found = verdict(compiled(data=[given]), DATA)
    assert (found.passes, found.errors) == (expected, [])


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ .Input.x }}", "the template: line 1, column"),
        ("{{ .Other }}", "the template: it gives no value"),
        ('{{ if eq .Input "a" }}b{{ end }}', "the template: it gives nothing"),
        ('{{ fail "no" }}', "the template: line 1, column"),
    ],
)
def test_a_template_that_gives_nothing_is_an_error_which_is_false(template: str, reason: str) -> None:
    found = verdict(compiled(data=[{"path": "text", "type": "string", "value": [""], "template": template}]), DATA)
    assert (found.passes, found.is_unjudged) == (False, False)
    assert reason in found.errors[0]


def test_a_template_that_computes_for_too_long_is_no_reason_to_leave_the_event_out() -> None:
    template = "{{ range until 5000 }}{{ range until 5000 }}x{{ end }}{{ end }}"
    given = {"path": "text", "type": "string", "value": ["x"], "template": template}
    found = verdict(compiled(data=[given]), DATA)
    assert (found.passes, found.is_unjudged) == (False, True)
    assert found.errors[0].endswith("the template: it computes for too long, or makes too much text")
    other = {"path": "n", "type": "number", "value": ["3"]}
    assert verdict(compiled(data=[given, other], dataLogicalOperator="or"), DATA).passes


@pytest.mark.parametrize("comparator", ["", "!="])
@pytest.mark.parametrize("type_", ["string", "number", "bool"])
def test_a_path_that_finds_nothing_is_an_error_which_is_false(type_: str, comparator: str) -> None:
    value = {"string": "x", "number": "1", "bool": "true"}[type_]
    filters = compiled(data=[{"path": "text.x", "type": type_, "value": [value], "comparator": comparator}])
    found = verdict(filters, DATA)
    assert (found.passes, found.false, found.is_unjudged) == (False, [], False)
    assert found.errors == [f"filters.data[0] (text.x {comparator or '='} {value}): the event has nothing at 'text.x'"]


def test_numbers_beyond_what_a_float_holds_are_infinite() -> None:
    assert passes("n", "number", ">", "1e308", data={"n": 10**400})
    assert passes("n", "number", "<", "-1e308", data={"n": -(10**400)})
    assert passes("n", "number", ">", "1e308", data={"n": "1" + "0" * 400})


def test_data_that_cannot_be_read_are_no_reason_to_leave_the_event_out() -> None:
    broken = msgspec.structs.replace(event(), data=msgspec.Raw(b'{"n": 1e999}'))
    found = compiled(data=[{"path": "n", "type": "number", "value": ["1"]}]).verdict(Values(broken))
    assert (found.passes, found.is_unjudged) == (False, True)
    assert "data cannot be read" in found.errors[0]


def test_nothing_is_decoded_twice_for_filters_and_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = 0
    decode = msgspec.json.decode

    def counted(data: Any) -> Any:
        nonlocal decoded
        decoded += 1
        return decode(data)

    monkeypatch.setattr(msgspec.json, "decode", counted)
    about: Event = event(data=DATA)
    values = Values(about)
    entry = {"path": "n", "type": "number", "value": ["3"]}
    assert compiled(data=[entry, entry]).verdict(values).passes
    assert values.data == DATA
    assert decoded == 1


@pytest.mark.parametrize(
    ("src", "whole"),
    [({"dataKey": "text"}, False), ({"contextKey": "id"}, False), ({"dataTemplate": "{{ .Input.text }}"}, True)],
)
def test_the_whole_event_is_decoded_only_if_the_manifest_reads_all_of_it(
    src: dict[str, str], whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[object] = []
    decode = msgspec.json.decode

    def noted(data: Any) -> Any:
        decoded.append(data)
        return decode(data)

    monkeypatch.setattr(msgspec.json, "decode", noted)
    payload = [{"src": {"dependencyName": "dep", **src}, "dest": "found"}]
    dependency = {"name": "dep", "eventSourceName": "workflows", "eventName": "changed"}
    filters = {"data": [{"path": "n", "type": "number", "value": ["3"]}]}
    trigger = http_trigger("http://127.0.0.1:9", {"payload": payload})
    manifest = sensor(trigger, dependencies=[dependency | {"filters": filters}])
    (made,) = routes(manifest, concurrency=1, render=json_line, mounts=Mounts())
    about = event(data=DATA)
    values = made.values(about)
    assert made.filters.verdict(values).passes
    assert b"found" in made.request(about, values).payload
    assert bool(decoded) is whole


@pytest.mark.parametrize("filters", [{}, {"data": []}, {"dataLogicalOperator": "or"}])
@pytest.mark.parametrize("operator", ["", "and", "or"])
def test_without_any_filter_everything_passes(filters: dict[str, Any], operator: Any) -> None:
    made = compiled(operator, **filters)
    assert (made.given, verdict(made, DATA).passes) == (False, True)
