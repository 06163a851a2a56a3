"""The alerts of deploy/prometheus/rules.yaml, and the files that ``make alerts`` makes of them and of the dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.deploy.tools import DEPLOY, Document

RULES = DEPLOY / "prometheus" / "rules.yaml"
COMPONENTS = DEPLOY / "kustomize" / "components"
DASHBOARD = COMPONENTS / "dashboard" / "kubecdc.json"
CHART_FILES = DEPLOY / "helm" / "kubecdc" / "files"
MADE = "# Made from deploy/prometheus/rules.yaml by `make alerts`.\n"


def alerts() -> list[dict[str, Any]]:
    """All of them, as they are in the file."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def made() -> dict[Path, str]:
    """The files that are made, with what has to be in them."""
    rule: Document = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "kubecdc", "namespace": "kubecdc"},
        "spec": yaml.safe_load(RULES.read_text()),
    }
    return {
        COMPONENTS / "alerts" / "prometheus-rule.yaml": MADE + yaml.safe_dump(rule, sort_keys=False, width=130),
        CHART_FILES / "rules.yaml": RULES.read_text(),
        CHART_FILES / "dashboard.json": DASHBOARD.read_text(),
    }


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
