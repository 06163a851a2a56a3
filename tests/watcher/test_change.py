"""Watch lines and list pages: decoded no further than needed, refused when they are not what they should be."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubecdc import nesting
from kubecdc.cluster.changes import NO_JSON, NO_METADATA, NO_NAMES, TOO_DEEP, LeftOut, decode_line, decode_page
from kubecdc.cluster.errors import Malformed
from kubecdc.cluster.objects import decode_status

META = b'{"name":"a","namespace":"ns","uid":"u1","resourceVersion":"7"}'


def test_the_body_of_a_change_is_the_bytes_that_came() -> None:
    body = b'{"kind":"Pod" , "metadata":' + META + b',"spec":{"n":1.50,"s":"\\u00e9"}}'
    change = decode_line(b'{"type":"MODIFIED","object":' + body + b"}")
    assert (change.type, change.meta.uid, change.meta.resource_version, change.body) == ("MODIFIED", "u1", "7", body)


def test_a_bookmark_needs_a_version_only() -> None:
    line = b'{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9","creationTimestamp":null}}}'
    assert decode_line(line).meta.resource_version == "9"


def test_an_error_line_carries_its_status() -> None:
    change = decode_line(
        b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}'
    )
    status = decode_status(change.body)
    assert (status.code, status.reason, status.message) == (410, "Expired", "too old")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"garbage",
        b"[]",
        b"{}",
        b'{"type":1,"object":{"metadata":' + META + b"}}",
        b'{"error":"upstream connect error"}',
        b'{"type":"ADDED","object":{"metadata":' + META[:-9],
        b'{"type":"ADDED","object":NaN',
    ],
)
def test_what_is_no_change_is_refused_whole(line: bytes) -> None:
    with pytest.raises(Malformed):
        decode_line(line)


@pytest.mark.parametrize(
    ("line", "reason", "version"),
    [
        (b'{"type":"ADDED"}', NO_METADATA, ""),
        (b'{"type":"ADDED","object":null}', NO_METADATA, ""),
        (b'{"type":"ADDED","object":[]}', NO_METADATA, ""),
        (b'{"type":"ADDED","object":{}}', NO_METADATA, ""),
        (b'{"type":"ADDED","object":{"metadata":null}}', NO_METADATA, ""),
        (b'{"type":"ADDED","object":{"metadata":{"name":1,"uid":"u","resourceVersion":"1"}}}', NO_METADATA, "1"),
        (b'{"type":"ADDED","object":{"kind":7,"metadata":' + META + b"}}", NO_METADATA, "7"),
        (b'{"type":"ADDED","object":"\xff"}', NO_METADATA, ""),
        (b'{"type":"ADDED","object":{"metadata":' + META + b',"spec":{"n":NaN}}}', NO_JSON, "7"),
        (b'{"type":"ADDED","object":{"metadata":' + META + b',"spec":{"text":"\\ud800"}}}', NO_JSON, "7"),
        (b'{"type":"ADDED","object":{"metadata":' + META + b',"spec":{"text":"\n"}}}', NO_JSON, "7"),
        (b'{"type":"ADDED","object":{"metadata":{"name":"\xff","uid":"u","resourceVersion":"7"}}}', NO_JSON, "7"),
        (b'{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"\\ud800"}}}', NO_JSON, ""),
        (b'{"type":"ADDED","object":{"metadata":{"name":"a","uid":"u"}}}', NO_NAMES, ""),
        (b'{"type":"ADDED","object":{"metadata":{"name":"a","uid":"u","resourceVersion":"0"}}}', NO_NAMES, "0"),
        (b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"1"}}}', NO_NAMES, "1"),
        (b'{"type":"DELETED","object":{"metadata":{"name":"a","resourceVersion":"2"}}}', NO_NAMES, "2"),
        (b'{"type":"RENAMED","object":{"metadata":' + META + b"}}", "a line of an unknown type", "7"),
        (b'{"type":"BOOKMARK","object":{"metadata":{}}}', "a bookmark without resourceVersion", ""),
    ],
)
def test_one_odd_object_is_left_out(line: bytes, reason: str, version: str) -> None:
    with pytest.raises(LeftOut) as caught:
        decode_line(line)
    assert (str(caught.value), caught.value.meta.resource_version) == (reason, version)


@pytest.mark.parametrize("object_", [b"", b',"object":null', b',"object":7', b',"object":{"code":"x"}'])
def test_an_error_is_one_whatever_it_carries(object_: bytes) -> None:
    change = decode_line(b'{"type":"ERROR"' + object_ + b"}")
    assert change.type == "ERROR"
    assert decode_status(change.body).code == 0


def test_odd_objects_of_a_list_are_left_out_and_the_rest_is_there() -> None:
    odd = [
        b"null",
        b"[]",
        b"{}",
        b'{"metadata":{"name":"b","namespace":"ns","resourceVersion":"1"}}',
        b'{"metadata":{"name":"c","uid":"u","resourceVersion":3}}',
    ]
    text = b'{"kind":"PodList","metadata":{"resourceVersion":"12"},"items":[%s]}'
    page = decode_page(text % b",".join([*odd[:3], b'{"metadata":' + META + b"}", *odd[3:]]))
    assert [change.meta.name for change in page.items] == ["a"]
    assert [item.meta.name for item in page.left_out] == ["", "", "", "b", "c"]


@pytest.mark.parametrize("odd", [b"NaN", b"-Infinity", b'"\\ud800"', b'"\n"', b'"\xff\\udc00"'])
def test_an_item_that_is_no_valid_json_is_left_out_and_the_rest_is_there_as_it_came(odd: bytes) -> None:
    meta = b'{"name":"%b","namespace":"ns","uid":"u%b","resourceVersion":"7"}'
    item = b'{ "kind":"Pod", "metadata":' + meta + b', "spec":{"n": 1.50, "s": "\\u00e9 \xc3\xa9", "x": %b}}'
    items = [item % (name, name, x) for name, x in ((b"a", b"[]"), (b"b", odd), (b"c", b"{}"))]
    text = b' {"metadata" : {"resourceVersion":"12","continue":"t"} ,"items": [ %b , %b,%b ],"kind":"PodList"}\n'
    page = decode_page(text % tuple(items))
    assert [change.body for change in page.items] == [items[0], items[2]]
    assert [(item.meta.name, str(item)) for item in page.left_out] == [("b", NO_JSON)]
    assert (page.kind, page.version, page.next) == ("Pod", "12", "t")


@pytest.mark.parametrize("cut", [b'"items":[NaN]', b'"items":[NaN', b'"metadata":{"resourceVersion":"12"}'])
def test_an_incomplete_list_is_refused_whatever_is_in_it(cut: bytes) -> None:
    with pytest.raises(Malformed):
        decode_page(b'{"kind":"PodList","metadata":{"resourceVersion":"12"},' + cut)


@pytest.mark.parametrize("given", ["null", '"Flow"'])
def test_what_a_list_does_not_need_may_be_null(given: str) -> None:
    text = f'{{"kind":{given},"apiVersion":{given},"metadata":{{"resourceVersion":"12","continue":null}}}}'
    page = decode_page(text.encode())
    assert (page.version, page.next, page.items) == ("12", "", [])


@pytest.mark.parametrize(("count", "remaining"), [("3", 3), ("3.0", None), ('"3"', None), ("null", None)])
def test_a_list_may_give_the_number_of_remaining_objects_in_any_way(count: str, remaining: int | None) -> None:
    page = decode_page(f'{{"metadata":{{"resourceVersion":"12","remainingItemCount":{count}}}}}'.encode())
    assert page.remaining == remaining


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_and_nothing_else(line: bytes) -> None:
    with pytest.raises(Malformed):
        decode_line(line)


def test_items_of_a_built_in_list_get_the_kind_that_their_list_has() -> None:
    page = decode_page(
        b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"12","continue":"t"},'
        b'"items":[{"metadata":' + META + b',"spec":{}}]}'
    )
    assert (page.kind, page.version, page.next) == ("Pod", "12", "t")
    assert page.items[0].body == b'{"kind":"Pod","apiVersion":"v1","metadata":' + META + b',"spec":{}}'


def test_items_that_have_a_kind_are_left_as_they_came() -> None:
    item = b'{"apiVersion":"g/v1","kind":"Flow","metadata":' + META + b"}"
    page = decode_page(b'{"kind":"FlowList","metadata":{"resourceVersion":"12"},"items":[' + item + b"]}")
    assert page.items[0].body == item


def test_an_empty_list_may_have_null_items() -> None:
    assert decode_page(b'{"kind":"PodList","metadata":{"resourceVersion":"12"},"items":null}').items == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"404 page not found",
        b"{}",
        b'{"metadata":{"resourceVersion":"0"}}',
        b'{"metadata":{"resourceVersion":"1"},"items":{}}',
        b'{"metadata":{"resourceVersion":"1"},"items":[{]}',
    ],
)
def test_what_cannot_be_captured_as_a_list_is_refused(text: bytes) -> None:
    with pytest.raises(Malformed):
        decode_page(text)


def deep(levels: int) -> bytes:
    nested = b'{"a":' * levels + b"1" + b"}" * levels
    return b'{"type":"ADDED","object":{"metadata":' + META + b',"spec":' + nested + b"}}"


def test_an_object_nested_deeper_than_we_recurse_is_left_out_and_no_crash() -> None:
    with pytest.raises(LeftOut, match=TOO_DEEP):
        decode_line(deep(100_000))
    with pytest.raises(Malformed):
        decode_line(deep(100_000)[:500_000])


# From 3.12 on, Python has a limit of its own, which nothing lifts: 1,500 in 3.12.1, 10,000 in 3.13.
READABLE = 9_990 if sys.version_info < (3, 12) else 1_400 if sys.version_info < (3, 13) else 9_900


def test_a_process_reads_objects_as_deep_as_kubernetes_takes_them() -> None:
    before = sys.getrecursionlimit()
    try:
        nesting.allow()
        assert decode_line(deep(READABLE)).meta.uid == "u1"
    finally:
        sys.setrecursionlimit(before)
