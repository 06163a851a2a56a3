"""The text format of Prometheus, version 0.0.4, of all metrics of the process.

The library takes eight times as long for what a worker with 200 triggers exports, and the event loop has to share the
core meanwhile. So it writes only what others have registered with it.
"""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import generate_latest

from kubecdc.metrics import Labels, Metric, defined

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REMEMBERED = 20_000  # series whose labels stay written, of a few thousand that a process has
_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def exposition() -> bytes:
    """All metrics as they are now."""
    return generate_latest() + "".join([_text(metric) for metric in list(defined.values())]).encode()


def _text(metric: Metric) -> str:
    """Nothing of a metric without series."""
    parts = [(f"{metric.name}{suffix}", _end(le, labelled=bool(metric.labels))) for suffix, le in metric.parts]
    lines: list[str] = []
    for labels, values in metric.series():
        begin = _begin(metric.labels, labels)
        lines += [f"{name}{begin}{end} {float(value)!r}\n" for (name, end), value in zip(parts, values, strict=True)]
    name = f"{metric.name}_total" if metric.kind == "counter" else metric.name
    return "".join([f"# HELP {name} {metric.help}\n# TYPE {name} {metric.kind}\n", *lines]) if lines else ""


@lru_cache(REMEMBERED)
def _begin(names: Labels, values: Labels) -> str:
    pairs = [f'{name}="{value.translate(_ESCAPED)}"' for name, value in zip(names, values, strict=True)]
    return "{" + ",".join(pairs) if pairs else ""


def _end(le: str, *, labelled: bool) -> str:
    if not le:
        return "}" if labelled else ""
    return f'{"," if labelled else "{"}le="{le}"}}'
