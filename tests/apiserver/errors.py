"""Status bodies: how an API server says no.

Texts are those that Kubernetes 1.34 gives; see ``tests/data/transcripts``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.apiserver.resources import Kind


class ApiError(Exception):
    """A Status with status ``Failure``. ``code`` is the HTTP status."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.metadata = metadata or {}

    def status(self) -> dict[str, Any]:
        """The body. Go leaves empty fields out, so a 500 that is no Kubernetes error has no reason."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": dict(self.metadata),
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = dict(self.details)
        body["code"] = self.code
        return body

    @property
    def retry_after(self) -> int | None:
        """Seconds for the Retry-After header, from ``details.retryAfterSeconds``."""
        return self.details.get("retryAfterSeconds") if self.details else None


class Cause:
    """One entry of an Invalid Status: ``field: message``."""

    def __init__(self, reason: str, field: str, message: str) -> None:
        self.reason = reason
        self.field = field
        self.message = message

    @classmethod
    def invalid(cls, field: str, value: str, message: str) -> Cause:
        """``value`` as it is to be shown: strings in quotes, numbers bare."""
        return cls("FieldValueInvalid", field, f"Invalid value: {value}: {message}")

    @classmethod
    def wrong_type(cls, field: str, found: str, wanted: str) -> Cause:
        return cls(
            "FieldValueTypeInvalid",
            field,
            f'Invalid value: "{found}": {field} in body must be of type {wanted}: "{found}"',
        )

    @classmethod
    def required(cls, field: str, message: str = "") -> Cause:
        return cls("FieldValueRequired", field, f"Required value: {message}" if message else "Required value")

    @classmethod
    def forbidden(cls, field: str, message: str) -> Cause:
        return cls("FieldValueForbidden", field, f"Forbidden: {message}")

    @classmethod
    def unsupported(cls, field: str, value: str, supported: Sequence[str]) -> Cause:
        shown = ", ".join(f'"{s}"' for s in supported)
        return cls("FieldValueNotSupported", field, f'Unsupported value: "{value}": supported values: {shown}')


class NotSimulated(ApiError):
    """The real server does this and the simulator does not: 501, so that a test fails where the two would differ."""

    def __init__(self, what: str) -> None:
        super().__init__(501, "NotImplemented", f"the API server simulator does not do this: {what}")


def page_not_found() -> ApiError:
    """An unknown path: plain text, no Status. The server knows it by the empty reason and the code."""
    return ApiError(404, "", "404 page not found\n")


def details_of(kind: Kind, name: str, shown: str = "") -> dict[str, Any]:
    """What a Status says of an object: its resource, unless something else is to be ``shown``."""
    group = {"group": kind.group} if kind.group else {}
    return {**({"name": name} if name else {}), **group, "kind": shown or kind.plural}


def not_found(kind: Kind, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{kind.qualified} "{name}" not found', details=details_of(kind, name))


def already_exists(kind: Kind, name: str) -> ApiError:
    return ApiError(409, "AlreadyExists", f'{kind.qualified} "{name}" already exists', details=details_of(kind, name))


def conflict(
    kind: Kind,
    name: str,
    why: str = "the object has been modified; please apply your changes to the latest version and try again",
) -> ApiError:
    message = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=details_of(kind, name))


def delete_precondition(kind: Kind, name: str, field: str, wanted: str, found: str) -> ApiError:
    """A delete names the Kind where other conflicts name the resource."""
    shown = kind.kind + (f".{kind.group}" if kind.group else "")
    message = (
        f'Operation cannot be fulfilled on {shown} "{name}": the {field} in the precondition ({wanted}) does not match '
        f"the {field} in record ({found}). The object might have been "
        + ("deleted and then recreated" if field == "UID" else "modified")
    )
    return ApiError(409, "Conflict", message, details=details_of(kind, name, kind.kind))


def invalid(shown: str, details: Mapping[str, Any], causes: Sequence[Cause]) -> ApiError:
    """422. ``shown`` is the qualified kind or resource and the name as the message begins with them."""
    lines = [f"{c.field}: {c.message}" for c in dict.fromkeys(causes)]
    text = lines[0] if len(set(lines)) == 1 else "[" + ", ".join(dict.fromkeys(lines)) + "]"
    listed = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    return ApiError(422, "Invalid", f"{shown} is invalid: {text}", details={**details, "causes": listed})


def invalid_object(kind: Kind, name: str, causes: Sequence[Cause], *, kind_name: str = "") -> ApiError:
    shown = (kind_name or kind.kind) + (f".{kind.group}" if kind.group else "")
    return invalid(f'{shown} "{name}"', details_of(kind, name, kind_name or kind.kind), causes)


def invalid_update(kind: Kind, name: str) -> ApiError:
    cause = Cause.invalid("metadata.resourceVersion", "0", "must be specified for an update")
    return invalid(f'{kind.qualified} "{name}"', details_of(kind, name), [cause])


def invalid_options(causes: Sequence[Cause]) -> ApiError:
    return invalid('ListOptions.meta.k8s.io ""', {"group": "meta.k8s.io", "kind": "ListOptions"}, causes)


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def internal(message: str) -> ApiError:
    """A plain Go error that reached the client: 500 without a reason."""
    return ApiError(500, "", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def unsupported_media(accepted: Sequence[str]) -> ApiError:
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    return ApiError(415, "UnsupportedMediaType", message)


def not_acceptable() -> ApiError:
    media = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    return ApiError(406, "NotAcceptable", f"only the following media types are accepted: {media}")


def too_large_entity(limit: int) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, details={})


def initializing() -> ApiError:
    return ApiError(429, "TooManyRequests", "storage is (re)initializing", details={"retryAfterSeconds": 1})


def too_old_watch(version: int, oldest: int) -> ApiError:
    """``oldest`` is the oldest version a watch may start from."""
    return ApiError(410, "Expired", f"too old resource version: {version} ({oldest})")


def too_old_list() -> ApiError:
    return ApiError(410, "Expired", "The resourceVersion for the provided list is too old.")


def too_old_token(fresh: str) -> ApiError:
    message = (
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
        "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
        "modified, or deleted between the time the first chunk was returned and now may show up in the list."
    )
    return ApiError(410, "Expired", message, metadata={"continue": fresh})


def too_large_version(version: int, current: int) -> ApiError:
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    message = f"Timeout: Too large resource version: {version}, current: {current}"
    return ApiError(504, "Timeout", message, details={"causes": [cause], "retryAfterSeconds": 1})
