"""The objects that change, built once and then filled in by place.

They are Workflows of 6 KB, Services of 1.3 KB, and Deployments of 6 KB, of which what kubectl and the controllers have
noted is two thirds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

BASE = 1_000_000_000  # resourceVersion of the list that a watch begins from; all versions have as many digits
SENT = b"00000000000000000000"  # where a paced server writes when it sent the line, in monotonic nanoseconds
MARK = b'"bench/sent":"'
_NAME, _UID, _VERSION = "object-name-0", "00000000-0000-4000-8000-000000000000", "@version@-"
WORKFLOW_NODES = 8


@dataclass(frozen=True)
class Kind:
    """A resource and the text of one of its objects."""

    name: str
    group: str
    version: str
    plural: str
    text: bytes

    @property
    def path(self) -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/{self.plural}"

    def object(self, number: int, version: int) -> bytes:
        """Object ``number`` as of a version."""
        return (
            self.text.replace(_NAME.encode(), b"object-%06d" % number)
            .replace(_UID.encode(), b"%08x-0000-4000-8000-000000000000" % number)
            .replace(_VERSION.encode(), b"%d" % version)
        )

    def line(self, change: int, objects: int) -> bytes:
        """Watch line of change 1, 2, ...: the objects are made one after the other, then changed in turn."""
        number = (change - 1) % objects
        type_ = b"ADDED" if change <= objects else b"MODIFIED"
        return b'{"type":"%s","object":%s}\n' % (type_, self.object(number, BASE + change))


def _metadata(manager: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": _NAME,
        "namespace": "production",
        "uid": _UID,
        "resourceVersion": _VERSION,
        "generation": 3,
        "creationTimestamp": "2026-03-01T12:00:00Z",
        "labels": {"app.kubernetes.io/name": "pipeline", "app.kubernetes.io/part-of": "training", "team": "platform"},
        "annotations": {"bench/sent": SENT.decode(), "owner": "platform@example.com"},
        "managedFields": [
            {
                "manager": manager,
                "operation": "Update",
                "apiVersion": "v1",
                "time": "2026-03-01T12:00:00Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": fields,
            }
        ],
    }


def _owned(*names: str) -> dict[str, Any]:
    return {f"f:{name}": {".": {}, "f:name": {}, "f:value": {}} for name in names}


def _node(index: int) -> dict[str, Any]:
    return {
        "id": f"{_NAME}-{index:010d}",
        "name": f"{_NAME}.train[{index}].step",
        "displayName": f"step({index}:learning-rate-0.{index})",
        "type": "Pod",
        "templateName": "train",
        "templateScope": f"local/{_NAME}",
        "phase": "Succeeded",
        "boundaryID": _NAME,
        "startedAt": "2026-03-01T12:00:00Z",
        "finishedAt": "2026-03-01T12:04:31Z",
        "progress": "1/1",
        "resourcesDuration": {"cpu": 271, "memory": 1084},
        "inputs": {"parameters": [{"name": "learning-rate", "value": f"0.{index}"}]},
        "outputs": {"exitCode": "0"},
        "hostNodeName": f"node-{index}.europe-west1.example.internal",
    }


def _workflow() -> dict[str, Any]:
    template = {
        "name": "train",
        "container": {
            "image": "registry.example.com/training/model:1.14.2",
            "command": ["python", "-m", "train"],
            "args": ["--learning-rate", "{{inputs.parameters.learning-rate}}", "--epochs", "40"],
            "resources": {"requests": {"cpu": "2", "memory": "8Gi"}, "limits": {"memory": "8Gi"}},
            "env": [{"name": "BUCKET", "value": "gs://example-training-data"}, {"name": "LOG_LEVEL", "value": "info"}],
        },
        "inputs": {"parameters": [{"name": "learning-rate"}]},
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": _metadata(
            "workflow-controller", {"f:metadata": _owned("a", "b"), "f:status": _owned(*"cdefghijk")}
        ),
        "spec": {"entrypoint": "train", "serviceAccountName": "training", "templates": [template]},
        "status": {
            "phase": "Running",
            "startedAt": "2026-03-01T12:00:00Z",
            "progress": f"{WORKFLOW_NODES}/{WORKFLOW_NODES + 1}",
            "nodes": {f"{_NAME}-{index:010d}": _node(index) for index in range(WORKFLOW_NODES)},
        },
    }


def _service() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata("kubectl-client-side-apply", {"f:metadata": _owned("a"), "f:spec": _owned(*"bcdefgh")}),
        "spec": {
            "clusterIP": "10.96.12.44",
            "clusterIPs": ["10.96.12.44"],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
            "selector": {"app.kubernetes.io/name": "pipeline"},
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    }


def _fields(document: Any) -> dict[str, Any]:
    """What a manager owns, as server-side bookkeeping writes it (FieldsV1)."""
    if isinstance(document, dict):
        return {f"f:{name}": _fields(value) for name, value in document.items()} | {".": {}}
    if isinstance(document, list):
        keys = ("name", "type")
        named = {
            f'k:{{"{key}":"{each[key]}"}}': _fields(each)
            for each in document
            for key in keys
            if isinstance(each, dict) and key in each
        }
        return {".": {}, **named}
    return {}


def _deployment() -> dict[str, Any]:
    probe = {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1}
    container = {
        "name": "web",
        "image": "registry.example.com/shop/web:1.14.2",
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": f"SETTING_{index}", "value": f"value-{index}"} for index in range(6)],
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "256Mi"}},
        "livenessProbe": {**probe, "failureThreshold": 3},
        "readinessProbe": {**probe, "failureThreshold": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/web"}],
    }
    labels = {"app.kubernetes.io/name": "web", "app.kubernetes.io/part-of": "shop"}
    pod = {
        "containers": [container],
        "serviceAccountName": "web",
        "terminationGracePeriodSeconds": 30,
        "volumes": [{"name": "config", "configMap": {"name": "web", "defaultMode": 420}}],
    }
    spec = {
        "replicas": 3,
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    conditions = [
        {
            "type": type_,
            "status": "True",
            "reason": reason,
            "message": f'ReplicaSet "web-5d4f8c7b9d" {type_.lower()}',
            "lastTransitionTime": "2026-03-01T12:00:00Z",
            "lastUpdateTime": "2026-03-01T12:00:00Z",
        }
        for type_, reason in (("Available", "MinimumReplicasAvailable"), ("Progressing", "NewReplicaSetAvailable"))
    ]
    status = {"observedGeneration": 3, "replicas": 3, "readyReplicas": 3, "conditions": conditions}
    identity = {"apiVersion": "apps/v1", "kind": "Deployment"}
    applied = {**identity, "metadata": {"name": _NAME, "namespace": "production", "labels": labels}, "spec": spec}
    metadata = _metadata(
        "kubectl-client-side-apply", {"f:metadata": _fields({"labels": labels}), "f:spec": _fields(spec)}
    )
    metadata["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = msgspec.json.encode(applied).decode()
    controllers = _metadata("kube-controller-manager", {"f:status": _fields(status)})
    metadata["managedFields"] += controllers["managedFields"]
    return {**identity, "metadata": metadata, "spec": spec, "status": status}


KINDS = {
    "workflow": Kind("workflow", "argoproj.io", "v1alpha1", "workflows", msgspec.json.encode(_workflow())),
    "deployment": Kind("deployment", "apps", "v1", "deployments", msgspec.json.encode(_deployment())),
    "service": Kind("service", "", "v1", "services", msgspec.json.encode(_service())),
}
