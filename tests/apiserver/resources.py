"""The kinds a server serves, and the paths they are served under."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource type. ``selectable`` are the paths of field selectors besides metadata.name and metadata.namespace;
    ``schema`` is an openAPIV3Schema, None where anything goes; ``counted`` says whether its objects have a
    ``generation``."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    status_subresource: bool = False
    short_names: tuple[str, ...] = ()
    singular: str = ""
    selectable: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = field(default=None, compare=False)
    counted: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """``workflows.argoproj.io``; a core kind has no group to show."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def storage_version_hash(self) -> str:
        digest = hashlib.sha256(f"{self.group}/{self.version}/{self.kind}".encode()).digest()
        return base64.b64encode(digest[:8]).decode()

    def key(self, namespace: str, name: str) -> str:
        """Where the object lies among its kind, in the order that etcd has."""
        return f"{namespace}/{name}" if self.namespaced else name

    def path(self, namespace: str = "", name: str = "") -> str:
        """The URL path of the collection or of one object."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


CRD = Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False, True)
LEASE = Kind("coordination.k8s.io", "v1", "leases", "Lease", counted=False)
NAMESPACE = Kind(
    "", "v1", "namespaces", "Namespace", False, False, ("ns",), selectable=("status.phase",), counted=False
)

BUILT_IN: tuple[Kind, ...] = (
    NAMESPACE,
    Kind("", "v1", "configmaps", "ConfigMap", short_names=("cm",), counted=False),
    Kind("", "v1", "secrets", "Secret", selectable=("type",), counted=False),
    Kind("", "v1", "services", "Service", True, True, ("svc",), selectable=("spec.type",), counted=False),
    Kind("", "v1", "serviceaccounts", "ServiceAccount", short_names=("sa",), counted=False),
    Kind(
        "",
        "v1",
        "pods",
        "Pod",
        True,
        True,
        ("po",),
        selectable=(
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ),
    ),
    Kind(
        "",
        "v1",
        "events",
        "Event",
        selectable=("reason", "type", "involvedObject.name", "involvedObject.kind"),
        counted=False,
    ),
    Kind("batch", "v1", "jobs", "Job", True, True),
    Kind("batch", "v1", "cronjobs", "CronJob", True, True, ("cj",)),
    Kind("apps", "v1", "deployments", "Deployment", True, True, ("deploy",)),
    Kind("apps", "v1", "replicasets", "ReplicaSet", True, True, ("rs",)),
    Kind("networking.k8s.io", "v1", "ingresses", "Ingress", True, True, ("ing",)),
    Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", short_names=("netpol",)),
    Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True, True, ("pdb",)),
    LEASE,
    Kind("events.k8s.io", "v1", "events", "Event", counted=False),
    Kind("rbac.authorization.k8s.io", "v1", "roles", "Role", counted=False),
    Kind("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", counted=False),
    Kind("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", False, counted=False),
    Kind("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", False, counted=False),
    CRD,
)

_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definition(
    plural: str,
    group: str,
    version: str,
    kind: str,
    *,
    namespaced: bool = True,
    short_names: Iterable[str] = (),
    schema: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A CustomResourceDefinition for the kind; any content unless a schema says otherwise."""
    names: dict[str, Any] = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    if short_names:
        names["shortNames"] = list(short_names)
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema or _ANYTHING}}
    return {
        "apiVersion": CRD.api_version,
        "kind": CRD.kind,
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced" if namespaced else "Cluster",
            "names": names,
            "versions": [served],
        },
    }


def parse_definition(text: str) -> dict[str, Any]:
    """``workflows.argoproj.io/v1alpha1:Workflow`` -> its CustomResourceDefinition."""
    resource, _, kind = text.partition(":")
    qualified, _, version = resource.partition("/")
    plural, _, group = qualified.partition(".")
    if not (plural and group and version and kind):
        raise ValueError(f"{text!r} is not plural.group/version:Kind")
    return definition(plural, group, version, kind)


WORKFLOW_DEFINITION = definition(
    "workflows",
    "argoproj.io",
    "v1alpha1",
    "Workflow",
    short_names=["wf"],
    schema={"type": "object", "required": ["spec"], "properties": {"spec": _ANYTHING, "status": _ANYTHING}},
)


def kind_of(crd: Mapping[str, Any]) -> Kind:
    """The kind that a CustomResourceDefinition declares; ValueError where it needs what is not simulated."""
    spec = crd["spec"]
    served = [v for v in spec["versions"] if v.get("served")]
    if len(served) != 1:
        raise ValueError("a CustomResourceDefinition that serves other than one version")
    names, version = spec["names"], served[0]
    subresources = version.get("subresources") or {}
    if "scale" in subresources:
        raise ValueError("the scale subresource")
    return Kind(
        spec["group"],
        version["name"],
        names["plural"],
        names["kind"],
        spec["scope"] == "Namespaced",
        "status" in subresources,
        tuple(names.get("shortNames") or ()),
        names.get("singular") or "",
        tuple(f["jsonPath"].lstrip(".") for f in version.get("selectableFields") or ()),
        (version.get("schema") or {}).get("openAPIV3Schema"),
    )


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names: a collection (no name), an object, or a subresource of one."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class Kinds:
    """The kinds that are served now."""

    def __init__(self, kinds: Iterable[Kind] = ()) -> None:
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        self._first = tuple(kinds)
        self.reset()

    def reset(self) -> None:
        """Serve what was served at first."""
        self._kinds.clear()
        for kind in self._first:
            self.declare(kind)

    def declare(self, kind: Kind) -> None:
        self._kinds[kind.group, kind.version, kind.plural] = kind

    def remove(self, kind: Kind) -> None:
        self._kinds.pop((kind.group, kind.version, kind.plural), None)

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        return self._kinds.get((group, version, plural))

    def all(self) -> list[Kind]:
        return list(self._kinds.values())

    def resolve(self, path: str) -> Target | None:
        """The target of a path; None where nothing is served."""
        parts = path.strip("/").split("/")
        if parts[0] == "api":
            parts.insert(1, "")
        if len(parts) < 4:
            return None
        group, version, rest = parts[1], parts[2], parts[3:]
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and (group or rest[2] not in {"status", "finalize"}):
            namespace, rest = rest[1], rest[2:]
        kind = self.find(group, version, rest[0])
        if kind is None or len(rest) > 3 or (namespace and not kind.namespaced) or (len(rest) > 1 and not rest[1]):
            return None
        if kind.namespaced and not namespace and len(rest) > 1:
            return None
        return Target(kind, namespace, *rest[1:])
