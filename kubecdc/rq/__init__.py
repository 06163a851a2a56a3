"""For RQ's own workers: the function that the jobs of an rq bus call. See docs/rq.md."""

from __future__ import annotations


def handle(subscription: str, event: str) -> None:
    """Run the trigger of a subscription for an event, as `kubecdc work` would, in a job of RQ.

    The manifests are those that the environment variable ``KUBECDC_MANIFESTS`` names. If the event becomes a dead
    letter, it raises an error whose text is the reason, and RQ puts the job into its FailedJobRegistry.
    """
    from kubecdc.rq.job import run

    run(subscription, event)
