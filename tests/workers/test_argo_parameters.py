"""The cases of Argo Events' own unit tests for parameters (pkg/sensors/triggers/params_test.go), with their values.

Two differ, and say so. JSON text has no spaces here: events are encoded without them.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from pydantic import ValidationError

from kubecdc.workers.sensor.parameter_manifest import Parameter, PayloadParameter
from kubecdc.workers.sensor.parameters import apply, payload, resolve
from kubecdc.workers.sensor.values import Values
from tests.workers.support import event

DATA = {
    "name": {"first": "fake", "last": "user"},
    "reviews": 8,
    "rating": 4.5,
    "isActive": True,
    "isVerified": False,
    "countries": ["ca", "us", "mx"],
    "age": 100,
}


def values(data: object = DATA) -> Values:
    return Values(event(data=data))


def parameter(dest: str = "", operation: str = "", **src: Any) -> dict[str, Any]:
    return {"src": {"dependencyName": "fake-dependency", **src}, "dest": dest, "operation": operation}


@pytest.mark.parametrize(
    ("src", "expected"),
    [
        pytest.param({"dataKey": "name.first"}, "fake", id="get first name"),
        pytest.param({"contextKey": "subject"}, "changed", id="get the event subject"),
        pytest.param({"value": "hello"}, "hello", id="get the default value"),
        pytest.param(
            {"contextKey": "subject", "dataKey": "name.first"}, "fake", id="data key has preference over context key"
        ),
        pytest.param({"dataTemplate": "{{ .Input.name.first }}"}, "fake", id="get first name with template"),
        pytest.param(
            {"dataTemplate": "{{ upper .Input.name.first }}"}, "FAKE", id="get capitalized first name with template"
        ),
        pytest.param({"contextTemplate": "{{ .Input.subject }}"}, "changed", id="get subject with template"),
        pytest.param(
            {"contextTemplate": '{{ .Input.subject | replace "g" "_" }}'},
            "chan_ed",
            id="get formatted subject with template",
        ),
        pytest.param(
            {"contextTemplate": "{{ .Input.subject }}", "dataTemplate": "{{ .Input.name.first }}"},
            "fake",
            id="data template has preference over context template",
        ),
        pytest.param(
            {"dataTemplate": "{{ .Input.name.non_exist }}", "dataKey": "name.first"},
            "fake",
            id="data template fails over to data key",
        ),
        pytest.param({"dataKey": "name.first", "useRawData": True}, "fake", id="UseRawData set to true - string"),
        pytest.param({"dataKey": "name", "useRawData": True}, DATA["name"], id="UseRawData set to true - json"),
        pytest.param({"dataKey": "countries", "useRawData": True}, ["ca", "us", "mx"], id="UseRawData - list"),
    ],
)
def test_resolve_param_value(src: dict[str, Any], expected: object) -> None:
    assert resolve(PayloadParameter.model_validate(parameter(**src)).src, values()) == expected


def test_resolve_param_value_get_the_entire_payload() -> None:
    whole = resolve(PayloadParameter.model_validate(parameter()).src, values())
    assert isinstance(whole, str)
    assert json.loads(base64.b64decode(json.loads(whole)["data"])) == DATA


def test_an_invalid_template_is_refused_where_argo_fails_over_to_the_data_key() -> None:
    with pytest.raises(ValidationError, match=r"dataTemplate\n +is not a template: line 1, column 4: function 'no'"):
        PayloadParameter.model_validate(parameter(dataTemplate="{{ no }}", dataKey="name.first"))


@pytest.mark.parametrize(
    ("made", "document", "expected"),
    [
        pytest.param([parameter("name", dataKey="name.first")], {"name": "faker"}, {"name": "fake"}, id="normal"),
        pytest.param(
            [parameter("name", "prepend", dataKey="name.first")], {"name": "faker"}, {"name": "fakefaker"}, id="prepend"
        ),
        pytest.param(
            [parameter("name", "append", dataKey="name.first")], {"name": "faker"}, {"name": "fakerfake"}, id="append"
        ),
        pytest.param(
            [parameter("name", "overwrite", dataKey="name.first")], {"name": "faker"}, {"name": "fake"}, id="overwrite"
        ),
        pytest.param(
            [parameter("name", "overwrite", dataKey="name")],
            {"name": "faker"},
            {"name": '{"first":"fake","last":"user"}'},
            id="a block as text",
        ),
        pytest.param(
            [parameter("name", "overwrite", dataKey="name", useRawData=True)],
            {"name": "faker"},
            {"name": {"first": "fake", "last": "user"}},
            id="a block as it is",
        ),
        pytest.param(
            [
                parameter("age", "overwrite", dataKey="age", useRawData=True),
                parameter("ageWithYears", "append", dataKey="age", useRawData=True),
                parameter("countries", "append", dataKey="countries", useRawData=True),
            ],
            {"age": "this-gets-over-written", "ageWithYears": "Years: "},
            {"age": 100, "ageWithYears": "Years: 100", "countries": ["ca", "us", "mx"]},
            id="raw data types",
        ),
        pytest.param(
            [parameter("metadata.name", dataKey="name.first")],
            {"kind": "Deployment", "metadata": {"name": "fake", "labels": {"name": "fake"}}},
            {"kind": "Deployment", "metadata": {"name": "fake", "labels": {"name": "fake"}}},
            id="resource parameters",
        ),
    ],
)
def test_apply_params(made: list[dict[str, Any]], document: Any, expected: object) -> None:
    assert apply(document, [Parameter.model_validate(each) for each in made], values()) == expected


@pytest.mark.parametrize(("key", "first"), [("firstName", "fake"), ("unknown", "faker")])
def test_construct_payload(key: str, first: str) -> None:
    made = [
        parameter("firstName", dataKey=key, value="faker"),
        parameter("age", dataKey="age", useRawData=True),
        parameter("isActive", dataKey="isActive", useRawData=True),
        parameter("typelessAge", dataKey="age"),
        parameter("typelessIsActive", dataKey="isActive"),
    ]
    built = payload(
        [PayloadParameter.model_validate(each) for each in made],
        values({"firstName": "fake", "age": 100, "isActive": False}),
    )
    assert json.loads(built) == {
        "firstName": first,
        "age": 100,
        "isActive": False,
        "typelessAge": "100",
        "typelessIsActive": "false",
    }


def test_construct_payload_null_value() -> None:
    made = [parameter("nullable_key", dataKey="nullable_key", useRawData=True), parameter("other", dataKey="other_key")]
    built = payload(
        [PayloadParameter.model_validate(each) for each in made], values({"nullable_key": None, "other_key": "value"})
    )
    assert built == b'{"nullable_key":null,"other":"value"}'
