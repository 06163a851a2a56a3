"""The fake does what the documentation of the service says, where it matters here; and it runs as a process."""

from __future__ import annotations

import asyncio
import json
import sys
from urllib.request import Request, urlopen

import pytest

from kubecdc.storage.contracts import Publication, SubscriptionSpec
from kubecdc.storage.pubsub import PubSubSettings, open_bus
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, events
from tests.storage.pubsub.conftest import PROJECT, PubSubHarness
from tests.storage.pubsub.fake import FakePubSub, filters
from tests.storage.pubsub.fake.messages import Refused

SPEC = SubscriptionSpec("billing", SOURCE, SUBJECT)


@pytest.mark.parametrize(
    ("text", "attributes", "expected"),
    [
        ("", {}, True),
        ("attributes:a", {"a": ""}, True),
        ("NOT attributes:a", {"a": ""}, False),
        ("-attributes:a", {}, True),
        ('attributes.a = "x\\"y"', {"a": 'x"y'}, True),
        ('attributes.a != "x"', {}, True),
        ('hasPrefix(attributes.a, "x")', {"a": "xy"}, True),
        ('attributes.a = "1" AND attributes.b = "2" AND attributes:c', {"a": "1", "b": "2"}, False),
        ('(attributes.a = "1" AND NOT attributes:b) OR attributes.b = "2"', {"a": "0", "b": "2"}, True),
        ('(attributes.a = "1" AND NOT attributes:b) OR attributes.b = "2"', {"a": "1", "b": "3"}, False),
    ],
)
def test_filters(text: str, attributes: dict[str, str], expected: bool) -> None:
    assert filters.parsed(text)(attributes) is expected


@pytest.mark.parametrize(
    "text",
    [
        "attributes:a AND attributes:b OR attributes:c",
        "attributes:a AND",
        "(attributes:a",
        "attributes:a attributes:b",
        "body = 1",
        'attributes.a = "' + "x" * 256 + '"',
    ],
)
def test_filters_that_are_refused(text: str) -> None:
    with pytest.raises(Refused):
        filters.parsed(text)


async def test_a_nack_repeats_every_later_message_of_the_key(harness: PubSubHarness, fake: FakePubSub) -> None:
    queue = await harness.queue()
    await queue.register([SPEC])
    await queue.publisher.publish(Publication(events(range(4))))
    (subscription,) = [one for one in fake.subscriptions.values() if one.lanes]
    for exactly_once, repeated in ((True, 3), (False, 4)):
        subscription.config.enable_exactly_once_delivery = exactly_once
        fake.advance(60)
        taken = subscription.take(10, object())
        subscription.ack([taken[1].ack_id])
        assert subscription.take(10, object()) == [], "the key is with one client"
        subscription.modify([taken[0].ack_id], 0)
        fake.advance(60)
        assert len(subscription.take(10, object())) == repeated
        subscription.lapse(every=True)
        if exactly_once:
            for lane in subscription.lanes.values():
                for entry in lane:
                    entry.state = "ready"


async def test_it_runs_as_a_process_with_faults_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.storage.pubsub.fake", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    address, admin = (await process.stdout.readline()).decode().split()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", address)

    def ask(path: str, method: str = "POST") -> object:
        with urlopen(Request(f"http://127.0.0.1:{admin}{path}", method=method)) as answer:
            return json.load(answer)

    queue = await open_bus(PubSubSettings(PROJECT, "kubecdc"), holder="one")
    await queue.register([SPEC])
    await asyncio.to_thread(ask, "/fault?method=Publish&when=after")
    with pytest.raises(Exception, match="injected"):
        await queue.publisher.publish(Publication(events([1])))
    for command in ("/lapse", "/advance?seconds=1", "/duplicate?n=1"):
        assert await asyncio.to_thread(ask, command) == {}
    state = await asyncio.to_thread(ask, "/state", "GET")
    assert isinstance(state, dict)
    assert sum(one["waiting"] for one in state.values()) == 1
    await queue.close()
    process.terminate()
    assert await process.wait() == 0
