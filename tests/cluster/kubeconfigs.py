"""Kubeconfigs for tests, and the plugins that they name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from kubecdc.cluster.configuration import Configuration, load_configuration
from kubecdc.cluster.impersonation import NOBODY, Impersonation

V1 = "client.authentication.k8s.io/v1"


def kubeconfig(folder: Path, user: dict[str, Any], **cluster: Any) -> str:
    """A file with one context."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": "https://api.example.com:6443", **cluster}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
        "users": [{"name": "me", "user": user}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def configured(
    folder: Path, user: dict[str, Any], impersonation: Impersonation = NOBODY, **cluster: Any
) -> Configuration:
    """What is read from such a file."""
    return load_configuration(kubeconfig(folder, user, **cluster), None, impersonation)


def script(folder: Path, text: str, name: str = "plugin") -> Path:
    """An executable shell script."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def plugin(path: Path | str, **more: Any) -> dict[str, Any]:
    """A user with an exec plugin."""
    return {"exec": {"apiVersion": V1, "command": str(path), "interactiveMode": "Never", **more}}


def credential(version: str = V1, **status: Any) -> str:
    """What a plugin prints."""
    return json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})
