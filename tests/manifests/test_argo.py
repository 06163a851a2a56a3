"""Manifests written for Argo Events: what runs as it is, and what is refused and why."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from kubecdc.cli.manifests.loading import ManifestErrors, load
from kubecdc.manifest.mounts import Mounts
from kubecdc.workers.route import routes
from kubecdc.workers.sensor.parameters import ParameterError
from kubecdc.workers.triggers.contract import json_line
from kubecdc.workers.triggers.http.manifest import Http
from kubecdc.workers.triggers.k8s.manifest import K8s
from kubecdc.workers.triggers.log.manifest import Log
from tests.workers.support import event

DATA = Path(__file__).parents[1] / "data" / "argo"
SOURCE = str(DATA / "event-source-resource.yaml")


def wrong(*names: str) -> list[str]:
    with pytest.raises(ManifestErrors) as e:
        load([str(DATA / name) for name in names], stdin=io.StringIO())
    return [str(problem).partition(", document 1, ")[2] for problem in e.value.problems]


def test_an_event_source_with_every_field_loads() -> None:
    manifests = load([SOURCE], stdin=io.StringIO())
    spec = manifests.sources["resources"].spec
    made, everything, deleted = spec.resource.values()
    assert (made.namespace, made.group, made.version, made.resource) == ("argo", "argoproj.io", "v1alpha1", "workflows")
    assert (made.event_types, made.filter.after_start, made.filter.labels[0].operation) == (("ADD",), True, "==")
    assert everything.filter.prefix == "app-"
    assert everything.filter.created_by == datetime(2026, 1, 31, 12, tzinfo=UTC)
    operations = [label.operation for label in everything.filter.labels]
    assert operations == ["==", "=", "!=", "in", "notin", "exists", "!", "gt", "lt"]
    assert everything.filter.labels[3].values == ("prod", "stage")
    assert [f.operation for f in everything.filter.fields] == ["==", "==", "=", "!="]
    assert everything.metadata == {"cluster": "one"}
    assert (deleted.namespace, deleted.namespaces, deleted.initial_list, deleted.inventory) == (
        "",
        (),
        "emit",
        "versions",
    )
    assert manifests.notices == [
        f"{SOURCE}, document 1, EventSource/resources: "
        "spec.replicas, spec.template, spec.service: accepted, without effect"
    ]


def test_a_sensor_with_every_field_built_here_loads() -> None:
    manifests = load([SOURCE, str(DATA / "sensor-http-log.yaml")], stdin=io.StringIO())
    sensor = manifests.sensors["notify"]
    down, everything, call, again = sensor.spec.triggers
    assert sensor.spec.logging_fields == {"team": "platform"}
    assert sensor.subscription(call, sensor.spec.dependencies[0]) == "notify/call"
    assert isinstance(down.template.config, Log)
    assert down.template.config.interval_seconds == 20
    assert isinstance(everything.template.config, Log), "`log: ~` is a log trigger"
    assert everything.template.config.interval_seconds == 0
    http = call.template.config
    assert isinstance(http, Http)
    assert (http.method, http.timeout, http.headers) == ("POST", 30, {"X-Origin": "argo"})
    assert [p.dest for p in http.payload] == ["name", "status", "labels.-1"]
    assert http.payload[1].src.use_raw_data
    assert http.payload[2].src.value == "unknown"
    assert (http.parameters[0].operation, call.parameters[0].operation) == ("append", "prepend")
    assert call.policy.status is not None
    assert call.policy.status.allow == (200, 201)
    assert call.at_least_once
    retry = call.retry_strategy
    assert retry is not None
    assert (retry.steps, retry.duration, retry.factor, retry.jitter) == (3, timedelta(seconds=1), 2.0, 0.5)
    assert down.retry_strategy is None, "without it there is one attempt"
    assert again.retry_strategy is not None
    assert (again.retry_strategy.steps, again.retry_strategy.duration) == (5, timedelta(milliseconds=500))
    assert (again.retry_strategy.factor, again.retry_strategy.jitter) == (1.0, 1.0)
    assert isinstance(again.template.config, Http)
    assert again.template.config.timeout == 60


def test_an_http_trigger_with_every_field_loads() -> None:
    manifests = load([SOURCE, str(DATA / "sensor-http-secure.yaml")], stdin=io.StringIO())
    http = manifests.sensors["secure"].spec.triggers[0].template.config
    assert isinstance(http, Http)
    assert http.host == "receiver.example.com"
    assert [h.dest for h in http.dynamic_headers] == ["X-Name", "X-Id"]
    token, tenant = (h.value_from for h in http.secure_headers)
    assert token.secret_key_ref is not None
    assert tenant.config_map_key_ref is not None
    assert (token.secret_key_ref.key, tenant.config_map_key_ref.key) == ("token", "tenant.id")
    assert http.basic_auth is not None
    assert http.basic_auth.username is not None
    assert http.tls is not None
    assert http.tls.client_key_secret is not None
    assert (http.basic_auth.username.key, http.tls.client_key_secret.key) == ("user_name", "tls.key")


def test_old_fields_beside_a_source_are_taken_with_a_notice() -> None:
    manifests = load([SOURCE, str(DATA / "sensor-k8s.yaml")], stdin=io.StringIO())
    config = manifests.sensors["start-workflow"].spec.triggers[0].template.config
    assert isinstance(config, K8s)
    assert config.source.resource is not None
    assert config.source.resource["metadata"] == {"generateName": "started-"}
    policy = manifests.sensors["start-workflow"].spec.triggers[0].policy.k8s
    assert policy is not None
    assert (policy.labels, policy.backoff.steps) == ({"workflows.argoproj.io/phase": "Succeeded"}, 3)
    assert (config.operation, config.parameters[0].dest) == ("create", "spec.arguments.parameters.0.value")
    assert manifests.notices[0] == (
        f"{DATA / 'sensor-k8s.yaml'}, document 1, Sensor/start-workflow: "
        "spec.triggers[0].template.k8s: group, version, resource: accepted, without effect: "
        "`apiVersion` and `kind` of the object count"
    )


def test_fields_that_argo_ignores_are_taken_with_a_notice_that_says_what_counts() -> None:
    file = DATA / "sensor-without-effect.yaml"
    manifests = load([SOURCE, str(file)], stdin=io.StringIO())
    sensor = manifests.sensors["lenient"]
    assert [trigger.policy.given for trigger in sensor.spec.triggers] == [[], [], [], []]
    assert [trigger.retry_strategy for trigger in sensor.spec.triggers] == [None] * 4
    place = f"{file}, document 1, Sensor/lenient: "
    assert [notice.removeprefix(place) for notice in manifests.notices if notice.startswith(place)] == [
        "spec: volumes, serviceAccountName: accepted, without effect: kubecdc creates no pods",
        "spec: retryStrategy: accepted, without effect: it belongs beside `template`",
        "spec.dependencies[0]: namespace: accepted, without effect: an EventSource is known by its name",
        "spec.dependencies[0]: eventBusName: accepted, without effect: `spec.eventBusName` counts",
        "spec.dependencies[0]: jsonBody: accepted, without effect: it is a field of EventSources",
        "spec.triggers[0].template: atLeastOnce: accepted, without effect: every trigger runs at least once",
        "spec.triggers[0].template: retryStrategy: accepted, without effect: it belongs beside `template`",
        "spec.triggers[0].template.http: serverURL: accepted, as the old name of `url`",
        "spec.triggers[0].template.http: timeoutSeconds: accepted, without effect: `timeout` counts",
        "spec.triggers[0].template.http: rateLimit, retryStrategy: accepted, without effect: "
        "it belongs beside `template`",
        "spec.triggers[1].template.http: serverURL: accepted, without effect: `url` counts",
        "spec.triggers[2].template: policy: accepted, without effect: it belongs beside `template`",
        "spec.triggers[2].template.k8s: group, version, kind: accepted, without effect: "
        "`apiVersion` and `kind` of the object count",
        "spec.triggers[2].template.k8s: metadata: accepted, without effect: `metadata` of the object counts",
        "spec.triggers[2].template.k8s.source.git: namespace: accepted, without effect: "
        "Secrets are those of the Sensor's namespace",
        "spec.triggers[2].template.k8s.source.git: sshKeyPath: accepted, without effect: `sshKeySecret` counts",
    ]


def test_the_old_name_of_a_field_counts_unless_the_field_is_given() -> None:
    manifests = load([SOURCE, str(DATA / "sensor-without-effect.yaml")], stdin=io.StringIO())
    configs = [trigger.template.config for trigger in manifests.sensors["lenient"].spec.triggers[:2]]
    assert [config.url for config in configs if isinstance(config, Http)] == ["http://receiver/hook", "http://new/hook"]


def test_what_a_parameter_of_the_trigger_writes_need_not_be_there() -> None:
    manifests = load([SOURCE, str(DATA / "sensor-without-effect.yaml")], stdin=io.StringIO())
    sensor = manifests.sensors["lenient"]
    route = list(routes(sensor, concurrency=1, render=json_line, mounts=Mounts()))[3]
    metadata = {"annotations": {"repository": "https://example.com/flows.git"}, "name": "w"}
    request = route.request(event(data={"body": {"metadata": metadata}}))
    assert route.trigger.preview(request)["source"] == {
        "git": {"filePath": "flows/hello.yaml", "url": "https://example.com/flows.git"}
    }
    assert route.trigger.preview(request)["parameters"] == [{"dest": "metadata.labels.of", "value": "w"}]
    with pytest.raises(ParameterError, match="nothing at dataKey"):
        route.request(event(data={"body": {"metadata": {"name": "w"}}}))


WRITTEN = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: written}
spec:
  dependencies: [{name: made, eventSourceName: resources, eventName: workflow-made}]
  triggers:
  - template:
      name: tell
      http:
        url: http://receiver/hook
        payload: [{src: {dependencyName: TO_BE_WRITTEN, dataKey: name}, dest: name}]
    parameters:
    - {src: {dependencyName: made, dataKey: of}, dest: http.payload.0.src.dependencyName}
"""


