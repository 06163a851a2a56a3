"""The field reference knows every field."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubecdc.manifest.model import Model
from kubecdc.manifest.secrets import KeyRef, Tls, ValueFrom
from kubecdc.storage.manifest import EventBusSpec
from kubecdc.storage.pubsub.manifest import PubSub
from kubecdc.storage.redelivery import Redelivery
from kubecdc.storage.redis.manifest import Redis
from kubecdc.storage.sqs.manifest import Sqs
from kubecdc.watcher.manifest import Entry, EventSourceSpec, Filter
from kubecdc.workers.objects.sources.manifest import (
    Bucket,
    ConfigMapSource,
    GithubApp,
    GitRemote,
    GitSource,
    S3Source,
    Source,
    UrlSource,
)
from kubecdc.workers.sensor.filters.manifest import (
    ContextFilter,
    DataFilter,
    ExprField,
    ExprFilter,
    Filters,
    TimeFilter,
)
from kubecdc.workers.sensor.manifest import Dependency, DlqTrigger, SensorSpec, Trigger
from kubecdc.workers.sensor.parameter_manifest import ParameterSource, PayloadParameter
from kubecdc.workers.sensor.policy import K8sPolicy
from kubecdc.workers.sensor.retry_strategy import RetryStrategy
from kubecdc.workers.sensor.transform import Transform
from kubecdc.workers.triggers.argo_workflow.manifest import ArgoWorkflow
from kubecdc.workers.triggers.function.manifest import Function
from kubecdc.workers.triggers.http.manifest import BasicAuth, DynamicHeader, Http, SecureHeader
from kubecdc.workers.triggers.k8s.manifest import K8s
from kubecdc.workers.triggers.kafka.manifest import Kafka, Sasl
from kubecdc.workers.triggers.log.manifest import Log

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = "".join(
    (DOCS / name).read_text() for name in ("manifests.md", "k8s-trigger.md", "argo-workflow-trigger.md", "kafka.md")
)
MODELS: list[type[Model]] = [
    *(EventSourceSpec, Entry, Filter, EventBusSpec, Redis, Sqs, PubSub, Redelivery, SensorSpec),
    *(Dependency, Transform, Filters, DataFilter, ExprFilter, ExprField, ContextFilter, TimeFilter),
    *(Trigger, DlqTrigger, RetryStrategy, Function, Log, ParameterSource, PayloadParameter),
    *(Http, DynamicHeader, SecureHeader, ValueFrom, KeyRef, BasicAuth, Tls),
    *(
        ArgoWorkflow,
        K8s,
        Source,
        K8sPolicy,
        UrlSource,
        ConfigMapSource,
        S3Source,
        Bucket,
        GitSource,
        GithubApp,
        GitRemote,
        Kafka,
        Sasl,
    ),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_in_the_reference(model: type[Model]) -> None:
    assert [name for name in [*model.field_types(), *model.ignored] if name not in REFERENCE] == []
