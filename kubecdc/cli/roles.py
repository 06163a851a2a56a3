"""Roles and bindings for the permissions that manifests need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from kubecdc.cluster.access_rule import AccessRule

Document = dict[str, Any]
_GROUP = "rbac.authorization.k8s.io"
_ORDER = ("get", "list", "watch", "create", "update", "patch", "delete")
_Key = tuple[str, str, str]  # group, resource, name


def of_account(
    account: str, namespace: str, rules: Iterable[AccessRule], optional: Iterable[AccessRule] = ()
) -> Iterator[Document]:
    """A service account in the namespace, and what grants it the rules.

    That is a Role for each namespace in which something is needed, and a ClusterRole only for what is needed in all.
    Outside the namespace of the account, their names end in that. What is ``optional`` has Roles of its own,
    `<account>-optional`, which can be left out.
    """
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": namespace}}
    yield from _granted(account, account, namespace, rules)
    yield from _granted(account, f"{account}-optional", namespace, optional)


def _granted(account: str, role: str, namespace: str, rules: Iterable[AccessRule]) -> Iterator[Document]:
    needed: defaultdict[str, defaultdict[_Key, set[str]]] = defaultdict(lambda: defaultdict(set))
    for rule in rules:
        resource = rule.resource
        for verb in rule.verbs:
            name = "" if verb == "create" else rule.name  # RBAC cannot restrict `create` to a name
            needed[resource.namespace][resource.group, resource.resource, name].add(verb)
    everywhere = needed[""]
    for place in sorted(needed):
        wanted = {key: verbs - (everywhere[key] if place else set()) for key, verbs in needed[place].items()}
        if granted := list(_rules({key: verbs for key, verbs in wanted.items() if verbs})):
            yield from _bound(account, role, namespace, place, granted)


def _rules(needed: dict[_Key, set[str]]) -> Iterator[Document]:
    together: defaultdict[tuple[str, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (group, resource, name), found in sorted(needed.items()):
        together[group, name, tuple(sorted(found, key=_ORDER.index))].append(resource)
    for (group, name, verbs), resources in together.items():
        rule: Document = {"apiGroups": [group], "resources": resources}
        if name:
            rule["resourceNames"] = [name]
        yield {**rule, "verbs": list(verbs)}


def _bound(account: str, role: str, home: str, place: str, rules: list[Document]) -> Iterator[Document]:
    """A role in a namespace, or for all if it is "", and its binding to the account."""
    kind = "Role" if place else "ClusterRole"
    # Only at home is the name free: elsewhere, an installation in another namespace has its own.
    metadata = {"name": role if place == home else f"{role}-{home}", **({"namespace": place} if place else {})}
    version = {"apiVersion": f"{_GROUP}/v1"}
    yield {**version, "kind": kind, "metadata": metadata, "rules": rules}
    yield {
        **version,
        "kind": f"{kind}Binding",
        "metadata": metadata,
        "roleRef": {"apiGroup": _GROUP, "kind": kind, "name": metadata["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": home}],
    }
