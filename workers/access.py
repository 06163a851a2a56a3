"""Whether the cluster grants what the triggers of the Sensors need. Asked before anything is delivered."""

from __future__ import annotations

from collections.abc import Iterable

from kubecdc.cluster.access_reviews import AccessProblem, AccessReviews
from kubecdc.cluster.connection import Cluster
from kubecdc.workers.sensor.manifest import Sensor


async def check(cluster: Cluster, sensors: Iterable[Sensor]) -> list[AccessProblem]:
    """The access rules that are not granted, in the order of the manifests.

    Raises ApiError if the cluster cannot be reached or does not accept the credentials, and Malformed.
    """
    reviews = AccessReviews(cluster)
    problems: list[AccessProblem] = []
    for sensor in sensors:
        for i, trigger in enumerate(sensor.spec.triggers):
            template = trigger.template
            where = f"Sensor {sensor.name}, spec.triggers[{i}].template.{template.type}"
            problems += await reviews.problems(where, template.trigger_type.rules(template.config))
    return problems
