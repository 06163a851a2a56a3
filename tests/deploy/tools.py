"""kubectl and helm, and what they make of deploy/."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = DEPLOY / "kustomize" / "overlays"
BUSES = ("embedded", "redis", "sqs", "pubsub")

Document = dict[str, Any]


def tool(name: str) -> str:
    """Its path, in KUBEBUILDER_ASSETS or on PATH; else the test is skipped."""
    found = shutil.which(name, path=f"{os.environ.get('KUBEBUILDER_ASSETS', '')}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"there is no {name} in KUBEBUILDER_ASSETS nor on PATH")
    return found


def output(name: str, *args: str | Path, stdin: str = "", cwd: Path | None = None) -> str:
    """What it prints. AssertionError with its complaints if it fails."""
    command = [tool(name), *map(str, args)]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, f"{name} {' '.join(map(str, args))}:\n{done.stdout}{done.stderr}"
    return done.stdout


@functools.cache
def built(folder: Path) -> tuple[Document, ...]:
    """The documents of a kustomization."""
    return tuple(yaml.safe_load_all(output("kubectl", "kustomize", folder)))


def built_in(folder: Path, kustomization: Document) -> tuple[Document, ...]:
    """The documents of a kustomization of the user's, in an own folder. ``../deploy`` in it is deploy/."""
    steps = Path(*[".."] * len(folder.resolve().parts[1:]), *DEPLOY.parts[1:])
    text = yaml.safe_dump(kustomization, width=1000).replace("../deploy", str(steps))
    (folder / "kustomization.yaml").write_text(text)
    return built(folder)


def of_kind(documents: tuple[Document, ...], kind: str) -> list[Document]:
    return [document for document in documents if document["kind"] == kind]


def named(documents: tuple[Document, ...], kind: str, name: str) -> Document:
    (found,) = [document for document in of_kind(documents, kind) if document["metadata"]["name"] == name]
    return found
