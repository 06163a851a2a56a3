"""What stands where a secret may stand is never repeated, however wrong its place is."""

from __future__ import annotations

import pytest

from tests.manifests.support import SOURCE, bus, problems, sensor

SECRET = "hunter22"
NUMBER = "22332233"
HTTP = [
    'basicAuth: "user:hunter22"',
    "basicAuth: {password: hunter22}",
    "basicAuth: {user:hunter22}",
    'basicAuth: {password: {name: x, key: "hunter22=="}}',
    'basicAuth: {password: {name: "hunter22==", key: x}}',
    "secureHeaders: [{name: X, valueFrom: hunter22}]",
    'secureHeaders: "X: hunter22"',
    'secureHeaders: [{name: "Authorization: hunter22", valueFrom: {secretKeyRef: {name: a, key: b}}}]',
    'headers: "X: hunter22"',
    'headers: {"Authorization: hunter22": x}',
    'headers: {Authorization: "hunter22\\n"}',
    "headers: {X-Pin: 22332233}",
    "hunter22: x",
    "method: hunter22",
    "timeout: hunter22",
    'timeout: "22332233"',
    "tls: hunter22",
    "tls: {caCertSecret: hunter22}",
    "tls: {insecureSkipVerify: hunter22}",
    'host: "user:hunter22@h"',
    "dynamicHeaders: [{src: hunter22, dest: X}]",
]
BUS = [
    'redis: "redis://:hunter22@h/0"',
    'redis: {url: "redsi://:hunter22@h/0"}',
    'redis: {url: "redis://:hunter22@h:99999/0"}',
    'redis: {url: "redis://h/0", password: hunter22}',
    'redis: {url: "redis://h/0", partitions: hunter22}',
    'redis: {url: "redis://h/0", partitions: "22332233"}',
    "redis: {url: 22332233}",
    'sqs: {endpointUrl: "htp://a:hunter22@x"}',
    'pubsub: {projectID: p, endpoint: "a:hunter22@x"}',
    "retention: hunter22, sqlite: {path: a}",
]


@pytest.mark.parametrize("http", HTTP)
def test_of_a_trigger_the_place_is_told_and_not_the_value(http: str) -> None:
    found = problems(SOURCE, sensor(f"http: {{url: 'http://h/', {http}}}"))
    assert all("spec.triggers[0].template.http" in line for line in found)
    assert not any(SECRET in line or NUMBER in line for line in found), found


@pytest.mark.parametrize(
    "url",
    [
        "htps://user:hunter22@h/",
        "https:user:hunter22@h/?token=x",
        "http:/h/?token=hunter22",
        "u:hunter22@",
        "http://u:hunter22@h:x/",
    ],
)
def test_of_an_address_no_user_password_or_query_is_told(url: str) -> None:
    (line,) = problems(SOURCE, sensor(f"http: {{url: '{url}'}}"))
    assert "template.http.url: " in line
    assert SECRET not in line


@pytest.mark.parametrize("spec", BUS)
def test_of_a_bus_the_place_is_told_and_not_the_value(spec: str) -> None:
    found = problems(bus(spec))
    assert all("spec." in line for line in found)
    assert not any(SECRET in line or NUMBER in line for line in found), found


def test_a_secret_that_is_no_plain_yaml_is_not_shown() -> None:
    (line,) = problems(sensor("http: {url: 'http://h/', basicAuth: !hunter22 x}"))
    assert line.startswith("document 1: is not plain YAML: this has a tag that is not known here (line 8, ")
