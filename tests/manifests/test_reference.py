"""The field reference knows every field."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.manifest import EventBusSpec, KeyRef, Model, Redelivery, Redis, Tls
from watcher.manifest import Entry, EventSourceSpec, Filter
from workers.http_manifest import BasicAuth, DynamicHeader, Http, SecureHeader, ValueFrom
from workers.manifest import Dependency, Log, RetryStrategy, SensorSpec, Trigger
from workers.parameter_manifest import ParameterSource, PayloadParameter

REFERENCE = (Path(__file__).parents[2] / "docs" / "manifests.md").read_text()
MODELS: list[type[Model]] = [
    *(EventSourceSpec, Entry, Filter, EventBusSpec, Redis, Redelivery, SensorSpec),
    *(Dependency, Trigger, RetryStrategy, Log, ParameterSource, PayloadParameter),
    *(Http, DynamicHeader, SecureHeader, ValueFrom, KeyRef, BasicAuth, Tls),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_in_the_reference(model: type[Model]) -> None:
    assert [name for name in [*model.field_types(), *model.ignored] if name not in REFERENCE] == []
