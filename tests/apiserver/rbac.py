"""Who may do what: Roles, ClusterRoles and their bindings, as RBAC reads them. Rules only add.

Rules: k8s.io/kubernetes plugin/pkg/auth/authorizer/rbac, and k8s.io/apiserver pkg/endpoints/request/requestinfo.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.apiserver.connection import Request
from tests.apiserver.errors import ApiError
from tests.apiserver.resources import BUILT_IN
from tests.apiserver.store import Store
from tests.apiserver.users import ANONYMOUS, AUTHENTICATED, MASTERS, User

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_PUBLIC = ("/version", "/healthz", "/livez", "/readyz")
_OPEN = (*_PUBLIC, "/api", "/apis", "/openapi")
_REVIEWS = ("authorization.k8s.io", "selfsubjectaccessreviews")
_KINDS = {kind.plural: kind for kind in BUILT_IN if kind.group == "rbac.authorization.k8s.io"}


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is to be done. Without a resource it is a path."""

    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    path: str = ""

    @classmethod
    def of(cls, request: Request) -> Attributes:
        """Of a request, whether what it names is served or not."""
        parts = request.path.strip("/").split("/")
        if parts[0] == "api":
            parts.insert(1, "")
        if len(parts) < 4 or parts[0] not in {"api", "apis"}:
            return cls(request.method.lower(), path=request.path)
        group, rest, namespace = parts[1], parts[3:], ""
        if rest[0] == "namespaces" and len(rest) > 1:
            namespace = rest[1]
            if len(rest) > 2 and rest[2] not in {"status", "finalize"}:
                rest = rest[2:]
        name, subresource = (*rest[1:3], "", "")[:2]
        verb = _VERBS.get(request.method, "get")
        if not name and verb == "get":
            watching = request.query.get("watch", "false").lower() not in {"false", "0"}
            verb, name = "watch" if watching else "list", _selected_name(request.query)
        elif not name and verb == "delete":
            verb = "deletecollection"
        return cls(verb, group, rest[0], namespace, name, subresource)

    @classmethod
    def of_review(cls, spec: Mapping[str, Any]) -> Attributes:
        """Of an access review."""
        if (path := spec.get("nonResourceAttributes")) is not None:
            return cls(str(path.get("verb", "")), path=str(path.get("path", "")))
        asked = spec.get("resourceAttributes") or {}
        return cls(
            *(str(asked.get(f) or "") for f in ("verb", "group", "resource", "namespace", "name", "subresource"))
        )


def _selected_name(query: Mapping[str, str]) -> str:
    """A list or watch of one name counts as one of the object."""
    for part in query.get("fieldSelector", "").split(","):
        field, _, value = part.replace("==", "=").partition("=")
        if field == "metadata.name":
            return value
    return ""


def forbidden(asked: Attributes, user: str) -> ApiError:
    """403 as RBAC words it."""
    if not asked.resource:
        message = f'forbidden: User "{user}" cannot {asked.verb} path "{asked.path}"'
        return ApiError(403, "Forbidden", message, details={})
    qualified = asked.resource + (f".{asked.group}" if asked.group else "")
    name = f' "{asked.name}"' if asked.name else ""
    resource = asked.resource + (f"/{asked.subresource}" if asked.subresource else "")
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    message = (
        f'{qualified}{name} is forbidden: User "{user}" cannot {asked.verb} resource "{resource}" in API group '
        f'"{asked.group}" {where}'
    )
    details = {"name": asked.name} if asked.name else {}
    if asked.group:
        details["group"] = asked.group
    return ApiError(403, "Forbidden", message, details={**details, "kind": asked.resource})


class Authorizer:
    """Decides from the objects of a store, as they are at the moment."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def allowed(self, user: User, asked: Attributes) -> bool:
        if MASTERS in user.groups:
            return True
        if not asked.resource:
            return any(
                asked.path == p or asked.path.startswith(f"{p}/") for p in (_PUBLIC if user == ANONYMOUS else _OPEN)
            )
        if user != ANONYMOUS and (asked.group, asked.resource, asked.verb) == (*_REVIEWS, "create"):
            return True
        return any(_grants(rule, asked) for rule in self._rules(user, asked.namespace))

    def _rules(self, user: User, namespace: str) -> Iterator[Mapping[str, Any]]:
        """The rules that bind the user: everywhere, and in the namespace."""
        for plural in ("clusterrolebindings", "rolebindings"):
            for stored in self._store.collection(_KINDS[plural]).now():
                if plural == "rolebindings" and stored.namespace != namespace:
                    continue
                binding = stored.body()
                if any(_binds(s, user, stored.namespace) for s in binding.get("subjects") or ()):
                    yield from self._role(binding.get("roleRef") or {}, stored.namespace)

    def _role(self, reference: Mapping[str, Any], namespace: str) -> list[Mapping[str, Any]]:
        kind = _KINDS["roles" if reference.get("kind") == "Role" else "clusterroles"]
        stored = self._store.get(kind, kind.key(namespace, str(reference.get("name", ""))))
        return stored.body().get("rules") or [] if stored else []


def _binds(subject: Mapping[str, Any], user: User, namespace: str) -> bool:
    name = subject.get("name")
    match subject.get("kind"):
        case "User":
            return bool(name == user.name)
        case "Group":
            return name in user.groups or (name == AUTHENTICATED and user != ANONYMOUS)
        case "ServiceAccount":
            return user.name == f"system:serviceaccount:{subject.get('namespace') or namespace}:{name}"
    return False


def _has(values: Any, wanted: str) -> bool:
    return wanted in (values or ()) or "*" in (values or ())


def _grants(rule: Mapping[str, Any], asked: Attributes) -> bool:
    resource = asked.resource + (f"/{asked.subresource}" if asked.subresource else "")
    resources = rule.get("resources") or ()
    named = rule.get("resourceNames")
    return (
        _has(rule.get("verbs"), asked.verb)
        and _has(rule.get("apiGroups"), asked.group)
        and (_has(resources, resource) or bool(asked.subresource and f"*/{asked.subresource}" in resources))
        and (not named or asked.name in named)
    )
