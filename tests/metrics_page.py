"""The tables of docs/metrics.md, made of the definitions in the code by ``make metrics``."""

from __future__ import annotations

import importlib
import re
from itertools import groupby
from pathlib import Path

from kubecdc import metrics

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "metrics.md"
PRODUCT = ("kubecdc", "storage", "watcher", "workers")
TITLES = {
    metrics.LEADER: "The leader of each bus exports",
    metrics.EACH: "Every process exports its own part",
    metrics.WORKERS: "Every worker exports its own part",
    metrics.ONE: "One process of each bus exports",
    metrics.SAME: "Every process that knows exports the same",
}
SUMS = {
    metrics.LEADER: "There is one leader, so nothing has to be added up.",
    metrics.EACH: "Sum them over the replicas: `sum by (watch) (rate(kubecdc_events_total[5m]))`.",
    metrics.WORKERS: "Sum them over the replicas: `sum by (sensor, trigger) (rate(kubecdc_deliveries_total[5m]))`.",
    metrics.ONE: "See below. `sum by (bus, subscription)` and `max by (bus, subscription)` are the same.",
    metrics.SAME: "Use `max`, or `min` for `kubecdc_bus_up` and what is said of manifests, and not `sum`.",
}
BEGIN, END = "<!-- made by `make metrics` -->\n", "<!-- the end of what it makes -->\n"


def definitions() -> dict[str, metrics.Metric]:
    """All metrics of the product, by name. Imports whatever defines one."""
    for top in PRODUCT:
        for file in sorted((ROOT / top).rglob("*.py")):
            if file.resolve() == file and re.search(r"^from kubecdc\.metrics import", file.read_text(), re.MULTILINE):
                place = file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
                importlib.import_module(place if top == "kubecdc" else f"kubecdc.{place}")
    return dict(metrics.defined)


def full_name(metric: metrics.Metric) -> str:
    """As it is in the exposition."""
    return f"{metric.name}_total" if metric.kind == "counter" else metric.name


def render() -> str:
    """The page: what is made of the code, in the text around it."""
    before, rest = PAGE.read_text().split(BEGIN)
    _, after = rest.split(END)
    parts: list[str] = []
    found = sorted(definitions().values(), key=lambda metric: (list(TITLES).index(metric.by), metric.name))
    for by, of in groupby(found, key=lambda metric: metric.by):
        lines = [f"## {TITLES[by]}", "", SUMS[by], "", "| metric | type | labels | meaning |", "|---|---|---|---|"]
        for metric in of:
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            lines.append(f"| `{full_name(metric)}` | {metric.kind} | {labels} | {metric.help} |")
        parts.append("\n".join(lines))
    made = "\n\n".join(parts)
    return f"{before}{BEGIN}\n{made}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(render())
