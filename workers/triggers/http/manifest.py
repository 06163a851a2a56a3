"""The ``http`` trigger as a manifest writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from kubecdc.manifest.fields import Items, invalid
from kubecdc.manifest.model import Model
from kubecdc.manifest.secrets import KeyRef, Tls, ValueFrom
from kubecdc.workers.sensor.parameter_manifest import FromEvent, Parameter, PayloadParameter

Method = Literal["GET", "DELETE", "PATCH", "POST", "PUT"]
DEFAULT_TIMEOUT = 60
LONGEST_TIMEOUT = 365 * 86_400  # seconds; an event loop cannot count much further
LONGEST_HOST = 260  # characters, with the port; a name in DNS has at most 253
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_HOST = re.compile(r"[A-Za-z0-9._~:\[\]-]*")


def sendable(value: str) -> bool:
    """Whether a header can carry the text, in UTF-8 (RFC 9110, section 5.5: all but controls; a tab is none)."""
    return _CONTROL.search(value) is None


def _header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise invalid(f"{name!r} is not a header name")
    return name


HeaderName = Annotated[str, AfterValidator(_header_name)]


class SecureHeader(Model):
    """A header whose value comes from a Secret or ConfigMap."""

    name: HeaderName
    value_from: ValueFrom


class DynamicHeader(FromEvent):
    """A header whose value comes from the event; ``dest`` is its name, not a path."""

    dest: HeaderName
    operation: Literal["", "overwrite"] = ""


class BasicAuth(Model):
    """HTTP basic authentication. What is not given is empty."""

    username: KeyRef | None = None
    password: KeyRef | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.username is None and self.password is None:
            raise invalid("needs `username` or `password`")
        return self


class Http(Model):
    """Makes an HTTP request. Without ``payload`` the body is the event's data. ``timeout`` is in seconds."""

    renamed: ClassVar[Mapping[str, str]] = {"body": "payload"}
    old_names: ClassVar[Mapping[str, str]] = {"serverURL": "url"}
    without_effect: ClassVar[Mapping[str, str]] = {"timeoutSeconds": "`timeout` counts"}

    url: str = Field(min_length=1)
    method: Method = "POST"
    headers: dict[str, str] = Field(default_factory=dict)
    dynamic_headers: Items[DynamicHeader] = ()
    secure_headers: Items[SecureHeader] = ()
    basic_auth: BasicAuth | None = None
    host: str = ""
    tls: Tls | None = None
    payload: Items[PayloadParameter] = ()
    parameters: Items[Parameter] = ()
    timeout: int = Field(DEFAULT_TIMEOUT, ge=0, le=LONGEST_TIMEOUT)

    @field_validator("headers")
    @classmethod
    def _sendable(cls, value: dict[str, str]) -> dict[str, str]:
        for name, content in value.items():
            if not _TOKEN.fullmatch(name):
                raise invalid("has a name that is not a header name")
            if not sendable(content):
                raise invalid(f"the value of header `{name}` has characters that cannot be sent")
        return value

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        if len(value) > LONGEST_HOST or not _HOST.fullmatch(value):
            raise invalid(f"{value!r} is not a host", "write it like example.com or example.com:8443")
        return value

    @field_validator("timeout")
    @classmethod
    def _default(cls, value: int) -> int:
        return value or DEFAULT_TIMEOUT
