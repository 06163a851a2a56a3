"""Files, directories and documents: what is read, what is skipped, what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml

from kubecdc.cli.manifests.loading import ManifestErrors, Manifests, load, load_valid
from kubecdc.errors import UsageError
from kubecdc.storage.sqlite.manifest import Sqlite
from tests.manifests.support import SOURCE, bus, loaded, problems, sensor, source

DEPLOYMENT = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"


def from_paths(*paths: Path) -> Manifests:
    return load([str(path) for path in paths], stdin=io.StringIO())


def wrong(*paths: Path) -> list[str]:
    with pytest.raises(ManifestErrors) as e:
        from_paths(*paths)
    return [str(problem) for problem in e.value.problems]


def test_documents_that_are_valid_are_had_without_the_others(tmp_path: Path) -> None:
    file, other = tmp_path / "a.yaml", sensor("log: {}").replace("name: notify", "name: other")
    misnamed = sensor("log: {}").replace("eventName: changed", "eventName: gone").replace("name: notify", "name: lost")
    consumer = bus("sqlite: {path: x.db}, subscriptions: [{name: own, eventSourceName: none, eventName: gone}]")
    file.write_text("---".join([SOURCE, sensor("lo: {}"), consumer, misnamed, other, other]))
    manifests = load_valid([str(file)], stdin=io.StringIO())
    assert (list(manifests.sources), list(manifests.sensors)) == (["pods"], ["other"])
    assert manifests.buses["default"].spec.subscriptions, "it is a bus, whatever it refers to"
    assert [str(problem) for problem in manifests.problems] == wrong(file)
    assert [problem.place.document for problem in manifests.problems] == [2, 3, 4, 6]


@pytest.mark.parametrize(
    "bad", ["kind: [", "kind: EventBus", bus("sqlight: {}"), bus("sqlite: {path: x.db}") + "metadata: {name: default}"]
)
def test_without_the_document_of_the_bus_none_is_assumed(bad: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SOURCE + "---" + sensor("log: {}"))
    (tmp_path / "b.yaml").write_text(sensor("lo: {}").replace("name: notify", "name: other"))
    assert list(load_valid([str(tmp_path)], stdin=io.StringIO()).buses) == ["default"]
    (tmp_path / "bus.yaml").write_text(bad)
    with pytest.raises(ManifestErrors):
        load_valid([str(tmp_path)], stdin=io.StringIO())


def test_a_directory_gives_its_manifests_but_not_those_of_its_folders(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(SOURCE)
    (tmp_path / "a.json").write_text(json.dumps(yaml.safe_load(sensor("log: {}"))))
    (tmp_path / "c.yaml").write_text(bus("sqlite: {path: x.db}"))
    (tmp_path / "notes.txt").write_text("{")
    (tmp_path / ".hidden.yaml").write_text("{")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "d.yaml").write_text("{")
    manifests = from_paths(tmp_path)
    assert (list(manifests.sources), list(manifests.sensors)) == (["pods"], ["notify"])
    assert manifests.buses["default"].spec.queue == Sqlite(path="x.db")
    assert manifests.notices == []


def test_a_mounted_config_map_is_read_once(tmp_path: Path) -> None:
    data = tmp_path / "..2026_01_31"
    data.mkdir()
    (data / "source.yaml").write_text(SOURCE)
    (tmp_path / "..data").symlink_to(data.name)
    (tmp_path / "source.yaml").symlink_to("..data/source.yaml")
    assert list(from_paths(tmp_path).sources) == ["pods"]


def test_other_kinds_are_skipped_in_a_directory_with_a_notice(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(DEPLOYMENT + "---\n---\n" + SOURCE)
    (tmp_path / "b.yaml").write_text("replicas: 1")
    assert from_paths(tmp_path).notices == [
        f"{tmp_path}/a.yaml, document 1: skipped: Deployment (apps/v1) is not an EventSource, EventBus or Sensor",
        f"{tmp_path}/b.yaml, document 1: skipped: a document without `kind` is not an EventSource, EventBus or Sensor",
    ]


def test_a_file_of_other_kinds_only_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(DEPLOYMENT + "---\n- 1\n")
    assert wrong(file) == [
        f"{file}, document 1: Deployment (apps/v1) is not an EventSource, EventBus or Sensor",
        f"{file}, document 2: a document without `kind` is not an EventSource, EventBus or Sensor",
    ]


def test_other_kinds_beside_ours_are_skipped_with_a_notice(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"{DEPLOYMENT}---\n{SOURCE}")
    assert load([str(file)], stdin=io.StringIO()).notices == [
        f"{file}, document 1: skipped: Deployment (apps/v1) is not an EventSource, EventBus or Sensor"
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("kind: {{ .Values.kind }}\n", "it is a template: render it first, for example with `helm template`"),
        ("{{- if .Values.on }}\nkind: a\n{{- end }}\n", "it is a template: render it first"),
        ("kind: a\nspec:\n\tb: c\n", "it is indented with a tab: YAML allows only spaces"),
        ("kind: [\n", ""),
    ],
)
def test_the_likely_cause_of_what_is_no_yaml_is_said(tmp_path: Path, text: str, hint: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    (problem,) = wrong(file)
    assert hint in problem if hint else ";" not in problem


def test_what_cannot_be_read_is_told_for_each_path(tmp_path: Path) -> None:
    latin, broken, empty, folder, other = (tmp_path / n for n in ("latin.yaml", "broken.yaml", "empty.yaml", "f", "g"))
    latin.write_bytes("name: é".encode("latin-1"))
    broken.write_text("kind: [\nEventBus\n")
    empty.write_text("# nothing\n---\n")
    folder.mkdir()
    other.mkdir()
    (other / "a.yaml").write_text(DEPLOYMENT)
    missing = tmp_path / "missing.yaml"
    assert wrong(missing, latin, broken, empty, folder, other) == [
        f"{missing}: does not exist",
        f"{latin}: is not UTF-8: unexpected end of data at byte 6",
        f"{broken}, document 1: is not YAML: did not find expected ',' or ']' (line 3, column 1)",
        f"{empty}: has no EventSource, EventBus or Sensor",
        f"{folder}: has no .yaml, .yml or .json file; subdirectories are not searched",
        f"{other}: has no EventSource, EventBus or Sensor",
    ]


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(SOURCE)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert wrong(file) == [f"{file}: cannot be read: Permission denied"]


def test_no_path_is_an_error() -> None:
    with pytest.raises(UsageError, match="no manifest is given"):
        load([], stdin=io.StringIO())


def test_a_path_given_twice_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(SOURCE)
    assert list(from_paths(file, file).sources) == ["pods"]


def test_two_manifests_of_one_kind_and_name_are_refused_naming_both(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(SOURCE)
    second.write_text(bus("sqlite: {path: x}") + "---" + SOURCE)
    assert wrong(first, second) == [
        f"{second}, document 2, EventSource/pods: metadata.name: is already the name of one in {first}, document 1"
    ]


def test_the_rest_of_a_file_is_checked_after_a_broken_document(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: !custom x\n---" + source("prefix: x") + "---\n{")
    assert wrong(file) == [
        f"{file}, document 1: is not plain YAML: this has a tag that is not known here (line 1, column 4)",
        f"{file}, document 2, EventSource/pods: spec.resource.changed.prefix: is not a field here; "
        "it belongs inside `filter`",
        f"{file}, document 3: is not YAML: did not find expected node content (line 12, column 1)",
    ]


def test_a_key_that_occurs_twice_is_refused() -> None:
    assert problems(SOURCE + "spec: {}") == [
        "document 1: the key `spec` occurs twice in one mapping (line 8, column 1)",
        "document 1, EventSource/pods: spec: has no entries; add some under `resource`",
    ]


def test_a_key_that_occurs_twice_in_json_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"kind": "Sensor", "kind": "Sensor"}')
    assert wrong(file) == [f"{file}: the key `kind` occurs twice in one object"]


def test_broken_json_is_told_with_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"kind":\n x}')
    assert wrong(file) == [f"{file}: is not JSON: Expecting value: line 2 column 2 (char 10)"]


def test_what_kubectl_writes_is_unpacked() -> None:
    item = yaml.safe_load(SOURCE)
    item["metadata"] |= {"uid": "1", "resourceVersion": "7", "managedFields": [{}], "creationTimestamp": "x"}
    item["status"] = {"conditions": []}
    for kind in ("List", "EventSourceList"):
        text = json.dumps({"apiVersion": "v1", "kind": kind, "metadata": {}, "items": [item]})
        assert list(loaded(text).sources) == ["pods"]


def test_a_problem_in_a_list_has_its_place_there() -> None:
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(source("x: 1"))]})
    assert problems(text)[0].startswith(
        "document 1, EventSource/pods: items[0].spec.resource.changed.x: is not a field"
    )


def test_json_documents_one_after_another_are_read_from_standard_input() -> None:
    text = "\n".join(json.dumps(yaml.safe_load(d)) for d in (SOURCE, sensor("log: {}")))
    assert list(load(["-"], stdin=io.StringIO(text)).sensors) == ["notify"]


def test_yaml_is_read_as_kubernetes_reads_it() -> None:
    text = source("filter: {createdBy: 2026-01-31T12:00:00Z, prefix: 1:30}, metadata: {on: 12:30:45, 1: x, y: 1_0:0}")
    entry = loaded(text).sources["pods"].spec.resource["changed"]
    assert entry.filter.created_by is not None
    assert entry.filter.prefix == "1:30", "not 90 seconds"
    assert entry.metadata == {"on": "12:30:45", "1": "x", "y": "1_0:0"}, "keys are text as they are written"


def test_merge_keys_work() -> None:
    anchored = SOURCE.replace(
        "{version: v1, resource: pods, eventTypes: [ADD]}", "{<<: &x {version: v1, resource: pods}, eventTypes: [ADD]}"
    )
    assert loaded(anchored).sources["pods"].spec.resource["changed"].resource == "pods"


def test_without_an_event_bus_there_is_the_default_one() -> None:
    default = loaded(SOURCE).buses
    assert list(default) == ["default"]
    assert default["default"].spec.queue == Sqlite(path="./kubecdc.db")


def test_an_unknown_event_bus_is_refused() -> None:
    other = bus("sqlite: {path: x}").replace("default", "main")
    assert problems(other, SOURCE, sensor("log: {}", spec="eventBusName: mian")) == [
        "document 2, EventSource/pods: spec.eventBusName: there is no EventBus `default`; available: `main`",
        "document 3, Sensor/notify: spec.eventBusName: there is no EventBus `mian`; did you mean `main`?",
        "document 3, Sensor/notify: spec.dependencies[0].eventSourceName: EventSource `pods` publishes to EventBus "
        "`default`, not to `mian`",
    ]


def test_a_dependency_on_another_bus_is_refused() -> None:
    second = bus("sqlite: {path: y}").replace("default", "second")
    text = sensor("log: {}", spec="eventBusName: second")
    assert problems(bus("sqlite: {path: x}"), second, SOURCE, text) == [
        "document 4, Sensor/notify: spec.dependencies[0].eventSourceName: EventSource `pods` publishes to EventBus "
        "`default`, not to `second`"
    ]


def test_two_triggers_of_one_name_are_refused() -> None:
    text = sensor("log: {}").replace("  triggers:\n", "  triggers:\n  - template: {name: tell, log: {}}\n")
    assert problems(SOURCE, text) == [
        "document 2, Sensor/notify: spec.triggers[1].template.name: 2 triggers have the name `tell`"
    ]


def test_without_any_event_source_dependencies_are_not_checked_and_that_is_said() -> None:
    assert loaded(sensor("log: {}")).notices == [
        "no EventSource is given, so it was not checked whether the events of the subscriptions exist"
    ]


def test_what_has_no_effect_is_said_once_for_each_manifest() -> None:
    trigger = "atLeastOnce: false\npolicy: {status: {allow: [200]}}"
    notices = loaded(source("", "replicas: 2\ntemplate: {anything: [at, all]}"), sensor("log: {}", trigger)).notices
    assert [notice.removeprefix("standard input, ") for notice in notices] == [
        "document 1, EventSource/pods: spec.replicas, spec.template: accepted, without effect",
        "document 2, Sensor/notify: atLeastOnce: false has no effect: every trigger runs at least once",
        "document 2, Sensor/notify: policy.status has no effect on a log trigger",
    ]


@pytest.mark.parametrize(
    ("entry", "sends"),
    [
        ("resource: secrets", True),
        ("resource: secrets, project: {drop: [metadata.managedFields]}", True),
        ("resource: secrets, project: {redact: [stringData]}", True),
        ("resource: secrets, project: {redact: [data.password]}", True),
        ("resource: secrets, project: {redact: [data, stringData]}", False),
        ("resource: secrets, project: {drop: [data]}", False),
        ("resource: secrets, project: {keep: [type]}", False),
        ("resource: secrets, group: example.com", False),
        ("resource: configmaps", False),
    ],
)
def test_an_entry_that_sends_the_values_of_secrets_is_told_of(entry: str, sends: bool) -> None:
    text = SOURCE.replace("resource: pods", entry)
    told = [notice for notice in loaded(text).notices if "Secrets" in notice]
    assert told == sends * [
        "standard input, document 1, EventSource/pods: resource.changed sends the values of Secrets into the queue: "
        "add `project: {redact: [data, stringData]}`, unless they are wanted there"
    ]


def test_at_least_once_is_taken_and_only_false_is_without_effect() -> None:
    dlq = "dlqTrigger: {template: {name: dlq, log: {}}, atLeastOnce: %s, policy: {status: {allow: [200]}}}"
    assert loaded(SOURCE, sensor("log: {}", "atLeastOnce: true\n" + dlq % "true")).notices == [
        "standard input, document 2, Sensor/notify: policy.status has no effect on a log trigger"
    ]
    notices = loaded(SOURCE, sensor("log: {}", "atLeastOnce: true\n" + dlq % "false")).notices
    assert notices[0].endswith("atLeastOnce: false has no effect: every trigger runs at least once")


def test_conditions_may_name_the_one_dependency() -> None:
    for conditions in ("pod", "(pod)", " ( (pod) ) ", ""):
        loaded(SOURCE, sensor(f"log: {{}}, conditions: '{conditions}'"))


def test_an_equals_sign_is_text_without_quotes() -> None:
    equal = source("filter: {labels: [{key: team, operation: =, value: ml}]}")
    [label] = loaded(equal).sources["pods"].spec.resource["changed"].filter.labels
    assert label.operation == "="
