"""Waiting until an object has the labels that say it has succeeded: the policy `k8s`.

The rules are those of Argo Events (pkg/sensors/policy/resource-labels.go): the object is looked at ``steps`` times, the
first time at once.
"""

from __future__ import annotations

import asyncio
import random

from kubecdc.cluster.errors import ApiError, Malformed
from kubecdc.cluster.object_client import Objects
from kubecdc.cluster.resource import Resource
from kubecdc.workers.objects.answer import judge
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.retry import Sleep, pause
from kubecdc.workers.sensor.policy import K8sPolicy

LOOKING = 60.0  # seconds for one look


async def wait(
    objects: Objects,
    resource: Resource,
    name: str,
    policy: K8sPolicy,
    what: str,
    *,
    rng: random.Random | None = None,
    sleep: Sleep = asyncio.sleep,
) -> Outcome:
    """The outcome of the object. If it is repeated, it goes on waiting for the same object.

    An object that is deleted before it has the labels is a failure: a repetition would make another.
    """
    chance = rng or random.Random()  # jitter, not a secret
    steps = policy.backoff.steps
    for step in range(1, steps + 1):
        try:
            async with asyncio.timeout(LOOKING):
                found = await objects.get(resource, name)
        except TimeoutError:
            return Retry(f"{what}: no answer from the API server within {LOOKING:g} s")
        except ApiError as e:
            if e.status == 404:
                return Failure(f"{what}: it was deleted before it had the labels {_text(policy)}")
            return judge(what, e, resource, ("get",))
        except Malformed as e:
            return Retry(f"{what}: {e}")
        labels = (found.get("metadata") or {}).get("labels") or {}
        if policy.labels.items() <= labels.items():
            return Success()
        if step < steps:
            await sleep(pause(policy.backoff, step, chance))
    if policy.error_on_backoff_timeout:
        return Retry(f"{what}: it has not got the labels {_text(policy)} in time")
    return Success()


def _text(policy: K8sPolicy) -> str:
    return ", ".join(f"{name}={value}" for name, value in policy.labels.items())
