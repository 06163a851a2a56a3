"""docs/metrics.md is what the code defines, and the names follow the conventions of Prometheus."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import metrics_page

ROOT = metrics_page.ROOT
PER_OBJECT = {"name", "namespace", "uid", "object", "event", "event_id", "partitionkey", "key"}
BASE_UNITS = ("seconds", "bytes")
OTHER_UNITS = re.compile(r"(milliseconds|_ms|minutes|hours|_kib|_mib|percent)(_|$)")


def test_the_page_is_of_the_code_as_it_is() -> None:
    assert metrics_page.PAGE.read_text() == metrics_page.render(), "run `make metrics`"


def test_names_and_labels_follow_the_conventions() -> None:
    found = metrics_page.definitions()
    assert len(found) > 30
    for name, metric in found.items():
        assert re.fullmatch(r"kubecdc_[a-z]+(_[a-z]+)*", name), name
        assert not name.endswith(("_total", "_count", "_sum", "_bucket")), name
        assert not OTHER_UNITS.search(name), f"{name} has no base unit"
        assert metric.kind != "histogram" or name.endswith(BASE_UNITS), name
        assert not PER_OBJECT & set(metric.labels), f"{name} has a label for each object"
        assert not metric.help.endswith("."), name


NAMED = [
    (str(page.relative_to(ROOT)), name)
    for top in ("README.md", "docs", "deploy", "watcher", "workers", "storage", "kubecdc", "examples")
    for page in (sorted((ROOT / top).rglob("*.md")) if (ROOT / top).is_dir() else [ROOT / top])
    if page.resolve() == page
    for name in sorted(set(re.findall(r"\bkubecdc_[a-z_]+[a-z]\b(?![.*(:])", page.read_text())))
]


@pytest.mark.parametrize("page", sorted({page for page, _ in NAMED}))
def test_every_metric_that_a_page_names_exists(page: str) -> None:
    known = {metrics_page.full_name(metric) for metric in metrics_page.definitions().values()}
    names = {name for where, name in NAMED if where == page}
    modules = {path.stem for path in (ROOT / "examples").rglob("kubecdc_*.py")}
    suffix = re.compile(r"_(bucket|sum|count)$")
    # An adapter makes metrics of its own of ours, for autoscalers.
    manifests = (path.read_text() for path in (ROOT / "deploy").rglob("*.yaml"))
    made = {name for text in manifests for name in re.findall(r"name: \{as: (kubecdc_\w+)\}", text)}
    unknown = {name for name in names if suffix.sub("", name) not in known and name not in known | modules | made}
    assert not unknown, f"{Path(page).name} names {unknown}"
