"""The roles in docs/pubsub.md: each is enough for what its holder does, and nothing in it can be left out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from kubecdc.errors import KubecdcError, UsageError
from kubecdc.storage.contracts import Publication, Replay, SubscriptionSpec
from kubecdc.storage.manifest import EventBus
from kubecdc.storage.pubsub.bus import PubSubBus
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, event, until
from kubecdc.workers.outcome import Failure, Outcome, Success
from kubecdc.workers.pipeline import consume
from kubecdc.workers.request import TriggerRequest
from tests.storage.pubsub.conftest import PubSubHarness
from tests.storage.pubsub.fake import FakePubSub
from tests.storage.pubsub.fake.server import PUBLISHER, SUBSCRIBER
from tests.workers.support import FakeTrigger, route, settings
from tests.workers.support import event as of_trigger

PAGE = (Path(__file__).parents[3] / "docs" / "pubsub.md").read_text()
ROLES = {
    name: set(permissions.split(","))
    for name, permissions in re.findall(r"roles create (\w+) --project \S+ --permissions=(\S+)", PAGE)
}
NEEDS = {  # of each method, after Pub/Sub's page on access control
    "GetTopic": {"pubsub.topics.get"},
    "ListTopicSubscriptions": {"pubsub.topics.get"},
    "CreateTopic": {"pubsub.topics.create"},
    "UpdateTopic": {"pubsub.topics.update"},
    "Publish": {"pubsub.topics.publish"},
    "GetSubscription": {"pubsub.subscriptions.get"},
    "CreateSubscription": {"pubsub.subscriptions.create", "pubsub.topics.attachSubscription"},
    "UpdateSubscription": {"pubsub.subscriptions.update"},
    "DeleteSubscription": {"pubsub.subscriptions.delete"},
    "Pull": {"pubsub.subscriptions.consume"},
    "Acknowledge": {"pubsub.subscriptions.consume"},
    "ModifyAckDeadline": {"pubsub.subscriptions.consume"},
    "Seek": {"pubsub.subscriptions.consume"},
}
NAME = "mail/send"
SPEC, OTHER = SubscriptionSpec(NAME, SOURCE, SUBJECT), SubscriptionSpec("mail/other", SOURCE, SUBJECT)


async def watch(queue: PubSubBus) -> None:
    await queue.register([SPEC])
    await queue.publisher.publish(Publication([event(3)]))
    assert await queue.subscription(NAME, prefetch=1).registered() == (SPEC,)  # for its readiness


async def work(queue: PubSubBus) -> None:
    await queue.register([SPEC])
    taken = 0
    async for delivery in queue.subscription(NAME, prefetch=1).deliveries():
        await delivery.extend()
        await (delivery.ack() if taken else delivery.dead_letter("broken"))
        taken += 1
        if taken == 2:
            break


async def operate(queue: PubSubBus) -> None:
    await queue.ensure([SPEC, OTHER], dry_run=False)
    await queue.subscriptions()
    await queue.dead_letters.redrive([letter.id for letter in await queue.dead_letters.page()])
    await queue.replay(Replay(subscription=NAME))
    await queue.prune(OTHER.name)


async def prepared(harness: PubSubHarness, who: str) -> PubSubBus:
    """As it is when its part begins: a bus that was made, for another retention, and has a dead letter."""
    queue = await harness.queue("before", retention=harness.settings.retention * 2)
    await queue.ensure([SPEC], dry_run=False)
    await queue.publisher.publish(Publication([event(1), event(2, "b")]))
    if who == "kubecdcOperator":
        await work(queue)
        await queue._client.update_topic(queue._configs.topic(), ["message_retention_duration"])
    return await harness.queue("holder", call_seconds=1.0, pull_seconds=1.0)


PARTS: dict[str, Callable[[PubSubBus], Awaitable[None]]] = {
    "kubecdcWatcher": watch,
    "kubecdcWorker": work,
    "kubecdcOperator": operate,
}


def deny_all_but(permissions: set[str], fake: FakePubSub) -> None:
    fake.denied = {method for method in (*PUBLISHER, *SUBSCRIBER) if not NEEDS[method] <= permissions}


@pytest.mark.parametrize("who", PARTS)
async def test_a_role_is_complete(who: str, harness: PubSubHarness, fake: FakePubSub) -> None:
    queue = await prepared(harness, who)
    deny_all_but(ROLES[who], fake)
    await PARTS[who](queue)


@pytest.mark.parametrize(("who", "permission"), [(who, one) for who in PARTS for one in sorted(ROLES[who])])
async def test_a_role_has_nothing_that_can_be_left_out(
    who: str, permission: str, harness: PubSubHarness, fake: FakePubSub
) -> None:
    queue = await prepared(harness, who)
    if permission == "pubsub.topics.create":  # the topics are there
        for path in (queue._names.topic_path, queue._names.dead_topic_path):
            del fake.topics[path]
        fake.subscriptions.clear()
    deny_all_but(ROLES[who] - {permission}, fake)
    with pytest.raises(KubecdcError) as raised:
        await PARTS[who](queue)
    assert isinstance(raised.value, UsageError), raised.value


def test_the_manifest_of_the_page_is_valid() -> None:
    import yaml

    (manifest,) = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL)]
    bus = EventBus.model_validate(manifest)
    assert bus.spec.queue_name == "pubsub"


async def test_dead_letters_that_nobody_may_publish_for_a_while_hold_nothing_up(
    harness: PubSubHarness, fake: FakePubSub
) -> None:
    async def only_the_second(request: TriggerRequest[Any]) -> Outcome:
        return Success() if request.event.id == later.id else Failure("HTTP 400")

    bus = await harness.open(ack_wait=harness.short)
    await bus.register([SubscriptionSpec("s/t", "workflows", "changed")])
    trigger, stop = FakeTrigger(only_the_second), asyncio.Event()
    await bus.publisher.publish(Publication([of_trigger(1, key="a"), of_trigger(1, key="b")]))
    later = of_trigger(2, key="a")
    await bus.publisher.publish(Publication([later]))
    fake.denied = {"Publish"}
    with capture_logs() as logs:
        work = asyncio.create_task(
            consume(bus.subscription("s/t", prefetch=2), route(trigger), settings(ack_wait=harness.short), stop=stop)
        )

        async def both_failed() -> bool:
            unsettled = {line["object"] for line in logs if line.get("code") == "delivery-unsettled"}
            return unsettled == {"a", "b"}

        await until(both_failed)
    fake.denied = set()

    async def done() -> bool:
        letters = await bus.dead_letters.page()
        return len(letters) == 2 and any(request.event.id == later.id for request in trigger.finished)

    await until(done)
    stop.set()
    await work
