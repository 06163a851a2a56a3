"""Manifests of one name in different namespaces."""

from __future__ import annotations

from tests.manifests.support import loaded, problems

SOURCE = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: pods, {metadata}}}
spec:
  resource: {{changed: {{version: v1, resource: pods, eventTypes: [ADD]}}}}
  eventBusName: {bus}
"""
SENSOR = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: notify, {metadata}}}
spec:
  dependencies: [{{name: pod, eventSourceName: {source}, eventName: changed}}]
  triggers: [{{template: {{name: tell, log: {{}}}}}}]
  eventBusName: {bus}
"""
BUS = """
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {{name: default, {metadata}}}
spec: {{sqlite: {{path: {path}}}}}
"""


def source(metadata: str, bus: str = "default") -> str:
    return SOURCE.format(metadata=metadata, bus=bus)


def sensor(metadata: str, source: str = "pods", bus: str = "default") -> str:
    return SENSOR.format(metadata=metadata, source=source, bus=bus)


def known_as(name: str, namespace: str = "b") -> str:
    return f"namespace: {namespace}, annotations: {{kubecdc.io/name: {name}}}"


def test_two_of_one_name_in_two_namespaces_are_told_apart_by_an_annotation() -> None:
    found = loaded(
        *(source("namespace: a"), sensor("namespace: a")),
        *(source(known_as("b.pods")), sensor(known_as("b.notify"), "b.pods")),
    )
    assert {name: s.metadata.namespace for name, s in found.sources.items()} == {"pods": "a", "b.pods": "b"}
    assert [name for s in found.sensors.values() for name, *_ in s.subscriptions()] == ["notify/tell", "b.notify/tell"]


def test_buses_of_one_name_are_told_apart_in_the_same_way() -> None:
    found = loaded(
        *(BUS.format(metadata="namespace: a", path="a.db"), source("namespace: a"), sensor("namespace: a")),
        *(BUS.format(metadata=known_as("b.default"), path="b.db"), source(known_as("b.pods"), "b.default")),
        sensor(known_as("b.notify"), "b.pods", "b.default"),
    )
    assert list(found.buses) == ["default", "b.default"]
    assert found.sensors["b.notify"].spec.event_bus_name == "b.default"


def test_without_the_annotation_the_problem_says_what_to_write_and_why() -> None:
    assert problems(source("namespace: a"), source("namespace: b")) == [
        "document 2, EventSource/pods: metadata.name: is also the name of one in namespace a (standard input, document "
        "1); checkpoints and subscriptions are identified by it; give the newer of the two the annotation "
        "`kubecdc.io/name: b.pods`"
    ]


def test_one_name_in_one_namespace_is_refused_whatever_the_annotation_says() -> None:
    assert problems(source("namespace: b"), source(known_as("other"))) == [
        "document 2, EventSource/pods: metadata.name: is already the name of one in standard input, document 1"
    ]


def test_a_name_that_an_annotation_takes_from_another_is_refused() -> None:
    assert problems(source("namespace: a"), source(known_as("pods"))) == [
        "document 2, EventSource/pods: metadata.name: is also the name of one in namespace a (standard input, document "
        "1); checkpoints and subscriptions are identified by it; give the newer of the two the annotation "
        "`kubecdc.io/name: b.pods`"
    ]
    assert problems(source(""), source(known_as("b.pods")), source(known_as("b.pods", "c"))) == [
        'document 3, EventSource/pods: metadata.annotations["kubecdc.io/name"]: `b.pods` is already the name of one in '
        "standard input, document 2"
    ]


def test_a_reference_that_means_another_in_kubernetes_is_refused() -> None:
    """A Sensor of namespace b never gets the events of namespace a by mistake."""
    given = [source("namespace: a"), source(known_as("b.pods")), sensor("namespace: b")]
    assert problems(*given) == [
        "document 3, Sensor/notify: spec.dependencies[0].eventSourceName: the EventSource `pods` of namespace b is "
        "called `b.pods`; write `eventSourceName: b.pods`"
    ]
    buses = [BUS.format(metadata="", path="a.db"), BUS.format(metadata=known_as("b.default"), path="b.db")]
    assert problems(*buses, source("namespace: b")) == [
        "document 3, EventSource/pods: spec.eventBusName: the EventBus `default` of namespace b is called `b.default`; "
        "write `eventBusName: b.default`"
    ]


def test_a_sensor_without_a_namesake_in_its_namespace_sees_the_others_as_before() -> None:
    found = loaded(source("namespace: a"), source(known_as("b.pods")), sensor("namespace: c"))
    assert list(found.sensors) == ["notify"]


def test_the_annotation_is_a_name() -> None:
    assert problems(source("namespace: b, annotations: {kubecdc.io/name: B/pods}")) == [
        "document 1, EventSource/pods: metadata.annotations: kubecdc.io/name: 'B/pods' is not a Kubernetes name; "
        "at most 253 characters of a-z, 0-9 and -, with a letter or digit at both ends"
    ]
