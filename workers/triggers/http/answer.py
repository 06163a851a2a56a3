"""What an HTTP answer means for the event.

The table is Knative's data plane specification (knative.dev/specs, eventing/data-plane.md), with 425 beside 429:
2xx is a success; 404, 408, 409, 425, 429, 5xx and unknown statuses are retried; other 4xx, 1xx and 3xx are failures.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from kubecdc.workers.outcome import Failure, Outcome, Retry, Success

RETRIED = frozenset({404, 408, 409, 425, 429})
LONGEST_RETRY_AFTER = 3600.0  # seconds; one answer cannot delay the events of an object for longer
LONGEST_DATE = 100  # characters of a Retry-After that is read
REFUSED = frozenset({401, 403})  # answers that are, or may be, about who asks
_SECONDS = re.compile(r"\d{1,10}", re.ASCII)


def succeeded(status: int, allow: Collection[int]) -> bool:
    """Whether it is a success. ``allow`` is ``policy.status.allow``: if given, exactly those statuses are one."""
    return status in allow or (not allow and 200 <= status < 300)


def judge(status: int, retry_after: float | None, allow: Collection[int], reason: str) -> Outcome:
    """The outcome. ``allow`` as in `succeeded`."""
    if succeeded(status, allow):
        return Success()
    if status in RETRIED or 200 <= status < 300 or status >= 500:
        return Retry(reason, retry_after)
    return Failure(reason)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3): a number, or a date. None without one."""
    if not value or len(value) > LONGEST_DATE:
        return None
    if _SECONDS.fullmatch(value.strip()):
        return min(float(value), LONGEST_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(value)
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)) - now
    except (ValueError, OverflowError):
        return None
    return min(max(seconds.total_seconds(), 0.0), LONGEST_RETRY_AFTER)


def phrase(reason: str) -> str:
    """The reason phrase as text. The library decodes UTF-8; servers that localize phrases also send Latin-1."""
    try:
        return reason.encode(errors="surrogateescape").decode(errors="strict")
    except UnicodeDecodeError:
        return reason.encode(errors="surrogateescape").decode("latin-1")
