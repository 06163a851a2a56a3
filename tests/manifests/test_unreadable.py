"""Documents that no library reads, or only at the expense of the machine: a line that says why, and nothing else."""

from __future__ import annotations

import io
import json

import pytest

from kubecdc.cli.manifests.loading import ManifestErrors, load
from tests.manifests.support import SOURCE, bus, problems, sensor

FORMS = [
    ("0x_", "this is not a value of type `int`"),
    ("0b_", "this is not a value of type `int`"),
    ("!!int foo", "this is not a value of type `int`"),
    ("!!float x", "this is not a value of type `float`"),
    ("!!timestamp x", "this is not a value of type `timestamp`"),
    ("!!bool x", "this is not a value of type `bool`"),
    ("9" * 5000, "this is not a value of type `int`"),
    ("9" * 400, "this number is too large"),
    ("-" + "9" * 30, "this number is too large"),
    (".nan", "JSON has no such number"),
    ("-.inf", "JSON has no such number"),
    ("1e999", "JSON has no such number"),
    ("!!map [a]", "this is not a mapping"),
    ('"a\\0b"', "this text has a NUL character"),
]
PATHS = [
    ("a*?" * 60_000, "the path has more than 8192 characters"),
    ("a." * 60_000 + "b", "the path has more than 8192 characters"),
    ("[" * 3000 + "a" + "]" * 3000, "the path has more than 32 brackets in each other"),
]


@pytest.mark.parametrize(("value", "reason"), FORMS, ids=range(len(FORMS)))
def test_a_value_that_cannot_be_read_is_told_with_its_line(value: str, reason: str) -> None:
    found = problems(SOURCE, sensor(f"http: {{url: 'http://h/', timeout: {value}}}"))
    assert len(found) == 1
    assert found[0].startswith(f"document 2: is not plain YAML: {reason} (line ")


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 19, "-" + "9" * 30])
def test_so_is_a_number_in_json(number: str) -> None:
    with pytest.raises(ManifestErrors) as e:
        load(["-"], stdin=io.StringIO(f'{{"apiVersion": "argoproj.io/v1alpha1", "kind": "Sensor", "spec": {number}}}'))
    assert len(e.value.problems) == 1


@pytest.mark.parametrize(("path", "reason"), PATHS, ids=range(len(PATHS)))
def test_a_path_is_bounded(path: str, reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    payload = json.dumps([{"src": {"dependencyName": "pod", "dataKey": path}, "dest": "x"}])
    (line,) = problems(SOURCE, sensor(f"http: {{url: 'http://h/', payload: {payload}}}"))
    assert line.endswith(f"payload[0].src.dataKey: {reason}")
    assert capfd.readouterr() == ("", ""), "nor does a library write anything"


@pytest.mark.parametrize(
    "url", ["http://[::1/", "http://[x]/", "http://[", "http://h:x/", "//", "http://\u2100/", "http://h:99999/"]
)
def test_an_address_that_no_library_reads_is_a_problem(url: str) -> None:
    (line,) = problems(SOURCE, sensor(f"http: {{url: {json.dumps(url)}}}"))
    assert "template.http.url: " in line


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("apiVersion: v1\nkind: List\nitems: &x [{apiVersion: v1, kind: List, items: *x}]", "a list in a list"),
        (
            "apiVersion: argoproj.io/v1alpha1\nkind: Sensor\nmetadata: &m {name: s, labels: *m}\nspec: {}",
            "not a mapping",
        ),
        ("&x {apiVersion: argoproj.io/v1alpha1, kind: Sensor, metadata: {name: s}, spec: *x}", "is not a field"),
    ],
)
def test_what_contains_itself_is_a_problem(text: str, reason: str) -> None:
    assert reason in " ".join(problems(text))


def test_a_size_that_no_machine_has_is_refused() -> None:
    for size in ("9" * 5000, "9" * 40 + "Gi", "1e30"):
        (line,) = problems(bus(f"sqlite: {{path: a}}, retentionBytes: '{size}'"))
        assert "spec.retentionBytes: is too large" in line
