"""The kinds of KEDA and of the Prometheus Operator, as far as deploy/ uses them.

Each field has the place and the type that it has in the definitions of these projects, and there is no other: so an API
server refuses a field that is misspelt or in a wrong place. It refuses more than theirs in one place: to them, the
`metadata` of a trigger is a map of strings, whose names KEDA reads only when it scales.
"""

from __future__ import annotations

from typing import Any

from tests.apiserver import RealApiServer, RequestFailed
from tests.apiserver.client import CRDS, path_of

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer", "format": "int32"}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
DURATION: Schema = {"type": "string", "pattern": "^(0|([0-9]+(ms|[smhdwy]))+)$"}


def fields(*required: str, **types: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": types}


def many(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


NAMED = fields("name", name=TEXT)
SCALE_DOWN = fields(
    stabilizationWindowSeconds=NUMBER,
    policies=many(fields("type", "value", "periodSeconds", type=TEXT, value=NUMBER, periodSeconds=NUMBER)),
)
TRIGGER = fields(
    *("type", "metadata"),
    type=one_of("prometheus", "aws-sqs-queue", "gcp-pubsub"),
    metricType=one_of("AverageValue", "Value", "Utilization"),
    authenticationRef=NAMED,
    metadata=fields(
        **dict.fromkeys(("serverAddress", "query", "threshold", "ignoreNullValues"), TEXT),
        **dict.fromkeys(("awsRegion", "queueURL", "queueLength"), TEXT),
        **dict.fromkeys(("mode", "subscriptionName", "value"), TEXT),
    ),
)
SCALED_OBJECT = fields(
    *("scaleTargetRef", "triggers"),
    scaleTargetRef=NAMED,
    minReplicaCount=NUMBER,
    maxReplicaCount=NUMBER,
    pollingInterval=NUMBER,
    fallback=fields(
        *("failureThreshold", "replicas"),
        failureThreshold=NUMBER,
        replicas=NUMBER,
        behavior=one_of("static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"),
    ),
    advanced=fields(horizontalPodAutoscalerConfig=fields(behavior=fields(scaleDown=SCALE_DOWN))),
    triggers=many(TRIGGER),
)
RULE = fields(
    "expr",
    alert=TEXT,
    expr={"x-kubernetes-int-or-string": True},
    annotations=TEXTS,
    labels=TEXTS,
    **{"for": DURATION, "keep_firing_for": DURATION},
)
KINDS = {
    # the kind, with its group and version: its spec
    ("ScaledObject", "keda.sh", "v1alpha1"): SCALED_OBJECT,
    ("TriggerAuthentication", "keda.sh", "v1alpha1"): fields(
        podIdentity=fields("provider", provider=one_of("aws", "gcp", "aws-eks", "azure-workload", "none"))
    ),
    ("PodMonitor", "monitoring.coreos.com", "v1"): fields(
        "selector",
        selector=fields(matchLabels=TEXTS),
        podMetricsEndpoints=many(fields(port=TEXT, interval=DURATION)),
    ),
    ("PrometheusRule", "monitoring.coreos.com", "v1"): fields(
        groups=many(fields("name", name=TEXT, interval=DURATION, rules=many(RULE)))
    ),
}


def plural(kind: str) -> str:
    return f"{kind.lower()}s"


async def define(server: RealApiServer) -> None:
    """Have the server know these kinds."""
    for (kind, group, version), spec in KINDS.items():
        schema = {"openAPIV3Schema": fields("spec", spec=spec)}
        versions = [{"name": version, "served": True, "storage": True, "schema": schema}]
        names = {"kind": kind, "plural": plural(kind)}
        definition = {"group": group, "scope": "Namespaced", "names": names, "versions": versions}
        try:
            await server.create(*CRDS, "", {"metadata": {"name": f"{plural(kind)}.{group}"}, "spec": definition})
        except RequestFailed as e:
            if e.code != 409:  # another test has defined it
                raise
        await server.until_served(path_of(group, version, plural(kind)))
