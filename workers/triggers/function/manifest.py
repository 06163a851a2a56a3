"""The ``function`` trigger as a manifest writes it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from kubecdc.manifest.fields import Duration, Items, invalid
from kubecdc.manifest.model import Model
from kubecdc.workers.sensor.parameter_manifest import Parameter

_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_HANDLER = re.compile(f"{_NAME}:{_NAME}")
LONGEST_TIMEOUT = timedelta(days=1)


def _handler(value: str) -> str:
    if not _HANDLER.fullmatch(value):
        raise invalid(f"{value!r} is not a module and a function", "write it like my_package.handlers:on_failed")
    return value


class Function(Model):
    """Calls ``handler(event, context, **args)``. A call has ``timeout`` to end."""

    handler: Annotated[str, AfterValidator(_handler)]
    args: dict[str, Any] = Field(default_factory=dict)
    timeout: Duration = timedelta(seconds=60)
    parameters: Items[Parameter] = ()

    @field_validator("timeout")
    @classmethod
    def _some(cls, value: timedelta) -> timedelta:
        if not timedelta() < value <= LONGEST_TIMEOUT:
            raise invalid("must be more than 0 and at most a day", "write it like 30s or 5m")
        return value