def test_a_dependency_that_an_event_names_has_to_be_one() -> None:
    sensor = load(["-"], stdin=io.StringIO(WRITTEN)).sensors["written"]
    [route] = routes(sensor, concurrency=1, render=json_line, mounts=Mounts())
    request = route.request(event(data={"of": "made", "name": "w"}))
    assert json.loads(msgspec.json.encode(route.trigger.preview(request)))["body"] == {"name": "w"}
    with pytest.raises(ParameterError, match="the parameters name `nobody`, which is not a dependency of the Sensor"):
        route.request(event(data={"of": "nobody", "name": "w"}))


def test_openwhisk_in_the_wrong_case_is_refused_by_its_name() -> None:
    assert wrong("event-source-resource.yaml", "wrong/openwhisk.yaml") == [
        "Sensor/whisk: spec.triggers[0].template.openwhisk: is not a field; did you mean `openWhisk`? "
        "But trigger type `openWhisk` is not supported"
    ]


def test_a_type_in_the_spec_of_a_source_is_refused_with_how_types_are_named() -> None:
    assert wrong("wrong/source-spec-type.yaml") == [
        "EventSource/hooks: spec.type: is not a field; the type of an EventSource is the name of the field that holds "
        "its entries, as in `resource: {…}`",
        "EventSource/hooks: spec.webhook: EventSource type `webhook` is not supported",
    ]


