"""Whether the credentials allow a request, asked with SelfSubjectAccessReviews.

Every authenticated user may create such a review. A server without them gets a real list and a real watch instead.
https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from kubecdc.cluster.access_rule import AccessRule
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError, Malformed
from kubecdc.cluster.objects import shown
from kubecdc.cluster.resource import Resource

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
NO_REVIEWS = frozenset({403, 404, 405, 501})


@dataclass(frozen=True)
class AccessProblem:
    """What the cluster lacks or forbids for a part of a manifest: ``str()`` is its line."""

    where: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}; {self.hint}"


class AccessReviews:
    """The reviews of one cluster. Each question is asked once."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._allowed: dict[tuple[Resource, str, str], bool] = {}

    async def denied(self, resource: Resource, verbs: Iterable[str], name: str = "") -> list[str]:
        """The verbs that are not allowed, for one object if it has a ``name``. Raises ApiError, Malformed.

        A role may be restricted to a name, but `create` cannot be restricted.
        """
        names = {verb: "" if verb == "create" else name for verb in verbs}
        return [verb for verb in names if not await self.allowed(resource, verb, names[verb])]

    async def problems(self, where: str, rules: Iterable[AccessRule]) -> list[AccessProblem]:
        """The rules that are not granted.

        Raises ApiError if the cluster cannot be reached or does not accept the credentials, and Malformed.
        """
        found = []
        for rule in rules:
            try:
                denied = await self.denied(rule.resource, rule.verbs, rule.name)
            except ApiError as e:
                if e.status in {0, 401}:
                    raise
                found.append(AccessProblem(where, str(e), e.hint or "see the API server's log"))
                continue
            if denied:
                hint = grant(rule.resource, rule.verbs, rule.role)
                found.append(AccessProblem(where, refused(rule.resource, denied), hint))
        return found

    async def allowed(self, resource: Resource, verb: str, name: str = "") -> bool:
        """Whether a verb is allowed. Raises ApiError, Malformed."""
        question = (resource, verb, name)
        if question not in self._allowed:
            self._allowed[question] = await self._ask(*question)
        return self._allowed[question]

    async def _ask(self, resource: Resource, verb: str, name: str) -> bool:
        # Imported on first use: it takes a second and 45 MB, and a watcher does not need it.
        from kubernetes.client import V1ResourceAttributes, V1SelfSubjectAccessReview, V1SelfSubjectAccessReviewSpec

        asked = V1ResourceAttributes(
            namespace=resource.namespace,
            verb=verb,
            group=resource.group,
            version=resource.version,
            resource=resource.resource,
            name=name,
        )
        review = V1SelfSubjectAccessReview(
            api_version="authorization.k8s.io/v1",
            kind="SelfSubjectAccessReview",
            spec=V1SelfSubjectAccessReviewSpec(resource_attributes=asked),
        )
        try:
            answer = await self._cluster.post(REVIEWS, msgspec.Raw(review.to_json().encode()))
            status = V1SelfSubjectAccessReview.from_json(answer).status
        except ValueError as e:
            raise Malformed(f"the API server's answer is not an access review: {shown(answer)}") from e
        except ApiError as e:
            if e.status not in NO_REVIEWS:
                raise
            return await self._try(resource, verb)
        return bool(status and status.allowed)

    async def _try(self, resource: Resource, verb: str) -> bool:
        """Make the request once. A verb that needs an object, or writes, counts as allowed."""
        queries = {"list": {"limit": "1"}, "watch": {"watch": "true", "timeoutSeconds": "1"}}
        if verb not in queries:
            return True
        try:
            await self._cluster.get(resource.path, queries[verb])
        except ApiError as e:
            if e.status != 403:
                raise
            return False
        return True


def refused(resource: Resource, verbs: Iterable[str]) -> str:
    """The sentence for verbs that are not allowed."""
    place = f"in namespace {resource.namespace}" if resource.namespace else "in all namespaces"
    return f"not allowed to {', '.join(verbs)} {_qualified(resource)} {place}"


def grant(resource: Resource, verbs: Iterable[str], role: str = "") -> str:
    """The kubectl commands that grant the verbs to a service account."""
    name = role or f"kubecdc-{resource.resource}"
    kind, place = ("role", f" -n {resource.namespace}") if resource.namespace else ("clusterrole", "")
    return (
        f"`kubectl create {kind} {name}{place} --verb={','.join(verbs)} --resource={_qualified(resource)}` and "
        f"`kubectl create {kind}binding {name}{place} --{kind}={name} --serviceaccount=NAMESPACE:NAME`, or --user"
    )


def _qualified(resource: Resource) -> str:
    return f"{resource.resource}.{resource.group}" if resource.group else resource.resource
