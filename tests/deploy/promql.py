"""The labels of what a query of Prometheus finds. The metrics and labels in it are compared with those in the code."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any

import promql_parser as promql

from kubecdc.metrics import Metric
from tests import metrics_page

TARGET = {"namespace", "pod", "container", "job", "instance"}  # what the scrape of a pod adds
OTHERS = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}  # of Prometheus, and of its library
COUNTED = {"rate", "increase", "irate"}


@functools.cache
def definitions() -> dict[str, Metric]:
    return metrics_page.definitions()


def labels_of_metric(name: str) -> tuple[str, set[str]]:
    """Its kind and labels. AssertionError if the code has no such metric."""
    if name in OTHERS:
        return ("counter" if name.endswith("_total") else "gauge"), set(TARGET)
    for metric in definitions().values():
        own = {*metric.labels, *TARGET}
        if name == metrics_page.full_name(metric):
            return metric.kind, own
        if metric.kind == "histogram" and re.fullmatch(rf"{metric.name}_(bucket|sum|count)", name):
            return "counter", own | ({"le"} if name.endswith("_bucket") else set())
    raise AssertionError(f"no metric is called {name}")


def labels(query: str) -> set[str]:
    """Those of its result. AssertionError if it does not fit the metrics, or can never find anything."""
    try:
        parsed = promql.parse(query)
    except ValueError as e:
        raise AssertionError(f"{e}: {query}") from e
    try:
        return _labels(parsed) or set()
    except AssertionError as e:
        raise AssertionError(f"{e}, in {query}") from e


def _has(found: set[str], wanted: Iterable[str], where: str) -> None:
    missing = set(wanted) - found
    assert not missing, f"{where} has no label {missing}, but {found}"


def _labels(node: Any) -> set[str] | None:
    """None: a number."""
    match type(node).__name__:
        case "NumberLiteral" | "StringLiteral":
            return None
        case "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            return _labels(node.expr)
        case "VectorSelector":
            _, own = labels_of_metric(node.name)
            _has(own, [matcher.name for matcher in node.matchers.matchers], node.name)
            return own
        case "MatrixSelector":
            return _labels(node.vector_selector)
        case "AggregateExpr":
            inner = _labels(node.expr)
            assert inner is not None
            if node.modifier is None:
                return inner if str(node.op) in ("topk", "bottomk") else set()
            assert node.modifier.type == promql.AggModifierType.By
            _has(inner, node.modifier.labels, str(node.expr))
            return inner if str(node.op) in ("topk", "bottomk") else set(node.modifier.labels)
        case "Call":
            return _call(node.func.name, node.args)
        case "BinaryExpr":
            return _binary(node)
    raise AssertionError(f"{type(node).__name__} is not known here")


def _call(name: str, args: list[Any]) -> set[str] | None:
    if name in COUNTED:
        metric = args[0].vector_selector.name
        assert labels_of_metric(metric)[0] == "counter", f"{name} of the gauge {metric}"
    inner = [found for found in map(_labels, args) if found is not None]
    match name:
        case "label_replace":
            _has(inner[0], [args[3].val], str(args[0]))
            return inner[0] | {args[1].val}
        case "label_join":
            _has(inner[0], [arg.val for arg in args[3:]], str(args[0]))
            return inner[0] | {args[1].val}
        case "histogram_quantile":
            _has(inner[0], ["le"], str(args[1]))
            return inner[0] - {"le"}
        case "absent" | "vector":
            return set()
    return inner[0]


def _binary(node: Any) -> set[str] | None:
    left, right = _labels(node.lhs), _labels(node.rhs)
    if left is None or right is None:
        return left if right is None else right
    op, modifier = str(node.op), node.modifier
    matching = modifier.matching if modifier else None
    if op == "or":
        return left | right
    if matching is None:
        assert left == right, f"{left} and {right} never match"
        return left
    assert matching.type == promql.LabelModifierType.Include
    _has(left, matching.labels, str(node.lhs))
    _has(right, matching.labels, str(node.rhs))
    many = modifier.card == promql.VectorMatchCardinality.ManyToOne
    return left if op in ("and", "unless") or many else set(matching.labels)
