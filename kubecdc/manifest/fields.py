"""Types of fields that several manifests have, each with its check."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, Strict
from pydantic_core import PydanticCustomError

from kubecdc import jsonpath
from kubecdc.manifest import units

T = TypeVar("T")


DEFAULT_BUS = "default"


_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"


_DNS_LABEL = re.compile(_LABEL)


_DNS_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


def invalid(message: str, hint: str = "") -> PydanticCustomError:
    """The error that a validator raises: what is wrong, and a hint."""
    return PydanticCustomError("invalid", "{message}", {"message": message, "hint": hint})


OF_PODS = dict.fromkeys(  # fields that belong inside `template`
    (
        "container",
        "volumes",
        "serviceAccountName",
        "imagePullSecrets",
        "nodeSelector",
        "tolerations",
        "affinity",
        "securityContext",
        "priorityClassName",
        "priority",
    ),
    "kubecdc creates no pods",
)


def no_kubeconfig(spec: Any) -> Any:
    """A validator of a spec as it was read: it must not expect pods of its own with another cluster."""
    value: Any = spec
    for name in ("template", "container", "env"):
        value = value.get(name) if isinstance(value, dict) else None
    variables = value if isinstance(value, list) else []
    if any(isinstance(variable, dict) and variable.get("name") == "KUBECONFIG" for variable in variables):
        raise invalid(
            "`template.container.env` sets KUBECONFIG, which has no effect here: another cluster would be used",
            "remove it, and start kubecdc with --kubeconfig or --context",
        )
    return spec


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise invalid("must be a duration in quotes or with a unit", "write it like 30s, 5m or 1h30m")
    try:
        return units.duration(value)
    except ValueError as e:
        raise invalid(str(e), "write it like 500ms, 30s, 5m or 1h30m") from e


def _quantity(value: object) -> object:
    try:
        return units.quantity(value) if isinstance(value, str) else value
    except ValueError as e:
        raise invalid(str(e), "write it like 500Mi, 1Gi or 1000000") from e


def _dns(value: str, pattern: re.Pattern[str], longest: int) -> str:
    if len(value) > longest or not pattern.fullmatch(value):
        raise invalid(
            f"{value!r} is not a Kubernetes name",
            f"at most {longest} characters of a-z, 0-9 and -, with a letter or digit at both ends",
        )
    return value


def dns_label(value: str) -> str:
    """Check an RFC 1123 label: the name of a namespace or of a resource."""
    return _dns(value, _DNS_LABEL, 63)


def dns_subdomain(value: str) -> str:
    """Check an RFC 1123 subdomain: the name of most objects, and an API group."""
    return _dns(value, _DNS_SUBDOMAIN, 253)


def printable(value: str) -> str:
    """Check a name of any form. It is used in log lines, subjects and keys."""
    if not value:
        raise invalid("must not be empty")
    if not value.isprintable() or value != value.strip():
        raise invalid(f"{value!r} has characters that cannot be printed, or spaces at an end")
    return value


def _compiles(compile_path: Callable[[str], object]) -> Callable[[str], str]:
    def check(value: str) -> str:
        try:
            compile_path(value)
        except ValueError as e:
            raise invalid(str(e)) from e
        return value

    return check


read_path = _compiles(jsonpath.compile)  # checks a gjson path
write_path = _compiles(jsonpath.compile_target)  # checks an sjson path


def _bus_name(value: str) -> str:
    return dns_subdomain(value) if value else DEFAULT_BUS


Items = Annotated[tuple[T, ...], Strict(False)]  # a YAML sequence, though the models are strict otherwise


Duration = Annotated[timedelta, BeforeValidator(_duration), PlainSerializer(units.duration_text, when_used="json")]


Quantity = Annotated[int, BeforeValidator(_quantity)]


DnsLabel = Annotated[str, AfterValidator(dns_label)]


DnsSubdomain = Annotated[str, AfterValidator(dns_subdomain)]


Printable = Annotated[str, AfterValidator(printable)]


ReadPath = Annotated[str, AfterValidator(read_path)]


WritePath = Annotated[str, AfterValidator(write_path)]


BusName = Annotated[str, AfterValidator(_bus_name)]
