"""Short ways to compiled filters and their verdicts."""

from __future__ import annotations

from typing import Any

import msgspec

from kubecdc.workers.sensor.filters.compiled import CompiledFilters
from kubecdc.workers.sensor.filters.logic import Verdict
from kubecdc.workers.sensor.filters.manifest import Filters, Operator
from kubecdc.workers.sensor.values import Values
from tests.workers.support import DATA, event


def compiled(operator: Operator = "", **filters: Any) -> CompiledFilters:
    """The filters as a manifest writes them, in snake case."""
    return CompiledFilters(Filters.model_validate(filters), operator)


def verdict(filters: CompiledFilters, data: object = DATA, **attributes: Any) -> Verdict:
    """What they say of an event with these data."""
    return filters.verdict(Values(msgspec.structs.replace(event(data=data), **attributes)))
