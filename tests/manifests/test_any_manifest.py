"""Whatever stands in a manifest, the answer is problems in words or a manifest."""

from __future__ import annotations

import copy
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from kubecdc.cli.manifests.loading import ManifestErrors, load
from tests.manifests.support import bus

DATA = Path(__file__).parents[1] / "data" / "argo"
ORIGINALS = [
    yaml.safe_load(text)
    for text in (
        (DATA / "event-source-resource.yaml").read_text(),
        (DATA / "sensor-http-log.yaml").read_text(),
        bus("sqlite: {path: x}, redelivery: {ackWait: 5s, backoff: {cap: 1m}}, checkpoint: {sqlite: {}}"),
    )
]
NAMES = ["name", "template", "http", "log", "policy", "filter", "labels", "spec", "parameters", "k8s", "type", "x", ""]
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1.5, "", "x", "5s", [], {}, [None], [{}], {"x": 1}, [[]], "(", "a..b"]
)


def containers(value: Any) -> list[Any]:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    found = [value] if isinstance(value, dict | list) else []
    return found + [c for child in inner for c in containers(child)]


@given(st.data())
def test_a_manifest_with_anything_in_it_is_answered_in_words(data: st.DataObject) -> None:
    manifests = copy.deepcopy(ORIGINALS)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.sampled_from([c for m in manifests for c in containers(m) if c]))
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys + (NAMES if isinstance(place, dict) else [])))
        place[key] = copy.deepcopy(data.draw(VALUES))
    text = "\n".join(json.dumps(manifest, default=datetime.isoformat) for manifest in manifests)
    try:
        load(["-"], stdin=io.StringIO(text))
    except ManifestErrors as e:
        for problem in e.problems:
            line = str(problem)
            assert "\n" not in line
            assert not any(word in line.lower() for word in ("pydantic", "input should", "extra inputs", "validator"))