FILTERED = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: filtered}
spec:
  dependencies:
  - name: change
    eventSourceName: workflows
    eventName: changed
    filtersLogicalOperator: "or"
    filters:
      exprLogicalOperator: "and"
      exprs:
      - expr: a == "b" || c == 10
        fields: [{name: a, path: a}, {name: c, path: a-longer-name}]
      dataLogicalOperator: ""
      data:
      - {path: body.value, type: number, comparator: ">", value: ["50.0"]}
      - {path: body.message, type: string, value: [hello, hey], template: "{{ b64dec .Input }}"}
      context: {type: webhook, source: custom-webhook, id: x, specversion: "1.0", time: x}
      time: {start: "09:00:00", stop: "17:00:00", timezone: America/New_York}
  triggers: [{template: {name: line, log: {}}}]
"""


def test_filters_with_every_field_load() -> None:
    manifests = load(["-"], stdin=io.StringIO(FILTERED))
    [dependency] = manifests.sensors["filtered"].spec.dependencies
    assert dependency.filters_logical_operator == "or"
    filters = dependency.filters
    assert (filters.expr_logical_operator, filters.data_logical_operator) == ("and", "")
    assert [(field.name, field.path) for field in filters.exprs[0].fields] == [("a", "a"), ("c", "a-longer-name")]
    assert [(d.type, d.comparator, d.value) for d in filters.data] == [
        ("number", ">", ("50.0",)),
        ("string", "", ("hello", "hey")),
    ]
    assert filters.context is not None
    assert filters.context.given == {"type": "webhook", "source": "custom-webhook"}
    assert filters.time is not None
    assert filters.time.timezone == "America/New_York"
    place = "standard input, document 1, Sensor/filtered"
    assert manifests.notices[1:] == [
        f"{place}: filters.context.{name} has no effect: filters ignore it" for name in ("id", "specversion", "time")
    ]
