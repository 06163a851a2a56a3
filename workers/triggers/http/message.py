"""The HTTP request that an event makes: address, headers and body."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from kubecdc.manifest.mounts import Unreadable
from kubecdc.manifest.secrets import KeyRef
from kubecdc.workers.sensor.parameters import ParameterError
from kubecdc.workers.triggers.http import cloudevents, hiding
from kubecdc.workers.triggers.http.address import HIDDEN, Address, BadAddress, parse
from kubecdc.workers.triggers.http.manifest import BasicAuth, Http, SecureHeader, sendable
from kubecdc.workers.triggers.http.request import HttpRequest

_NO_BODY = frozenset({"GET", "DELETE"})  # unless the manifest has a payload: proxies refuse a GET with a body
_OURS = frozenset({"idempotency-key"})  # and ce-*: consumers rely on them, so a manifest does not replace them
_FRAMING = frozenset({"content-length", "transfer-encoding"})  # follow from the body, as in Go


class BadUrl(ParameterError):
    """The address that a manifest or its parameters make is not valid. The text shows no secret."""


@dataclass(frozen=True)
class Message:
    """What is sent. ``secrets`` are values that must not be shown, and so is what is secret in the ``written`` address.

    ``address`` is where it goes: without the user and password of ``written`` if a header replaces them.
    """

    method: str
    address: Address
    headers: dict[str, str]
    body: bytes | None
    written: Address
    secrets: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """Method and address, without the parts of it that may be secret."""
        return f"{self.method} {self.address.where}"

    def hide(self, text: str) -> str:
        """The text without the secrets. A peer may repeat what it received."""
        return hiding.hide(text, (*self.secrets, *hiding.of_address(self.written)))

    def preview(self) -> dict[str, object]:
        """The request as JSON values. A body that is JSON stays JSON."""
        body: object = None
        if self.body is not None:
            try:
                body = msgspec.Raw(msgspec.json.format(self.body, indent=-1))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                body = self.body.decode(errors="replace")
        return {"method": self.method, "url": self.address.preview(), "headers": self.headers, "body": body}


def refs(http: Http) -> list[KeyRef]:
    """What `compose` needs the values of."""
    auth = http.basic_auth
    given = (auth.username, auth.password) if auth else ()
    return [*(header.value_from.ref for header in http.secure_headers), *(ref for ref in given if ref)]


def compose(request: HttpRequest, values: Mapping[KeyRef, str] | None) -> Message:
    """The message of an event. Without the values of its `refs` it is a preview: each of them is `HIDDEN`.

    If headers have the same name, the last of these wins: our own, ``headers``, ``dynamicHeaders``, ``secureHeaders``,
    ``basicAuth``. The headers by which a consumer recognizes a repetition are always our own.

    Raises BadUrl, Unreadable.
    """
    http = request.config
    address = written = _address(http.url)
    secrets: list[str] = []
    fields: dict[str, tuple[str, str]] = {}

    def put(name: str, value: str) -> None:
        fields[name.lower()] = name, value

    put("Content-Type", "application/json")
    if request.traceparent:
        put("traceparent", request.traceparent)
    for name, value in (*http.headers.items(), *request.headers.items()):
        put(name, value)
    if http.host:
        put("Host", http.host)
    for header in http.secure_headers:
        value = HIDDEN if values is None else _secure(header, values)
        secrets.append(value)
        put(header.name, value)
    if http.basic_auth:
        parts = [] if values is None else _basic_auth(http.basic_auth, values)
        value = HIDDEN if values is None else base64.b64encode(":".join(parts).encode()).decode()
        secrets += [*parts, ":".join(parts)]
        put("Authorization", f"Basic {value}")
    if "authorization" in fields:
        address = replace(address, user="", password="")  # as in Go: the header has precedence over the address
    elif values is not None and address.credentials is not None:
        put("Authorization", f"Basic {base64.b64encode(address.credentials).decode()}")
    headers = dict(field for key, field in fields.items() if key not in _OURS | _FRAMING and not key.startswith("ce-"))
    headers |= cloudevents.headers(request.event)
    headers["Idempotency-Key"] = cloudevents.encode(request.idempotency_key)
    return Message(http.method, address, headers, _body(request, http), written, tuple(secrets))


def _address(text: str) -> Address:
    try:
        return parse(text)
    except BadAddress as e:
        raise BadUrl(str(e)) from e


def _secure(header: SecureHeader, values: Mapping[KeyRef, str]) -> str:
    ref = header.value_from.ref
    value = values[ref]
    if not sendable(value):
        raise Unreadable(f"`{ref.key}` of `{ref.name}` has characters that header `{header.name}` cannot carry")
    return value


def _basic_auth(auth: BasicAuth, values: Mapping[KeyRef, str]) -> list[str]:
    return [values[ref] if ref else "" for ref in (auth.username, auth.password)]


def _body(request: HttpRequest, http: Http) -> bytes | None:
    if request.payload is not None:
        return request.payload
    return None if http.method in _NO_BODY else bytes(request.event.data)
