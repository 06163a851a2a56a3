"""Whether the cluster grants what the triggers of the Sensors need. Asked before anything is delivered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from kubecdc.cluster.access_reviews import AccessProblem, AccessReviews
from kubecdc.cluster.access_rule import AccessRule
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.discovery import Discovery, NotServed
from kubecdc.manifest.finding import Location
from kubecdc.workers.sensor.manifest import Action, Sensor


async def check(cluster: Cluster, sensors: Iterable[Sensor], namespace: str) -> list[AccessProblem]:
    """The access rules that are not granted, in the order of the manifests. ``namespace`` is for Sensors without one.

    Raises ApiError if the cluster cannot be reached or does not accept the credentials, and Malformed.
    """
    reviews, discovery = AccessReviews(cluster), Discovery(cluster)
    problems: list[AccessProblem] = []
    for sensor in sensors:
        for location, _, action in sensor.actions:
            where = place(sensor, location, action)
            for rule in rules_of(sensor, action, namespace):
                try:
                    exact = await corrected(discovery, rule)
                except NotServed as e:
                    problems.append(AccessProblem(where, str(e), e.hint))
                else:
                    problems += await reviews.problems(where, [exact])
    return problems


def place(sensor: Sensor, location: Location, action: Action) -> str:
    """Where the config of a trigger or dlqTrigger is, for messages."""
    template = action.template
    inside = ".".join(map(str, (*location[3:], "template", template.type)))
    return f"Sensor {sensor.name}, spec.triggers[{location[2]}].{inside}"


def rules_of(sensor: Sensor, action: Action, namespace: str) -> Sequence[AccessRule]:
    """The rules of a trigger or dlqTrigger. ``namespace`` is for a Sensor that has none."""
    template = action.template
    own = sensor.metadata.namespace or namespace
    return template.trigger_type.rules(template.config, action.written, own)


async def corrected(discovery: Discovery, rule: AccessRule) -> AccessRule:
    """The rule with the plural and the scope that the API server says. Raises NotServed, ApiError, Malformed."""
    if not rule.kind:
        return rule
    resource = rule.resource
    version = f"{resource.group}/{resource.version}" if resource.group else resource.version
    kind = await discovery.find(version, rule.kind)
    return replace(rule, resource=kind.within(resource.namespace))
