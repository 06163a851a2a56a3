"""Back ends are reached through entry points only: nothing outside the folder of one names it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = ("kubecdc", "storage", "watcher", "workers")
BACK_ENDS = {  # the folders that may name something
    ("storage/sqlite",): re.compile(r"sqlite|apsw", re.IGNORECASE),
    ("storage/redis", "storage/redis_server", "storage/rq"): re.compile(r"redis", re.IGNORECASE),
    ("storage/rq", "kubecdc/rq"): re.compile(r"\brq\b|\bRq[A-Z]", re.IGNORECASE),
    # "ConfigMap" and `configMapKeyRef` are of Kubernetes, and the option `--configmaps-dir` is about them.
    ("storage/configmap",): re.compile(
        r"configMap(?!KeyRef)|configmap(?!s)|ConfigMap(?!KeyRef)[A-Z]|config_map(?!_key_ref)"
    ),
}
ALLOWED = {
    ("watcher/manifest/event_source.py", "redis"),  # EventSource types of Argo Events that are refused
    ("watcher/manifest/event_source.py", "redisStream"),
    ("workers/objects/sources/manifest.py", "configmap"),  # Argo's name for a source, and how others spell it
    ("workers/objects/sources/manifest.py", "configMap"),
    ("workers/objects/sources/manifest.py", "ConfigMapSource"),
    ("workers/objects/sources/read.py", "configmap"),
}


def texts(tree: ast.AST) -> Iterator[str]:
    """Whatever names something: imports, identifiers, attributes, arguments, and all text in quotes."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names):
                yield from (module or "", *(alias.name for alias in names))
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Constant(value=str(text)):
                yield text


def named(file: str, source: str) -> list[str]:
    """The back ends that a file of another folder names."""
    return [
        f"{file}: {text!r}"
        for text in texts(ast.parse(source))
        for folders, pattern in BACK_ENDS.items()
        if not file.startswith(tuple(f"{folder}/" for folder in folders))
        and pattern.search(text)
        and (file, text) not in ALLOWED
    ]


def test_nothing_outside_the_folder_of_a_back_end_names_it() -> None:
    everything = (file for top in PRODUCT for file in (ROOT / top).rglob("*.py"))
    files = [file for file in everything if file.resolve() == file]  # each once: kubecdc/ has links to the others
    assert len(files) > 200
    found = [line for f in files for line in named(str(f.relative_to(ROOT)), f.read_text())]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import kubecdc.storage.sqlite",
        "from kubecdc.storage import redis",
        "bus.spec.redis",
        "def open_sqlite(): ...",
        "open(path='./sqlite.db')",
        "f(redis=1)",
        "from kubecdc.storage.configmap.store import X",
        "ConfigMapStore",
        "x = 'configMap'",
        "from kubecdc.storage.rq import open_bus",
    ],
)
def test_the_search_finds_what_it_is_for(source: str) -> None:
    assert named("kubecdc/cli/x.py", source)


BROKEN = {
    "storage/redis/bus.py": "from kubecdc.storage.sqlite import settings",
    "storage/split.py": "import kubecdc.storage.configmap.document",
    "storage/periodic.py": "import apsw",
    "workers/claim.py": "import redis",
    "watcher/watcher.py": "import kubernetes",
}


def test_the_import_rules_bite(tmp_path: Path) -> None:
    for name in PRODUCT:
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, line in BROKEN.items():
        path = tmp_path / file
        path.write_text(f"{path.read_text()}\n{line}\n")
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 1, done.stdout
    for rule in (
        "back ends do not import each other",
        "back ends are imported through their entry points only",
        "apsw is used by the SQLite back end only",
        "redis-py and hiredis are used by the buses in a Redis only",
        "the official client of Kubernetes is used for access reviews only",
    ):
        assert re.search(rf"{rule} BROKEN", done.stdout), done.stdout
