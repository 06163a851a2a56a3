"""Access reviews: a user asks what it may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tests.apiserver import errors
from tests.apiserver.changes import encode
from tests.apiserver.connection import Request, Response
from tests.apiserver.objects import now
from tests.apiserver.rbac import Attributes

REVIEWS = "apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def review(request: Request, allowed: Callable[[Attributes], bool], manager: str) -> Response:
    """The answer to a SelfSubjectAccessReview: 201, the question with ``status.allowed``."""
    if request.method != "POST":
        raise errors.method_not_allowed()
    if "json" not in (kind := request.headers.get("content-type", "application/json")):
        raise errors.NotSimulated(f"Content-Type: {kind}")
    try:
        body = msgspec.json.decode(request.body)
        spec = body["spec"]
        asked = Attributes.of_review(spec)
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as e:
        raise errors.bad_request(f"this is no SelfSubjectAccessReview: {e}") from e
    body["apiVersion"] = "authorization.k8s.io/v1"
    body["metadata"] = {"managedFields": [_managed(spec, manager)]}
    body["status"] = {"allowed": allowed(asked)}
    return Response(201, encode(body) + b"\n")


def _managed(spec: dict[str, Any], manager: str) -> dict[str, Any]:
    """The one entry: though nothing is stored, the server keeps track of who asked for what."""
    asked: dict[str, Any] = {
        f"f:{part}": {".": {}, **{f"f:{field}": {} for field in values}} for part, values in spec.items()
    }
    entry = {"manager": manager, "operation": "Update", "apiVersion": "authorization.k8s.io/v1", "time": now()}
    return {**entry, "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": asked}}
