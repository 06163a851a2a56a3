"""What a client finds out first: /version, /api, /apis and the resources of a group."""

from __future__ import annotations

from typing import Any

from tests.apiserver.resources import BUILT_IN, CRD, Kind, Kinds

_VERBS = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
_VERSION = {
    "major": "1",
    "minor": "34",
    "emulationMajor": "1",
    "emulationMinor": "34",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "33",
    "gitVersion": "v1.34.2",
    "gitCommit": "$Format:%H$",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "go1.24.0",
    "compiler": "gc",
    "platform": "linux/amd64",
}
_REVIEWS = ("authorization.k8s.io", "v1")


def discover(kinds: Kinds, path: str, address: str) -> dict[str, Any] | None:
    """The discovery document at a path; None where there is none. ``address`` is host:port of the server."""
    match path.strip("/").split("/"):
        case ["version"]:
            return _VERSION
        case ["api"]:
            where = {"clientCIDR": "0.0.0.0/0", "serverAddress": address}
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [where]}
        case ["apis"]:
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(g, v) for g, v in _groups(kinds)]}
        case ["apis", group]:
            found = dict(_groups(kinds)).get(group)
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, found)} if found else None
        case ["api", version]:
            return _resources(kinds, "", version)
        case ["apis", group, version]:
            return _resources(kinds, group, version)
        case ["openapi", "v3"]:
            paths = {k.path().removeprefix("/").rpartition("/")[0] for k in BUILT_IN if k != CRD}
            return {"paths": {p: {"serverRelativeURL": f"/openapi/v3/{p}"} for p in sorted(paths)}}
        case ["openapi", "v3", *rest]:
            return _openapi("/" + "/".join(rest))
    return None


def _openapi(path: str) -> dict[str, Any] | None:
    """What kubectl asks before it applies: that the server itself validates the fields of a group's kinds."""
    kinds = [k for k in BUILT_IN if k != CRD and k.path().rpartition("/")[0] == path]
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    paths = {
        k.path(namespace="{namespace}", name="{name}"): {
            "patch": {
                "x-kubernetes-group-version-kind": {"group": k.group, "version": k.version, "kind": k.kind},
                "parameters": [parameter],
                "responses": {},
            }
        }
        for k in kinds
    }
    info = {"title": "Kubernetes", "version": f"{_VERSION['major']}.{_VERSION['minor']}"}
    return {"openapi": "3.0.0", "info": info, "paths": paths} if kinds else None


def _groups(kinds: Kinds) -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {_REVIEWS[0]: [_REVIEWS[1]]}
    for kind in kinds.all():
        versions = groups.setdefault(kind.group, [])
        if kind.version not in versions:
            versions.append(kind.version)
    return sorted((g, v) for g, v in groups.items() if g)


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    return {"name": name, "preferredVersion": listed[0], "versions": listed}


def _resources(kinds: Kinds, group: str, version: str) -> dict[str, Any] | None:
    found = [r for k in kinds.all() if (k.group, k.version) == (group, version) for r in _resource(k)]
    if (group, version) == _REVIEWS:
        found = [
            {
                "name": "selfsubjectaccessreviews",
                "singularName": "selfsubjectaccessreview",
                "namespaced": False,
                "kind": "SelfSubjectAccessReview",
                "verbs": ["create"],
            }
        ]
    if not found:
        return None
    shown = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": shown, "resources": found}


def _resource(kind: Kind) -> list[dict[str, Any]]:
    singular = kind.singular or kind.kind.lower()
    resource: dict[str, Any] = {
        "name": kind.plural,
        "singularName": singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": sorted(_VERBS) if kind in BUILT_IN else _VERBS,
    }
    if kind.short_names:
        resource["shortNames"] = list(kind.short_names)
    resource["storageVersionHash"] = kind.storage_version_hash
    if not kind.status_subresource or kind == CRD:
        return [resource]
    status = {
        "name": f"{kind.plural}/status",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": ["get", "patch", "update"],
    }
    return [resource, status]
