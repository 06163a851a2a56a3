"""What a program does not touch stays as it is, and the examples of the documentation do what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kubecdc.workers.scripts import jq, lua

DOCS = Path(__file__).parents[3] / "docs"
WHOLE = st.integers(-(2**53), 2**53)
VALUES = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=5)


@settings(max_examples=100)
@given(OBJECTS)
def test_lua_gives_back_what_it_got(value: dict[str, Any]) -> None:
    assert json.loads(lua.transform("return event", json.dumps(value).encode())) == value


@settings(max_examples=100)
@given(OBJECTS)
def test_jq_gives_back_what_it_got(value: dict[str, Any]) -> None:
    assert json.loads(jq.run(".", json.dumps(value).encode())) == value


def examples(page: str) -> list[dict[str, Any]]:
    """What the manifests on a page have for a dependency."""
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)]
    return [block["dependencies"][0] if "dependencies" in block else block for block in blocks]


NODES = {"b": {"phase": "Failed", "displayName": "build"}, "t": {"phase": "Succeeded", "displayName": "test"}}


@pytest.mark.parametrize(("nodes", "failed"), [(NODES, ["build"]), ({}, []), (None, [])])
def test_the_transforms_of_the_documentation(nodes: Any, failed: list[str]) -> None:
    status = {"phase": "Failed"} | ({} if nodes is None else {"nodes": nodes})
    event = json.dumps({"type": "UPDATE", "body": {"metadata": {"name": "w1"}, "status": status}}).encode()
    in_jq, in_lua = (example["transform"] for example in examples("scripts.md"))
    wanted = {"name": "w1", "phase": "Failed", "failed": failed}
    assert json.loads(jq.run(in_jq["jq"], event)) == wanted
    assert json.loads(lua.transform(in_lua["script"], event)) == wanted


@pytest.mark.parametrize(("image", "passes"), [("web:latest", b"true"), ("web:1.2", b"false")])
def test_the_script_that_filters_in_the_documentation(image: str, passes: bytes) -> None:
    (script,) = (e["filters"]["script"] for e in examples("filters.md") if "script" in e.get("filters", {}))
    event = json.dumps({"body": {"spec": {"containers": [{"image": "x:1"}, {"image": image}]}}}).encode()
    assert lua.holds(script, event) == passes
