"""The plural and the scope of a kind, guessed where no API server can be asked."""

from __future__ import annotations

from kubecdc.cluster.resource import Resource

CLUSTER_SCOPED = frozenset({
    "Namespace", "Node", "PersistentVolume", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition",
    "StorageClass", "IngressClass", "PriorityClass", "RuntimeClass", "APIService", "CSIDriver", "CSINode",
    "VolumeAttachment", "CertificateSigningRequest", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "FlowSchema", "PriorityLevelConfiguration",
    "ClusterWorkflowTemplate",
})  # fmt: skip


def guess(api_version: str, kind: str, namespace: str) -> Resource:
    """The resource of a kind, with the plural that Kubernetes guesses (meta.UnsafeGuessKindToResource).

    A ``y`` after a vowel stays, which Kubernetes does not know.
    """
    group, _, version = api_version.rpartition("/")
    word = kind.lower()
    if word == "endpoints":
        plural = word
    elif word.endswith("s"):
        plural = f"{word}es"
    elif word.endswith("y") and word[-2:-1] not in set("aeiou"):
        plural = f"{word[:-1]}ies"
    else:
        plural = f"{word}s"
    return Resource(group, version, plural, "" if kind in CLUSTER_SCOPED else namespace)
