"""policy.k8s: the trigger succeeds once its object has the labels."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from kubecdc.cluster.resource import Resource
from kubecdc.workers.objects.labels import wait
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.sensor.policy import K8sPolicy
from tests.apiserver import LocalSimulator
from tests.workers.k8s.rig import CONFIGMAPS, Bench, config_map, source

WANTED = {"labels": {"complete": "true"}, "errorOnBackoffTimeout": True}
GENERATED = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}
ONCE = {"steps": 1}


class Waiting:
    """The policy, with pauses that are noted and not slept. ``between`` runs in each."""

    def __init__(self, it: Bench, policy: Mapping[str, Any]) -> None:
        self._it = it
        self._policy = K8sPolicy.model_validate(policy)
        self.pauses: list[float] = []
        self.between: Callable[[int], Awaitable[object]] | None = None

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if self.between:
            await self.between(len(self.pauses))

    async def outcome(self) -> Outcome:
        objects = await self._it.cluster.objects()
        resource = Resource("", "v1", "configmaps", "default")
        chance = random.Random(1)
        return await wait(objects, resource, "one", self._policy, "create one", rng=chance, sleep=self._sleep)


@pytest.mark.parametrize(("value", "expected"), [("true", Success()), ("false", None)])
async def test_argos_own_test_values(api: LocalSimulator, it: Bench, value: str, expected: Outcome | None) -> None:
    """resource-labels_test.go: two steps with a factor of 2 and a jitter of 0.5."""
    metadata = {"name": "one", "labels": {"name": "test", "complete": value}}
    await api.create(*CONFIGMAPS, "default", {**config_map(), "metadata": metadata})
    waiting = Waiting(it, {**WANTED, "backoff": {"steps": 2, "duration": "1s", "factor": 2, "jitter": 0.5}})
    outcome = await waiting.outcome()
    if expected:
        assert (outcome, waiting.pauses) == (expected, [])
    else:
        assert outcome == Retry("create one: it has not got the labels complete=true in time")
        assert len(waiting.pauses) == 1
        assert 1 <= waiting.pauses[0] <= 1.5


async def test_without_an_error_on_timeout_it_is_a_success_as_in_argo(api: LocalSimulator, it: Bench) -> None:
    await api.create(*CONFIGMAPS, "default", config_map())
    waiting = Waiting(it, {"labels": {"complete": "true"}})
    assert await waiting.outcome() == Success()
    assert len(waiting.pauses) == 4, "five steps by default"


async def test_labels_that_come_later_are_seen(api: LocalSimulator, it: Bench) -> None:
    await api.create(*CONFIGMAPS, "default", config_map())
    waiting = Waiting(it, {**WANTED, "backoff": {"duration": "1s", "factor": 2, "jitter": 0}})

    async def between(count: int) -> None:
        if count == 3:
            await api.patch(*CONFIGMAPS, "default", "one", {"metadata": {"labels": {"complete": "true"}}})

    waiting.between = between
    assert await waiting.outcome() == Success()
    assert waiting.pauses == [1, 2, 4]


async def test_an_object_that_is_deleted_meanwhile_is_not_made_again(api: LocalSimulator, it: Bench) -> None:
    await api.create(*CONFIGMAPS, "default", config_map())
    waiting = Waiting(it, WANTED)
    waiting.between = lambda _: api.delete(*CONFIGMAPS, "default", "one")
    outcome = await waiting.outcome()
    assert outcome == Failure("create one: it was deleted before it had the labels complete=true")


@pytest.mark.parametrize("status", [403, 500])
async def test_a_look_that_fails_is_retried(api: LocalSimulator, it: Bench, status: int) -> None:
    api.faults.fail(status, method="GET", message="x")
    outcome = await Waiting(it, WANTED).outcome()
    assert isinstance(outcome, Retry)


async def test_a_repeated_event_goes_on_waiting_for_its_object(api: LocalSimulator, it: Bench) -> None:
    policy = {"k8s": {**WANTED, "backoff": ONCE}}
    for _ in range(3):
        outcome = await it.run(source(GENERATED), policy=policy)
        assert isinstance(outcome, Retry)
    [made] = (await api.list(*CONFIGMAPS, "default"))["items"]
    name = made["metadata"]["name"]
    await api.patch(*CONFIGMAPS, "default", name, {"metadata": {"labels": {"complete": "true"}}})
    await it.done(source(GENERATED), policy=policy)
    assert len((await api.list(*CONFIGMAPS, "default"))["items"]) == 1


async def test_there_is_nothing_to_wait_for_after_a_deletion(it: Bench) -> None:
    await it.done(source(config_map(), operation="delete"), policy={"k8s": {**WANTED, "backoff": ONCE}})
