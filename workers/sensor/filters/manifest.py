"""The filters of a dependency as a manifest writes them. What can be wrong in them is found here, before any event."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from kubecdc.manifest.fields import Items, ReadPath, invalid
from kubecdc.manifest.model import Model
from kubecdc.workers.scripts.program import compiles
from kubecdc.workers.sensor.filters import data, time_of_day
from kubecdc.workers.sensor.filters.expression import compile_expression
from kubecdc.workers.sensor.parameter_manifest import OptionalTemplate

Operator = Literal["", "and", "or"]  # "" is "and"


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise invalid("is empty: no event would ever pass")
    return value


class DataFilter(Model):
    """A value in the event's data, compared with some values: one of them has to fit.

    A ``template`` makes the text that is compared, of the value as text.
    """

    path: ReadPath
    template: OptionalTemplate = ""
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


class ExprField(Model):
    """A value in the event's data, and what the expression calls it."""

    name: str = Field(min_length=1)
    path: ReadPath


class ExprFilter(Model):
    """An expression over values in the event's data, which has to be true."""

    fields: Items[ExprField]
    expr: str

    @field_validator("fields")
    @classmethod
    def _named(cls, value: tuple[ExprField, ...]) -> tuple[ExprField, ...]:
        if not value:
            raise invalid(
                "is empty: the expression has nothing to look at", "name the values of the event: {name, path}"
            )
        names = [field.name for field in value]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise invalid(f"two fields have the name {twice!r}")
        return value

    @field_validator("expr")
    @classmethod
    def _compiles(cls, value: str, info: ValidationInfo) -> str:
        fields = info.data.get("fields")
        try:
            compile_expression(value, None if fields is None else {field.name for field in fields})
        except ValueError as e:
            raise invalid(str(e)) from e
        return value


class ContextFilter(Model):
    """Attributes of the event, which have to be exactly these. As in Argo, some are accepted and not looked at."""

    unused: ClassVar[tuple[str, ...]] = ("id", "specversion", "time")

    type: str = ""
    source: str = ""
    subject: str = ""
    datacontenttype: str = ""
    id: str = ""
    specversion: str = ""
    time: str = ""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.given:
            raise invalid("names no attribute", "give some of type, source, subject and datacontenttype")
        return self

    @property
    def given(self) -> dict[str, str]:
        """The attributes that are named, with what they have to be."""
        return {name: value for name, value in self if value and name not in self.unused}


class TimeFilter(Model):
    """A time of day that the event's time has to be in: from ``start`` to before ``stop``, perhaps over midnight."""

    start: str
    stop: str
    timezone: str = ""

    @field_validator("start", "stop")
    @classmethod
    def _clock(cls, value: str) -> str:
        try:
            time_of_day.clock(value)
        except ValueError as e:
            raise invalid(str(e), "write it like 08:30:00") from e
        return value

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            time_of_day.zone(value)
        except ValueError as e:
            raise invalid(str(e), "write an IANA name such as Europe/Berlin; without one, it is UTC") from e
        return value

    @model_validator(mode="after")
    def _a_while(self) -> Self:
        if time_of_day.clock(self.start) == time_of_day.clock(self.stop):
            raise invalid("`start` and `stop` are the same: no event would ever pass")
        return self


class Filters(Model):
    """What an event has to pass. Kinds that are not given let everything pass."""

    exprs: Items[ExprFilter] = ()
    expr_logical_operator: Operator = ""
    data: Items[DataFilter] = ()
    data_logical_operator: Operator = ""
    context: ContextFilter | None = None
    time: TimeFilter | None = None
    script: Annotated[str, compiles("filter")] = ""
