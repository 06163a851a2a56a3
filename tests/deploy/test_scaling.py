"""The rules by which workers are scaled."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.pubsub.names import Names
from kubecdc.storage.sqs.names import queue_name
from kubecdc.storage.sqs.settings import SqsSettings
from tests.deploy.test_helm import compared, rendered
from tests.deploy.tools import DEPLOY, ROOT, Document, built_in, named, of_kind, output, tool

COMPONENTS = DEPLOY / "kustomize" / "components"
EXAMPLE = SubscriptionSpec("print/line", "deployments", "changed")  # the trigger of base/manifests.yaml
KINDS = {
    # component: the overlay, and the values of the chart that make the same
    "autoscale-keda": ("redis", {"by": "prometheus"}),
    "autoscale-hpa": ("redis", {"by": "hpa"}),
    "autoscale-keda-sqs": ("sqs", {"by": "sqs"}),
    "autoscale-keda-pubsub": ("pubsub", {"by": "pubsub"}),
}


def scaled(folder: Path, component: str) -> tuple[Document, ...]:
    overlay, _ = KINDS[component]
    own = {
        "resources": [f"../deploy/kustomize/overlays/{overlay}"],
        "components": [f"../deploy/kustomize/components/{component}"],
        # After the components, whose objects the overlay does not know.
        "transformers": ["../deploy/kustomize/common"],
    }
    (folder / component).mkdir(parents=True)
    return built_in(folder / component, own)


def triggers(documents: tuple[Document, ...]) -> list[dict[str, Any]]:
    (found,) = of_kind(documents, "ScaledObject")
    return [trigger["metadata"] for trigger in found["spec"]["triggers"]]


@pytest.mark.parametrize("component", KINDS)
def test_the_chart_scales_as_the_component_does_and_neither_sets_replicas(component: str, tmp_path: Path) -> None:
    bus, values = KINDS[component]
    documents = scaled(tmp_path, component)
    assert "replicas" not in named(documents, "Deployment", "kubecdc-work")["spec"]
    assert named(documents, "Deployment", "kubecdc-watch")["spec"]["replicas"] == 2
    more: dict[str, Any] = {}
    if bus == "sqs":
        more["queues"] = [trigger["queueURL"] for trigger in triggers(documents)]
    if bus == "pubsub":
        more["subscriptions"] = [trigger["subscriptionName"] for trigger in triggers(documents)]
    chart = rendered(values={"bus": {"type": bus}, "workers": {"autoscaling": {**values, **more}}})
    assert compared(chart) == compared(documents)


def test_the_queues_are_those_of_the_example(tmp_path: Path) -> None:
    (queue,) = triggers(scaled(tmp_path, "autoscale-keda-sqs"))
    assert queue["queueURL"].rpartition("/")[2] == queue_name(SqsSettings(), EXAMPLE.name)
    (subscription,) = triggers(scaled(tmp_path, "autoscale-keda-pubsub"))
    assert subscription["subscriptionName"] == Names("my-project", "kubecdc").path(EXAMPLE, 1)


def test_one_worker_at_most_for_each_partition(tmp_path: Path) -> None:
    bus = yaml.safe_load((DEPLOY / "kustomize" / "overlays" / "redis" / "eventbus.yaml").read_text())
    (keda,) = of_kind(scaled(tmp_path, "autoscale-keda"), "ScaledObject")
    (hpa,) = of_kind(scaled(tmp_path, "autoscale-hpa"), "HorizontalPodAutoscaler")
    partitions = bus["spec"]["redis"]["partitions"]
    assert keda["spec"]["maxReplicaCount"] == hpa["spec"]["maxReplicas"] == partitions


def query() -> str:
    (trigger,) = triggers(tuple(yaml.safe_load_all((COMPONENTS / "autoscale-keda" / "scaled-object.yaml").read_text())))
    return str(trigger["query"])


def test_the_adapter_asks_what_keda_asks_and_the_metrics_exist() -> None:
    adapter = yaml.safe_load((COMPONENTS / "autoscale-hpa" / "prometheus-adapter.yaml").read_text())
    (rule,) = adapter["rules"]["external"]
    assert rule["metricsQuery"] == query()
    (hpa,) = yaml.safe_load_all((COMPONENTS / "autoscale-hpa" / "autoscaler.yaml").read_text())
    assert hpa["spec"]["metrics"][0]["external"]["metric"]["name"] == rule["name"]["as"]
    page = (ROOT / "docs" / "metrics.md").read_text()
    for metric in set(re.findall(r"kubecdc_\w+", query())):
        assert f"`{metric}`" in page


PENDING = 'kubecdc_pending_events{namespace="kubecdc",bus="default",subscription="%s",pod="%s"}'
PAUSED = 'kubecdc_subscription_paused{namespace="kubecdc",subscription="%s",pod="w"}'
LOCKED = 'kubecdc_subscription_key_missing{namespace="kubecdc",subscription="%s",pod="%s"}'
BREAKER = 'kubecdc_trigger_breaker_open{namespace="kubecdc",sensor="%s",trigger="%s",pod="%s"}'
CASES: dict[str, tuple[dict[str, int], float | None]] = {
    "no backlog": ({PENDING % ("a/b", "w"): 0}, 0),
    "a backlog": ({PENDING % ("a/b", "w"): 5000}, 5000),
    "of two subscriptions": ({PENDING % ("a/b", "w"): 5000, PENDING % ("a/c", "w"): 700}, 5700),
    "exported twice, at a change of the exporter": ({PENDING % ("a/b", "v"): 4000, PENDING % ("a/b", "w"): 5000}, 5000),
    "paused": ({PENDING % ("a/b", "w"): 5000, PAUSED % "a/b": 1}, 0),
    "not paused": ({PENDING % ("a/b", "w"): 5000, PAUSED % "a/b": 0}, 5000),
    "its encryption key is missing": (
        {PENDING % ("a/b", "w"): 5000, LOCKED % ("a/b", "v"): 1, LOCKED % ("a/b", "w"): 1},
        0,
    ),
    "one worker alone lacks the key": (
        {PENDING % ("a/b", "w"): 5000, LOCKED % ("a/b", "v"): 1, LOCKED % ("a/b", "w"): 0},
        5000,
    ),
    "the receiver is away": (
        {PENDING % ("a/b", "w"): 5000, BREAKER % ("a", "b", "v"): 1, BREAKER % ("a", "b", "w"): 1},
        0,
    ),
    "one worker alone cannot reach it": (
        {PENDING % ("a/b", "w"): 5000, BREAKER % ("a", "b", "v"): 1, BREAKER % ("a", "b", "w"): 0},
        5000,
    ),
    "one receiver of two is away": (
        {PENDING % ("a/b", "w"): 5000, PENDING % ("a/c", "w"): 700, BREAKER % ("a", "b", "w"): 1},
        700,
    ),
    "one receiver of two is away, and its trigger needs two dependencies": (
        {
            PENDING % ("a/b/first", "w"): 5000,
            PENDING % ("a/b/second", "w"): 300,
            PENDING % ("a/bc/first", "w"): 700,
            BREAKER % ("a", "b", "w"): 1,
        },
        700,
    ),
    "another installation": ({PENDING.replace('"kubecdc"', '"other"') % ("a/b", "w"): 5000}, None),
}


def test_promtool_finds_the_backlog_that_more_workers_help(tmp_path: Path) -> None:
    """None: no value, which KEDA takes for a failure, so that the workers stay as they are."""
    tool("promtool")
    tests = []
    for name, (series, backlog) in CASES.items():
        samples = [] if backlog is None else [{"labels": "{}", "value": backlog}]
        tests.append(
            {
                "name": name,
                "interval": "15s",
                "input_series": [{"series": one, "values": f"{value}x4"} for one, value in series.items()],
                "promql_expr_test": [{"expr": query(), "eval_time": "1m", "exp_samples": samples}],
            }
        )
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"tests": tests}))
    output("promtool", "test", "rules", tmp_path / "tests.yaml")


def workers_for(backlog: float, documents: tuple[Document, ...]) -> int:
    """What the HorizontalPodAutoscaler, which KEDA makes too, does with an AverageValue."""
    (keda,) = of_kind(documents, "ScaledObject")
    (trigger,) = keda["spec"]["triggers"]
    assert trigger["metricType"] == "AverageValue"
    wanted = math.ceil(backlog / float(trigger["metadata"]["threshold"]))
    least, most = int(keda["spec"]["minReplicaCount"]), int(keda["spec"]["maxReplicaCount"])
    return min(max(wanted, least), most)


def test_a_backlog_brings_workers_and_none_takes_them_away(tmp_path: Path) -> None:
    documents = scaled(tmp_path, "autoscale-keda")
    assert [workers_for(backlog, documents) for backlog in (0, 1, 1001, 8000, 1_000_000)] == [1, 1, 2, 8, 64]
