"""Whether the cluster grants what the checkpoint stores of the buses need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kubecdc.cluster.access_reviews import AccessProblem, AccessReviews
from kubecdc.cluster.access_rule import AccessRule
from kubecdc.cluster.connection import Cluster
from kubecdc.storage.manifest import EventBus


async def check(
    cluster: Cluster, watched: Iterable[EventBus], worked: Iterable[EventBus], namespace: str
) -> list[AccessProblem]:
    """The rules that are not granted: for checkpoints, to the watcher, and for the state, to the workers.

    ``watched`` are the buses of the EventSources, ``worked`` those of the Sensors; ``namespace`` is that of the pod.
    Raises ApiError if the cluster cannot be reached or does not accept the credentials, and Malformed.
    """
    reviews = AccessReviews(cluster)
    problems: list[AccessProblem] = []
    parts = [("checkpoint", False, watched), ("state", True, worked)]
    for part, state, buses in parts:
        for bus in buses:
            rules = rules_of(bus, namespace, state=state)
            problems += await reviews.problems(f"EventBus {bus.name}, {part}", rules)
    return problems


def rules_of(bus: EventBus, namespace: str, *, state: bool) -> Sequence[AccessRule]:
    """The rules for the checkpoints of a bus, or else for its ``state``. ``namespace`` is that of the pod."""
    queue_type = bus.spec.queue_type
    if queue_type.holds_checkpoint or (state and not queue_type.uses_state):
        return ()
    return bus.spec.store_type.rules(bus.spec.store, bus.name, namespace, state=state)
