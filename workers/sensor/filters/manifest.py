"""The filters of a dependency as a manifest writes them. What can be wrong in them is found here, before any event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, model_validator

from kubecdc.manifest.fields import Items, ReadPath, invalid
from kubecdc.manifest.model import Model
from kubecdc.workers.sensor.filters import data
from kubecdc.workers.sensor.parameter_manifest import not_yet

Operator = Literal["", "and", "or"]  # "" is "and"


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise invalid("is empty: no event would ever pass")
    return value


class DataFilter(Model):
    """A value in the event's data, compared with some values: one of them has to fit."""

    unsupported: ClassVar[Mapping[str, str]] = not_yet("template")

    path: ReadPath
    type: Literal["string", "number", "bool"]
    comparator: Literal["", "=", "!=", ">=", ">", "<=", "<"] = ""
    value: Annotated[Items[str], AfterValidator(_some)]

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        if self.type != "number" and self.comparator not in ("", "=", "!="):
            raise invalid(f"values of the type {self.type} are compared by = and != only, not by {self.comparator}")
        try:
            data.acceptance(self.type, self.comparator, self.value)
        except ValueError as e:
            raise invalid(str(e)) from e
        return self


class Filters(Model):
    """What an event has to pass. Kinds that are not given let everything pass."""

    unsupported: ClassVar[Mapping[str, str]] = not_yet("exprs", "exprLogicalOperator", "context", "time", "script")

    data: Items[DataFilter] = ()
    data_logical_operator: Operator = ""
