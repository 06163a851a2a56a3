"""The path language against what gjson and sjson themselves answered, and its laws."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubecdc import jsonpath
from kubecdc.jsonpath import MISSING, compile_target, set_path, text

DATA = Path(__file__).parents[1] / "data" / "jsonpath"
READS = json.loads((DATA / "reads.json").read_text())
WRITES = json.loads((DATA / "writes.json").read_text())


@pytest.mark.parametrize("case", READS["reads"], ids=lambda case: case["path"])
def test_reading_answers_what_gjson_answers(case: dict[str, Any]) -> None:
    found = jsonpath.compile(case["path"]).get(READS["document"])
    assert (found is not MISSING, text(found)) == (case["exists"], case["text"])


@pytest.mark.parametrize("case", WRITES["writes"], ids=lambda case: case["path"])
def test_writing_makes_what_sjson_makes(case: dict[str, Any]) -> None:
    document = copy.deepcopy(WRITES["document"])
    assert set_path(document, case["path"], "V") == case["result"]
    assert document == WRITES["document"], "the document itself is not changed"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "the path is empty"),
        ("a..b", "has an empty part"),
        ("a.", "has an empty part"),
        ("..a", "JSON lines"),
        ("a.#(b==1", r"`\(` is not closed"),
        ('a.#(b=="1)', "a quote is not closed"),
        ("a.#(b==~yes)", "`~yes` is not one of"),
        ("a.@pretty", "`@pretty` is not supported"),
        ('a.@join:{"preserve":true}', "the argument .* of `@join` is not supported"),
        ("a.@flatten:deep", "is not a JSON object"),
        ("a.@keys:x", "the argument 'x' of `@keys` is not supported"),
        ("!{x}", "is not a JSON literal"),
        ("[a,b", r"`\[` is not closed"),
        ("[a]b", "unexpected 'b'"),
        ("a.#(b==1)x", "unexpected 'x'"),
    ],
)
def test_what_cannot_be_read_is_refused_when_compiled(path: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        jsonpath.compile(path)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "the path is empty"),
        ("a..b", "has an empty part"),
        ("a.", "has an empty part"),
        ("a|b", "cannot be written to"),
        ("a.#", "cannot be written to"),
        ("a.*.@keys", "cannot be written to"),
        ("a.#.b.#", "cannot be written to"),
        ("a.99999999", "the index 99999999 is above 65535"),
    ],
)
def test_what_cannot_be_written_is_refused_when_compiled(path: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        compile_target(path)


def test_a_key_where_an_array_is_cannot_be_set() -> None:
    with pytest.raises(ValueError, match="`x` is not an index, but there is an array"):
        set_path({"a": [1]}, "a.x", 1)


def test_every_element_is_written_where_sjson_would_break_the_document() -> None:
    document = {"list": [{"sub": [{"q": 1}, {"q": 2}]}]}
    assert set_path(document, "list.#(sub).sub.#.q", 0) == {"list": [{"sub": [{"q": 0}, {"q": 0}]}]}


def test_a_modifier_of_nothing_is_nothing() -> None:
    assert jsonpath.compile("a|@keys").get({}) is MISSING


def test_text_keeps_whole_numbers_exact_and_writes_others_without_an_exponent() -> None:
    assert text(12345678901234567890123) == "12345678901234567890123"
    assert [text(1e21), text(2.50), text(1e-7), text(-0.5)] == ["1000000000000000000000", "2.5", "0.0000001", "-0.5"]
    assert text({"a": ["é", None]}) == '{"a":["é",null]}'
    assert (text(None), text(True), text(MISSING)) == ("", "true", "")


def test_many_stars_do_not_take_long() -> None:
    assert jsonpath.compile("*a" * 30 + "b").get({"a" * 5000: 1}) is MISSING


keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


def escaped(key: str) -> str:
    """A key as a part of a path, whatever characters it has."""
    return "".join("\\" + c if c in "\\.*?|#@:!{}[]()" else c for c in key)


def part(key: str) -> str:
    """A part that is a key even where it is a number."""
    return ":" + escaped(key) if key == "-1" or (key.isascii() and key.isdigit()) else escaped(key)


@given(st.dictionaries(keys, documents), st.lists(keys, min_size=1, max_size=4), documents)
def test_what_was_set_is_read(document: dict[str, Any], path: list[str], value: Any) -> None:
    target = ".".join(map(part, path))
    try:
        changed = set_path(document, target, value)
    except ValueError as e:
        assert "there is an array" in str(e)
        return
    assert jsonpath.compile(".".join(map(escaped, path))).get(changed) == value


@given(st.dictionaries(keys, documents, min_size=1), keys, documents)
def test_setting_leaves_every_other_key_alone(document: dict[str, Any], key: str, value: Any) -> None:
    changed = set_path(document, part(key), value)
    assert {**document, key: value} == changed
    assert list(changed)[: len(document)] == list(document)


@given(documents, st.text('.|#@*?!()[]{}\\:"=<>%~ab01-,', max_size=12))
def test_any_path_is_compiled_or_refused_and_never_fails_later(document: Any, path: str) -> None:
    try:
        compiled = jsonpath.compile(path)
    except ValueError:
        return
    text(compiled.get(document))


@given(documents, st.text('.|#@*?!()[]{}\\:"=<>%~ab01-', max_size=10))
def test_any_destination_is_set_or_refused(document: Any, path: str) -> None:
    try:
        set_path(document, path, 1)
    except ValueError as e:
        assert str(e)


NAMES = st.sampled_from(["a", "b", "ab", "0", "1", "x.y", "é", "-1"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
DOCUMENTS = st.recursive(SCALARS, lambda some: st.lists(some) | st.dictionaries(NAMES, some), max_leaves=30)
PATHS = st.lists(NAMES | st.sampled_from(["#", "*", "#(a=1)", "a?"]), min_size=1, max_size=4).map(
    lambda names: ".".join(name.replace("x.y", r"x\.y") for name in names)
)


@given(document=DOCUMENTS, paths=st.lists(PATHS, min_size=1, max_size=5))
def test_paths_find_in_the_part_that_is_decoded_for_them_what_they_find_in_all_of_it(
    document: Any, paths: list[str]
) -> None:
    encoded = json.dumps(document).encode()
    part = jsonpath.Partial(paths).decode(encoded)
    for path in paths:
        compiled = jsonpath.compile(path)
        assert compiled.get(part) == compiled.get(msgspec.json.decode(encoded)), path


def test_no_more_is_decoded_than_the_paths_read() -> None:
    document = {"a": {"b": 1, "c": {"d": [2]}, "e": 3}, "f": 4}
    encoded = json.dumps(document).encode()
    assert jsonpath.Partial(["a.b", "a.c.d.#"]).decode(encoded) == {"a": {"b": 1, "c": {"d": [2]}}}
    assert jsonpath.Partial(["a", "a.b"]).decode(encoded) == {"a": document["a"]}
    assert jsonpath.Partial(["a.b", "@keys"]).decode(encoded) == document, "a path that begins with no name needs all"
    deep = "/".join("n" * 40)
    assert jsonpath.Partial([deep.replace("/", ".")]).decode(b'{"n":{"n":1,"m":2},"m":3}') == {"n": {"n": 1}}
