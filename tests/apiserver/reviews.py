"""Access reviews: a user asks what it may do."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tests.apiserver import errors
from tests.apiserver.changes import encode
from tests.apiserver.connection import Request, Response
from tests.apiserver.rbac import Attributes

REVIEWS = "apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def review(request: Request, allowed: Callable[[Attributes], bool]) -> Response:
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
    body["status"] = {"allowed": allowed(asked)}
    return Response(201, encode(body) + b"\n")
