"""The ``argoWorkflow`` trigger type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from kubecdc.manifest.finding import Finding
from kubecdc.workers.objects.document import Unusable, in_manifest, lacking, uninstalled, written_inside
from kubecdc.workers.sensor.policy import Policy
from kubecdc.workers.triggers.argo_workflow import access
from kubecdc.workers.triggers.argo_workflow.arguments import Options, WrongArgument, parse
from kubecdc.workers.triggers.argo_workflow.document import defect
from kubecdc.workers.triggers.argo_workflow.manifest import ArgoWorkflow
from kubecdc.workers.triggers.argo_workflow.request import WorkflowRequest
from kubecdc.workers.triggers.contract import AccessRule, Context, Trigger, TriggerType


class ArgoWorkflowType(TriggerType[ArgoWorkflow]):
    """Submits a Workflow for each event, or suspends, resumes, stops, terminates, resubmits or retries one."""

    model = ArgoWorkflow
    example = "{source: {resource: {…}}}"
    policies = frozenset({"k8s"})
    uses_cluster = True

    def problems(self, config: ArgoWorkflow, written: Set[str]) -> Iterator[Finding]:
        """Arguments that cannot be used, and a source without an object that the operation can use."""
        if written & {"", "operation"}:
            return
        options = Options()
        if not any(path == "args" or path.startswith("args.") for path in written):
            try:
                options = parse(config.args, config.operation)
            except WrongArgument as e:
                yield Finding(("args", e.index), str(e))
                return
        yield from lacking(config.source, written)
        if written_inside(config.source, written) or config.parameters:
            return
        try:
            document = in_manifest(config.source)
            wrong = "" if document is None else defect(document, config.operation, options)
        except Unusable as e:
            wrong = str(e)
        if wrong:
            yield Finding(("source", "inline" if config.source.inline is not None else "resource"), wrong)

    def missing(self, config: ArgoWorkflow, written: Set[str]) -> Iterator[Finding]:
        """The package that its source needs."""
        return uninstalled(config.source)

    def notices(self, config: ArgoWorkflow) -> Iterator[str]:
        """Arguments that only change what Argo's command line prints."""
        try:
            without_effect = parse(config.args, config.operation).without_effect
        except WrongArgument:
            return
        if without_effect:
            yield f"args: {', '.join(without_effect)}: accepted, without effect: there is no output"

    def rules(self, config: ArgoWorkflow, written: Set[str], namespace: str) -> Sequence[AccessRule]:
        """What its operation needs."""
        return access.rules(config, written, namespace)

    def build(self, config: ArgoWorkflow, policy: Policy, context: Context) -> Trigger[WorkflowRequest]:
        """The trigger."""
        from kubecdc.workers.triggers.argo_workflow.trigger import ArgoWorkflowTrigger

        return ArgoWorkflowTrigger(context, policy.k8s, config.source)
