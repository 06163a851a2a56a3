"""CONTRIBUTING.md names files and functions that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
STEPS = re.findall(r"^\| .+ \| `([\w/]+\.py)` \| (`.+`) \|$", TEXT, re.MULTILINE)


def names(file: Path) -> set[str]:
    """Functions and classes of a file, and ``Class.method``."""
    found: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            methods = [m for m in ast.walk(node) if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef)]
            found |= {f"{node.name}.{method.name}" for method in methods}
    return found


def test_the_way_of_an_event_has_its_steps() -> None:
    assert len(STEPS) >= 12


@pytest.mark.parametrize(("file", "functions"), STEPS)
def test_each_step_is_where_the_page_says(file: str, functions: str) -> None:
    wanted = set(re.findall(r"`([\w.]+)`", functions))
    assert wanted
    assert wanted <= names(ROOT / file)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w./-]+(?:\.py|\.md|/))`", TEXT))))
def test_each_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([\w./-]+)\)", TEXT))))
def test_each_link_leads_somewhere(path: str) -> None:
    assert (ROOT / path).exists()


def test_each_folder_of_the_house_exists() -> None:
    house = TEXT.partition("```")[2].partition("```")[0]
    tops = re.findall(r"^(\w+)/ ", house, re.MULTILINE)
    assert {"kubecdc", "watcher", "storage", "workers"} <= set(tops)
    top = ""
    for line in house.strip().splitlines():
        if match := re.match(r"(\w+)/ ", line):
            top = match[1]
            assert (ROOT / top).is_dir()
        elif match := re.match(r"  ((?:[\w.]+/? )+) ", line):
            for name in match[1].split():
                assert (ROOT / top / name).exists(), f"{top}/{name}"
