"""What is counted of the requests to the API server."""

from __future__ import annotations

from kubecdc.metrics import Counter

ERRORS = Counter(
    "kubecdc_api_errors",
    "Requests that the API server refused or did not answer, by HTTP status (0: not reached)",
    ["status"],
)


def failed(status: int) -> None:
    """Count one."""
    ERRORS.at(str(status)).value += 1
