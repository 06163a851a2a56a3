"""The IAM policies in docs/sqs.md allow what each role calls, and nothing else."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from kubecdc.storage.broker.contract import Received
from kubecdc.storage.contracts import Publication, SubscriptionSpec
from kubecdc.storage.sqs import names
from kubecdc.storage.sqs.client import _action
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, event
from tests.storage.sqs.calls import Calls
from tests.storage.sqs.conftest import SqsHarness

PAGE = Path(__file__).parents[3] / "docs" / "sqs.md"
NAME = "notify/tell"
SUB = SubscriptionSpec(NAME, SOURCE, SUBJECT)
ARN = "arn:aws:sqs:eu-west-1:123456789012:"


async def test_the_watcher(fifo: SqsHarness, calls: Calls) -> None:
    await (await fifo.queue()).ensure([SUB], dry_run=False)
    calls.made.clear()
    queue = await fifo.queue("watcher")
    await queue.register([SUB])
    await queue.publisher.publish(Publication([event(1)]))
    await queue.subscriptions()
    assert await queue.subscription(NAME, prefetch=1).registered() == (SUB,)  # for its readiness
    compare("The watcher", calls, fifo)


async def test_the_workers(fifo: SqsHarness, calls: Calls) -> None:
    operator = await fifo.queue()
    await operator.ensure([SUB], dry_run=False)
    await operator.publisher.publish(Publication([event(number, f"object-{number}") for number in range(4)]))
    calls.made.clear()
    queue = await fifo.queue("worker")
    await queue.register([SUB])
    subscription = queue.subscription(NAME, prefetch=4)
    deliveries = subscription.deliveries()
    taken = [await anext(deliveries) for _ in range(3)]
    await taken[0].extend()
    await taken[0].ack()
    await taken[1].nack(timedelta(seconds=60))
    await taken[2].dead_letter("no")
    assert await subscription.registered() == (SUB,)
    await deliveries.aclose()  # type: ignore[attr-defined]
    compare("The workers", calls, fifo)


async def test_the_operator(fifo: SqsHarness, calls: Calls) -> None:
    queue = await fifo.queue("operator")
    await queue.ensure([SUB], dry_run=False)
    slower = await fifo.queue("operator", replace(fifo.settings, ack_wait=timedelta(seconds=60)))
    await slower.ensure([SubscriptionSpec(NAME, SOURCE, "another")], dry_run=False)
    await queue.ensure([SUB], dry_run=False)
    await queue.publisher.publish(Publication([event(1), event(2, "b")]))
    source = queue.source(NAME)
    messages: list[Received] = []
    while len(messages) < 2:
        messages += await source.receive(10)
    for message in messages:
        await source.dead_letter(message, "no", 1)
    await queue.subscriptions()
    one, other = await queue.dead_letters.page()
    await queue.dead_letters.redrive([one.id])
    await queue.dead_letters.purge([other.id])
    await queue.prune(NAME)
    compare("The operator", calls, fifo)


def compare(role: str, calls: Calls, harness: SqsHarness) -> None:
    """Check that the policy of the role allows each call, and that each action that it allows was called."""
    statements = policy(role)["Statement"]
    used: set[str] = set()
    for operation, given in calls.made:
        name = given.get("QueueName") or names.of_url(given.get("QueueUrl", ""))
        arn = ARN + name.replace(names.prefix(harness.settings), "kubecdc-default-")
        action = f"sqs:{_action(operation).removesuffix('Batch')}"
        assert any(
            action in statement["Action"] and any(fnmatchcase(arn, pattern) for pattern in resources(statement))
            for statement in statements
        ), (action, arn)
        used.add(action)
    assert {action for statement in statements for action in statement["Action"]} == used


def policy(role: str) -> Any:
    found = re.search(rf"^{role}.*?```json\n(.*?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found
    return json.loads(found[1])


def resources(statement: Any) -> list[str]:
    given = statement["Resource"]
    return [given] if isinstance(given, str) else given
