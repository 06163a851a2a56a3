"""Whether the cluster grants what the triggers of the Sensors need. Asked before anything is delivered."""

from __future__ import annotations

from collections.abc import Iterable

from kubecdc.cluster.access_reviews import AccessProblem, AccessReviews, grant, refused
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
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
            for rule in template.trigger_type.rules(template.config):
                try:
                    denied = await reviews.denied(rule.resource, rule.verbs, rule.name)
                except ApiError as e:
                    if e.status in {0, 401}:
                        raise
                    problems.append(AccessProblem(where, str(e), e.hint or "see the API server's log"))
                    continue
                if denied:
                    hint = grant(rule.resource, rule.verbs)
                    problems.append(AccessProblem(where, refused(rule.resource, denied), hint))
    return problems
