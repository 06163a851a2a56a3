"""Nothing outside the folder of a trigger type imports it or names its field."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT / name for name in ("kubecdc", "watcher", "workers", "storage")]
CLUSTER = ROOT / "kubecdc" / "cluster"  # where `http` is the scheme of a URL; the import rules keep it off the workers
SOURCES = ROOT / "workers" / "objects" / "sources"  # the same
SERVING = ROOT / "kubecdc" / "cli" / "serving"  # the same
URLS = {ROOT / "workers" / "triggers" / "kafka" / "manifest.py", ROOT / "kubecdc" / "tracing.py"}  # the same
POLICY = {  # where `k8s` is a part of the policy, which several types follow
    ROOT / "workers" / "sensor" / "policy.py",
    ROOT / "workers" / "triggers" / "argo_workflow" / "type.py",
}
OTHER_KINDS = {  # where `kafka` is a type of EventSource or EventBus, which is refused
    ROOT / "watcher" / "manifest" / "event_source.py",
    ROOT / "storage" / "manifest.py",
}
TYPES = sorted(f.name for f in (ROOT / "workers" / "triggers").iterdir() if (f / "type.py").is_file())


def sources(kind: str) -> Iterator[Path]:
    own = ROOT / "workers" / "triggers" / kind
    for folder in FOLDERS:
        for file in folder.rglob("*.py"):  # does not follow the links in kubecdc/
            if not {own, CLUSTER, SOURCES, SERVING} & set(file.parents) and file not in POLICY | OTHER_KINDS | URLS:
                yield file


def namings(kind: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where a module imports the type, or names its field: as text, as an attribute, as a name of a keyword."""
    module = f"kubecdc.workers.triggers.{kind}"
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    methods = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}  # such as `log` of a logger
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names if f"{alias.name}.".startswith(f"{module}.")]
            case ast.ImportFrom(module=str(start), names=names):
                full = [start, *(f"{start}.{alias.name}" for alias in names)]
                found = [name for name in full if f"{name}.".startswith(f"{module}.")]
            case ast.Constant(value=str(text)) if id(node) not in prose:
                found = [text] if text == kind or text.startswith((f"{kind}.", f"{kind}:", f"{kind}_")) else []
                found += [text] if module in text else []
            case ast.Attribute(attr=name) | ast.keyword(arg=str(name)) if id(node) not in methods:
                found = [name] if name == kind else []
            case _:
                continue
        for name in found:
            yield node.lineno if hasattr(node, "lineno") else 0, name


def test_the_types_are_found() -> None:
    assert {"http", "log"} <= set(TYPES)


@pytest.mark.parametrize("kind", TYPES)
def test_nothing_outside_its_folder_names_a_type(kind: str) -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in sources(kind)
        for line, name in namings(kind, ast.parse(file.read_text()))
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import kubecdc.workers.triggers.http",
        "from kubecdc.workers.triggers import http",
        "from kubecdc.workers.triggers.http.manifest import Http",
        "template.http",
        "getattr(template, 'http')",
        "x = {'http': 1}",
        "f(http=1)",
        "dest.removeprefix('http.')",
        "import_module('kubecdc.workers.triggers.http.type')",
    ],
)
def test_the_search_finds(code: str) -> None:
    assert list(namings("http", ast.parse(code)))
