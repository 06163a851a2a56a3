"""Conditions on labels, on fields of an object, and on namespaces."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

import re2
from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from kubecdc.manifest.fields import Items, ReadPath, dns_subdomain, invalid
from kubecdc.manifest.model import Model

LabelOperation = Literal["=", "==", "!=", "in", "notin", "exists", "!", "gt", "lt"]
FieldOperation = Literal["=", "==", "!="]
_LABEL_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_INTEGER = re.compile(r"[+-]?[0-9]+")


def _label_key(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    if slash:
        dns_subdomain(prefix)
    if not _LABEL_NAME.fullmatch(name):
        raise invalid(f"{key!r} is not a label key", "such as `app` or `app.kubernetes.io/name`")
    return key


def _label_value(value: str) -> str:
    if value and not _LABEL_NAME.fullmatch(value):
        raise invalid(f"{value!r} is not a label value")
    return value


LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[str, AfterValidator(_label_value)]


class LabelSelector(Model):
    """A condition on a label; the API server evaluates it."""

    key: LabelKey
    operation: LabelOperation = "=="
    value: str = Field("", validate_default=True)

    @property
    def values(self) -> tuple[str, ...]:
        """The values of ``in`` and ``notin``: split at commas, not trimmed, as Argo does."""
        return tuple(self.value.split(","))

    @field_validator("value")
    @classmethod
    def _fits(cls, value: str, info: ValidationInfo) -> str:
        operation = info.data.get("operation", "==")
        if operation in ("exists", "!"):
            if value:
                raise invalid(f"must be empty with operation `{operation}`", "leave it out, or use == or !=")
            return value
        if operation in ("gt", "lt") and not _INTEGER.fullmatch(value):
            raise invalid(f"must be an integer with operation `{operation}`, not {value!r}")
        for part in value.split(",") if operation in ("in", "notin") else [value]:
            if part and not _LABEL_NAME.fullmatch(part):
                raise invalid(f"{part!r} is not a label value", _label_value_hint(part, operation))
        return value


def _label_value_hint(value: str, operation: str) -> str:
    if value != value.strip():
        return "values are split at commas and not trimmed: leave out the spaces"
    if "," in value and operation not in ("in", "notin"):
        return "several values need operation `in` or `notin`"
    return "at most 63 characters of a-z, A-Z, 0-9, -, _ and ., with a letter or digit at both ends"


class FieldSelector(Model):
    """A condition on a field of the object; the watcher evaluates it.

    ``key`` is a gjson path in the object; ``value`` an RE2 expression, not anchored.
    """

    key: ReadPath
    operation: FieldOperation = "=="
    value: str

    @field_validator("value")
    @classmethod
    def _compiles(cls, value: str) -> str:
        options = re2.Options()
        options.log_errors = False
        try:
            re2.compile(value, options)
        except re2.error as e:
            reason = e.args[0].decode() if isinstance(e.args[0], bytes) else e.args[0]
            raise invalid(
                f"{value!r} is not a regular expression: {reason}",
                "the syntax is RE2: no lookaround, no backreferences",
            ) from e
        return value


class NamespaceExpression(Model):
    """A condition on a label of a namespace, as in Kubernetes' own selectors."""

    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: Items[LabelValue] = Field((), validate_default=True)

    @field_validator("values")
    @classmethod
    def _fit(cls, values: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        operator = info.data.get("operator")
        if operator in ("In", "NotIn") and not values:
            raise invalid(f"must not be empty with operator `{operator}`")
        if operator in ("Exists", "DoesNotExist") and values:
            raise invalid(f"must be empty with operator `{operator}`", "leave it out, or use In or NotIn")
        return values

    @property
    def text(self) -> str:
        """As a part of a label selector in a request."""
        match self.operator:
            case "Exists":
                return self.key
            case "DoesNotExist":
                return f"!{self.key}"
            case _:
                return f"{self.key} {self.operator.lower()} ({','.join(self.values)})"


class NamespaceSelector(Model):
    """Which namespaces an entry is watched in, by their labels; all conditions must hold."""

    match_labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    match_expressions: Items[NamespaceExpression] = ()

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.match_labels or self.match_expressions):
            raise invalid("is empty, which selects every namespace", "leave it out for all namespaces")
        return self

    @property
    def text(self) -> str:
        """As the label selector of a request."""
        labels = [f"{key}={value}" for key, value in self.match_labels.items()]
        return ",".join(labels + [expression.text for expression in self.match_expressions])
