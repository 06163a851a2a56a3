"""Faults on command."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Any

from tests.apiserver.connection import Request
from tests.apiserver.errors import ApiError
from tests.apiserver.rbac import Attributes, forbidden

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
_MESSAGES = {
    401: "Unauthorized",
    429: "Too many requests, please try again later.",
    500: "Internal error occurred: the fault was commanded",
    503: "the server is currently unable to handle the request",
}


@dataclass(slots=True)
class Failure:
    """Answer ``status`` to requests whose method and path (query included) match, ``left`` times (None: for good)."""

    status: int
    method: re.Pattern[str]
    path: re.Pattern[str]
    left: int | None
    retry_after: int | None = None
    message: str = ""


class Faults:
    """The faults that are on. Durations in seconds."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.silent = False
        self.latency = 0.0
        self.expired_by_http = False
        self.refused_below = self.refusals = 0
        self.refusal: dict[str, Any] | str | None = None
        self._initializing_until = 0.0

    def clear(self) -> None:
        """Lift every fault."""
        self.failures.clear()
        self.silent = self.expired_by_http = False
        self.refused_below = 0
        self.latency = self._initializing_until = 0.0

    def fail(
        self,
        status: int,
        *,
        count: int | None = None,
        method: str = "",
        path: str = "",
        retry_after: int | None = None,
        message: str = "",
    ) -> None:
        """Answer ``status`` to the next ``count`` requests (None: until lifted) in which both expressions are found."""
        failure = Failure(status, re.compile(method), re.compile(path), count, retry_after, message)
        self.failures.append(failure)

    def refuse_watches(self, status: dict[str, Any] | str | None, below: int) -> None:
        """Watches from a version below this one get an ERROR line with the status and end; lists are answered."""
        self.refusal, self.refused_below = status, below

    def initialize(self, seconds: float) -> None:
        """For so long, watches get 429: the watch caches fill."""
        self._initializing_until = time.monotonic() + seconds

    @property
    def initializing(self) -> bool:
        return time.monotonic() < self._initializing_until

    async def initialized(self) -> None:
        """Return when watches are taken again."""
        await asyncio.sleep(max(0.0, self._initializing_until - time.monotonic()))

    def check(self, request: Request, url: str) -> None:
        """Raise the failure that is due for a request."""
        for failure in self.failures:
            if not (failure.method.search(request.method) and failure.path.search(url)):
                continue
            if failure.left is not None:
                failure.left -= 1
                if failure.left <= 0:
                    self.failures.remove(failure)
            raise self._error(failure, request)

    def _error(self, failure: Failure, request: Request) -> ApiError:
        status = failure.status
        if status == 403 and not failure.message:
            return forbidden(Attributes.of(request), "system:serviceaccount:default:default")
        message = failure.message or _MESSAGES.get(status, f"the answer {status} was commanded")
        after = failure.retry_after if failure.retry_after is not None else (1 if status == 429 else None)
        details = {"retryAfterSeconds": after} if after is not None else None
        return ApiError(status, REASONS.get(status, "Unknown"), message, details=details)
