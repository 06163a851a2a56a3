"""What an answer of the API server means for the event. The table is in docs/k8s-trigger.md."""

from __future__ import annotations

from kubecdc.cluster.access_reviews import grant
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.resource import Resource
from kubecdc.workers.outcome import Failure, Retry

FINAL = frozenset({400, 405, 406, 413, 415, 422})  # the same request can never succeed


class Undone(Exception):
    """The work is not done, with the outcome that says why."""

    def __init__(self, outcome: Retry | Failure) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


def judge(what: str, error: ApiError, resource: Resource | None = None, verbs: tuple[str, ...] = ()) -> Retry | Failure:
    """The outcome of an error. ``what`` was done begins its reason; ``verbs`` on ``resource`` are what is needed.

    Only what the API server itself says is final: a proxy on the way may also answer 400, and has no ``reason``.
    """
    if error.status in FINAL and error.reason:
        return Failure(f"{what}: {error.status} {error.text}")
    if error.status == 403 and resource is not None:
        return Retry(f"{what}: 403 {error.text}; {grant(resource, verbs)}")
    if error.status == 0 or error.text == str(error):
        hint = f"; {error.hint}" if error.hint else ""
        return Retry(f"{what}: {error}{hint}", error.retry_after or None)
    return Retry(f"{what}: {error.status} {error.text}", error.retry_after or None)
