"""The ``k8s`` trigger type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from kubecdc.manifest.finding import Finding
from kubecdc.workers.objects.document import Unusable, in_manifest, lacking, uninstalled, written_inside
from kubecdc.workers.sensor.policy import Policy
from kubecdc.workers.triggers.contract import AccessRule, Context, Trigger, TriggerType
from kubecdc.workers.triggers.k8s import access
from kubecdc.workers.triggers.k8s.document import defect
from kubecdc.workers.triggers.k8s.manifest import K8s
from kubecdc.workers.triggers.k8s.request import K8sRequest


class K8sType(TriggerType[K8s]):
    """Creates, changes or deletes an object for each event."""

    model = K8s
    example = "{source: {resource: {…}}}"
    policies = frozenset({"k8s"})
    uses_cluster = True

    def problems(self, config: K8s, written: Set[str]) -> Iterator[Finding]:
        """A source without an object that the operation can use, as far as no parameter makes it one."""
        yield from lacking(config.source, written)
        if written_inside(config.source, written) or "operation" in written or config.parameters:
            return
        try:
            document = in_manifest(config.source)
            wrong = "" if document is None else defect(document, config)
        except Unusable as e:
            wrong = str(e)
        if wrong:
            field = "inline" if config.source.inline is not None else "resource"
            yield Finding(("source", field), wrong)

    def missing(self, config: K8s, written: Set[str]) -> Iterator[Finding]:
        """The package that its source needs."""
        return uninstalled(config.source)

    def notices(self, config: K8s) -> Iterator[str]:
        """What the manifest says and the trigger does not do."""
        if config.source.url and not config.source.url.verify_cert:
            yield "source.url.verifyCert: false has no effect: certificates are always verified"

    def rules(self, config: K8s, written: Set[str], namespace: str) -> Sequence[AccessRule]:
        """What its operation needs."""
        return access.rules(config, written, namespace)

    def build(self, config: K8s, policy: Policy, context: Context) -> Trigger[K8sRequest]:
        """The trigger."""
        from kubecdc.workers.triggers.k8s.trigger import K8sTrigger

        return K8sTrigger(context, policy.k8s, config.source)
