"""Parameters: the table of Argo's semantics, and where they are put."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubecdc.storage.contracts.event import Event
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.parameter_manifest import Parameter, PayloadParameter
from kubecdc.workers.sensor.parameters import ParameterError, apply, payload, resolve
from kubecdc.workers.sensor.values import Values, context
from kubecdc.workers.triggers.http.request import HttpRequest
from kubecdc.workers.triggers.http.trigger import HttpTrigger
from tests.workers.support import DATA, FakeTrigger, event, http_trigger, log_trigger, route


def source(**src: Any) -> dict[str, Any]:
    return {"dependencyName": "dep", **src}


def parameter(dest: str, operation: str = "", **src: Any) -> dict[str, Any]:
    return {"src": source(**src), "dest": dest, "operation": operation}


def value(data: object = DATA, **src: Any) -> object:
    return resolve(PayloadParameter.model_validate({"src": source(**src)}).src, Values(event(data=data)))


@pytest.mark.parametrize(
    ("src", "expected"),
    [
        ({"dataKey": "body.metadata.name"}, "w1"),
        ({"dataKey": r"body.metadata.labels.a\.b"}, "c"),
        ({"dataKey": "body.n"}, "100"),
        ({"dataKey": "body.yes"}, "true"),
        ({"dataKey": "body.none"}, "null"),
        ({"dataKey": "body.list"}, '[1,"x"]'),
        ({"dataKey": "body.metadata.labels"}, '{"a.b":"c"}'),
        ({"dataKey": "body.n", "useRawData": True}, 100),
        ({"dataKey": "body.yes", "useRawData": True}, True),
        ({"dataKey": "body.none", "useRawData": True}, None),
        ({"dataKey": "body.list", "useRawData": True}, [1, "x"]),
        ({"dataKey": "body.metadata.name", "useRawData": True}, "w1"),
        ({"dataKey": "body.none", "value": "default"}, "null"),
        ({"dataKey": "body.missing", "value": "default"}, "default"),
        ({"dataKey": "body.missing", "value": ""}, ""),
        ({"dataKey": "body.missing", "value": "1", "useRawData": True}, "1"),
        ({"contextKey": "subject"}, "changed"),
        ({"contextKey": "type"}, "resource"),
        ({"contextKey": "epoch"}, "1"),
        ({"contextKey": "partitionkey"}, "k"),
        ({"contextKey": "missing", "value": "default"}, "default"),
        ({"contextKey": "subject", "dataKey": "type"}, "ADD"),
        ({"contextKey": "subject", "dataKey": "missing", "value": "d"}, "d"),
        ({"value": "v"}, "v"),
        ({"value": ""}, ""),
        ({"value": "1", "useRawData": True}, "1"),
    ],
)
def test_a_value_is_taken_as_argo_does(src: dict[str, Any], expected: object) -> None:
    found = value(**src)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("src", [{"dataKey": "missing"}, {"contextKey": "missing"}, {"contextKey": "data"}])
def test_a_missing_value_without_a_default_is_an_error(src: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=r"missing|data"):
        value(**src)


@pytest.mark.parametrize("raw", [False, True])
def test_without_a_key_it_is_the_whole_event_with_its_data_in_base64(raw: bool) -> None:
    text = value(useRawData=raw)
    assert isinstance(text, str)
    whole = json.loads(text)
    assert whole["context"]["id"] == event().id
    assert set(whole) == {"context", "data"}
    assert json.loads(base64.b64decode(whole["data"])) == DATA


@pytest.mark.parametrize(
    ("document", "made", "expected"),
    [
        ({"a": "1"}, parameter("a", value="2"), {"a": "2"}),
        ({"a": "1"}, parameter("a", "overwrite", value="2"), {"a": "2"}),
        ({"a": "1"}, parameter("a", "append", value="2"), {"a": "12"}),
        ({"a": "1"}, parameter("a", "prepend", value="2"), {"a": "21"}),
        ({}, parameter("a", "append", value="2"), {"a": "2"}),
        ({"a": 1}, parameter("a", "append", dataKey="body.n", useRawData=True), {"a": "1100"}),
        ({"a": None}, parameter("a", "append", value="2"), {"a": "2"}),
        ({}, parameter("a", "append", dataKey="body.n", useRawData=True), {"a": 100}),
        ({"a": ["1"]}, parameter("a.-1", value="2"), {"a": ["1", "2"]}),
        ({}, parameter("a.b.1", value="2"), {"a": {"b": [None, "2"]}}),
        ({"l": [{"n": "x", "v": ""}]}, parameter('l.#(n=="x").v', value="2"), {"l": [{"n": "x", "v": "2"}]}),
        ({"l": []}, parameter('l.#(n=="x").v', value="2"), {"l": []}),
    ],
)
def test_a_value_is_put_as_argo_does(document: Any, made: Mapping[str, Any], expected: object) -> None:
    assert apply(document, [Parameter.model_validate(made)], Values(event())) == expected


def test_a_key_into_an_array_is_an_error() -> None:
    with pytest.raises(ParameterError, match=r"dest 'a\.b'"):
        apply({"a": []}, [Parameter.model_validate(parameter("a.b", value="1"))], Values(event()))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (
            [parameter("name", dataKey="body.metadata.name"), parameter("n", dataKey="body.n")],
            b'{"name":"w1","n":"100"}',
        ),
        ([parameter("a.b", dataKey="body.n", useRawData=True)], b'{"a":{"b":100}}'),
        ([parameter("0", value="x")], b'["x"]'),
        ([parameter("", dataKey="body.metadata.name"), parameter("a", value="ignored")], b"w1"),
        ([parameter("", dataKey="body.list")], b'[1,"x"]'),
        ([parameter("", dataKey="body.none")], b"null"),
        ([parameter("", dataKey="body.n", useRawData=True)], b"100"),
        ([parameter("a", value="1"), parameter("", value="all")], b"all"),
    ],
)
def test_a_payload_is_built_from_nothing(made: list[Mapping[str, Any]], expected: bytes) -> None:
    assert payload([PayloadParameter.model_validate(p) for p in made], Values(event())) == expected


def test_a_broken_entry_before_a_bare_one_is_an_error() -> None:
    made = [parameter("a", dataKey="missing"), parameter("", value="all")]
    with pytest.raises(ParameterError):
        payload([PayloadParameter.model_validate(p) for p in made], Values(event()))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**90), 2**90) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_raw_data_comes_through_unchanged(data: Any) -> None:
    made = PayloadParameter.model_validate(parameter("copy", dataKey="x", useRawData=True))
    assert msgspec.json.decode(payload([made], Values(event(data={"x": data})))) == {"copy": data}


@given(JSON.filter(lambda v: isinstance(v, dict | list)))
def test_an_object_as_text_is_the_same_json(data: Any) -> None:
    text = value({"x": data}, dataKey="x")
    assert isinstance(text, str)
    assert json.loads(text) == data


BROKEN = Event.decode(event().encode().replace(b"w1", b"w\xff"))


def test_data_that_cannot_be_read_gives_the_default() -> None:
    made = PayloadParameter.model_validate(parameter("a", dataKey="type", value="d"))
    assert payload([made], Values(BROKEN)) == b'{"a":"d"}'
    with pytest.raises(ParameterError):
        payload([PayloadParameter.model_validate(parameter("a", dataKey="type"))], Values(BROKEN))


def test_data_is_parsed_once_and_only_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []

    def decode(data: Any) -> Any:
        decoded.append(data)
        return json.loads(bytes(data))

    monkeypatch.setattr("kubecdc.workers.sensor.values.msgspec.json.decode", decode)
    ready = route(HttpTrigger(), http_trigger("http://x", {"payload": [parameter("a", contextKey="id")]}))
    ready.request(event())
    assert decoded == []
    entries = [parameter("a", dataKey="type"), parameter("b", dataTemplate="{{ .Input.body.n }}")]
    ready = route(
        HttpTrigger(),
        http_trigger("http://x", {"payload": entries, "parameters": [parameter("url", value="http://y")]}),
    )
    ready.request(event())
    assert len(decoded) == 1


def test_the_context_has_each_attribute_of_the_event_but_what_is_empty() -> None:
    about = event(
        timeline=2,
        synthetic=True,
        deselected=True,
        truncated=True,
        redelivery="replay",
        traceparent="00-aa-bb-01",
        cluster="prod",
    )
    attributes = msgspec.structs.asdict(about)
    del attributes["data"], attributes["encryptionkey"]  # the latter only as it is stored
    assert context(about) == attributes
    by_hand = msgspec.structs.replace(about, partitionkey="", subject="", time="", epoch=0, timeline=0)
    gone = ("partitionkey", "subject", "time", "timeline")
    assert context(by_hand) == {**{k: v for k, v in attributes.items() if k not in gone}, "epoch": 0}


def request(manifest: Mapping[str, Any]) -> TriggerRequest[Any]:
    made: TriggerRequest[Any] = route(FakeTrigger(), manifest).request(event())
    return made


def prepared(manifest: Mapping[str, Any]) -> HttpRequest:
    made: HttpRequest = route(HttpTrigger(), manifest).request(event())
    return made


def test_parameters_of_the_trigger_rewrite_the_template_and_those_of_the_type_come_after() -> None:
    made = prepared(
        http_trigger(
            "http://x",
            {"parameters": [parameter("url", "append", value="/b")]},
            parameters=[parameter("http.url", "append", value="/a"), parameter("http.headers.X", dataKey="type")],
        )
    )
    http = made.config
    assert (http.url, http.headers) == ("http://x/a/b", {"X": "ADD"})


def test_parameters_of_the_trigger_may_rewrite_the_parameters_of_the_type() -> None:
    made = prepared(
        http_trigger(
            "http://x",
            {"parameters": [parameter("url", value="?")]},
            parameters=[parameter("http.parameters.0.src.value", value="http://y")],
        )
    )
    assert made.config.url == "http://y"


def test_names_stay_those_of_the_manifest() -> None:
    made = request(log_trigger(parameters=[parameter("name", value="other")]))
    assert made.trigger == "t"


@pytest.mark.parametrize(
    "made",
    [
        parameter("http.method", value="BREW"),
        parameter("http.timeout", value="30"),
        parameter("http.nonsense", value="x"),
        parameter("http.url", value=""),
        parameter("http.headers.X", value="a\r\nInjected: b"),
        parameter("http", value="x"),
        parameter("log", value="x"),
    ],
)
def test_a_template_that_parameters_make_invalid_is_an_error(made: Mapping[str, Any]) -> None:
    with pytest.raises(ParameterError, match="not valid"):
        request(http_trigger("http://x", parameters=[made]))


def test_raw_data_may_set_a_number() -> None:
    made = request(http_trigger("http://x", parameters=[parameter("http.timeout", dataKey="body.n", useRawData=True)]))
    assert made.config.timeout == 100


@pytest.mark.parametrize("name", ["", " a ", "x\ny", "b"])
def test_the_name_of_a_trigger_is_that_of_the_manifest(name: str) -> None:
    made = route(FakeTrigger(), log_trigger(parameters=[parameter("name", value=name)]))
    assert made.request(event()).trigger == "t"


def test_a_reason_that_holds_a_long_value_is_short() -> None:
    http = {"parameters": [parameter("host", dataKey="n"), parameter("headers", dataKey="all", useRawData=True)]}
    made = route(HttpTrigger(), http_trigger("http://x", http))
    with pytest.raises(ParameterError) as raised:
        made.request(event(data={"n": "x y" * 400_000, "all": {str(n): n for n in range(10_000)}}))
    assert len(str(raised.value)) < 1000
