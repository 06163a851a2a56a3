"""The ``kafka`` trigger on Kafka itself: what it refuses, TLS and passwords, and a broker that is killed under load."""

from __future__ import annotations

import asyncio
import io
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fastavro import parse_schema, schemaless_reader

from kubecdc.current import Current
from kubecdc.storage.contracts import Publication
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.redelivery import Redelivery
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.sqlite.bus import SqliteBus
from kubecdc.storage.testing.actors import known
from kubecdc.workers import worker
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.plan import plan_of, subscriptions
from kubecdc.workers.testing.case import event_of, running
from kubecdc.workers.triggers.kafka import producer
from tests.workers.kafka import broker
from tests.workers.kafka.broker import PASSWORD, USER, Kafka
from tests.workers.kafka.mock import consume
from tests.workers.kafka.registries import Apicurio
from tests.workers.kafka.test_kafka import Setting
from tests.workers.pod import Pod, ref
from tests.workers.support import event, sensor

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

KEYS, ROUNDS, KILLS = 40, 120, 3


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    broker.JARS.require()
    made = Kafka(tmp_path_factory.mktemp("kafka"))
    made.start()
    yield made
    made.kill()


@pytest.fixture
def mounted(kafka: Kafka, pod: Pod) -> Pod:
    """The password, and the authority of the broker."""
    pod.mount("kafka", user=USER, password=PASSWORD, ca=(kafka.folder / "ca.crt").read_text())
    return pod


SECURE: dict[str, Any] = {
    "tls": {"caCertSecret": ref("kafka", "ca")},
    "sasl": {"userSecret": ref("kafka", "user"), "passwordSecret": ref("kafka", "password")},
}


async def sent(url: str, made: Event | None = None, pod: Pod | None = None, **config: Any) -> Outcome:
    setting = Setting(url, pod.keys if pod else None, **config)
    async with running(setting) as trigger:  # type: ignore[arg-type]
        return await trigger.execute(made or event_of(1))


async def test_what_the_broker_refuses_is_a_dead_letter(kafka: Kafka) -> None:
    kafka.create("small", **{"max.message.bytes": "2000"})
    large = msgspec.structs.replace(event_of(1), data=msgspec.Raw(b'"' + b"x" * 10_000 + b'"'))
    outcome = await sent(kafka.url, large, topic="small")
    assert isinstance(outcome, Failure)
    assert outcome.reason.startswith(f"small at {kafka.url}: the message is larger than the topic accepts")
    assert await sent(kafka.url, topic="small", timeout=60) == Success()
    outcome = await sent(kafka.url, topic="nowhere", timeout=60)
    assert isinstance(outcome, Failure)
    assert outcome.reason.startswith(f"nowhere at {kafka.url}: there is no such topic")


async def test_a_password_over_tls_with_the_authority_of_the_manifest(kafka: Kafka, mounted: Pod) -> None:
    kafka.create("secure")
    assert await sent(kafka.secure_url, pod=mounted, topic="secure", timeout=60, **SECURE) == Success()
    assert len(await asyncio.to_thread(consume, kafka.url, "secure")) == 1


async def test_who_is_not_trusted_gets_nothing_and_it_is_said_why(kafka: Kafka, mounted: Pod) -> None:
    without_ca = {**SECURE, "tls": {"enabled": True}}
    system = await sent(kafka.secure_url, pod=mounted, topic="secure", timeout=3, **without_ca)
    assert isinstance(system, Retry)
    assert "certificate verify failed" in system.reason
    mounted.mount("kafka", password="another-word")
    refused = await sent(kafka.secure_url, pod=mounted, topic="secure", timeout=3, **SECURE)
    assert isinstance(refused, Retry)
    assert "Authentication failed" in refused.reason
    assert "another-word" not in refused.reason


async def pending(bus: SqliteBus) -> int:
    return sum(known(subscription.pending) for subscription in await bus.subscriptions())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - a broker tells nobody
            await asyncio.sleep(0.01)


async def until_fewer(bus: SqliteBus, than: int) -> None:
    """Wait until fewer events are pending."""
    async with asyncio.timeout(200):
        while await pending(bus) >= than:  # noqa: ASYNC110 - nor does a file
            await asyncio.sleep(0.01)


async def test_a_broker_that_is_killed_under_load_loses_nothing_and_keeps_the_order(
    kafka: Kafka, tmp_path: Path
) -> None:
    kafka.create("changes")
    trigger = {"url": kafka.url, "topic": "changes", "timeout": 5}
    made = sensor({"template": {"name": "t", "kafka": trigger}})
    backoff = {"duration": "50ms", "cap": "500ms"}
    bus = await open_bus(SqliteSettings(path=tmp_path / "bus.db", ack_wait=timedelta(seconds=30)), holder="w")
    await bus.register(subscriptions([made]))
    stop = asyncio.Event()
    working = asyncio.create_task(
        worker.run(
            bus, Current(plan_of([made])), Redelivery.model_validate({"backoff": backoff}), concurrency=64, stop=stop
        )
    )
    written: dict[str, list[str]] = defaultdict(list)

    async def write(rounds: range) -> None:
        for number in rounds:
            events = [event(number, key=f"k{key}") for key in range(KEYS)]
            for each in events:
                written[each.partitionkey].append(each.id)
            await bus.publisher.publish(Publication(events))

    def in_trouble() -> bool:
        return any(shared.trouble for shared in producer._shared.values())

    share = ROUNDS // (KILLS + 1)
    for kill in range(KILLS):
        await write(range(kill * share, (kill + 1) * share))
        await until_fewer(bus, await pending(bus) - KEYS)  # some are delivered, most are not
        kafka.kill()
        await until(in_trouble)
        await asyncio.to_thread(kafka.start)
    await write(range(KILLS * share, ROUNDS))
    await until_fewer(bus, 1)
    stop.set()
    await working
    assert await bus.dead_letters.page() == []
    await bus.close()
    arrived: dict[str, list[str]] = defaultdict(list)
    repeated = 0
    for message in await asyncio.to_thread(consume, kafka.url, "changes"):
        ids, found = arrived[message.key.decode()], message.headers["ce_id"]
        if found in ids:
            repeated += 1
        else:
            ids.append(found)
    print(f"{ROUNDS * KEYS} events, {KILLS} kills: {repeated} repeated")
    assert arrived == written, "the first copy of each, in the order of its key"


@pytest.fixture
def apicurio(tmp_path: Path) -> Iterator[Apicurio]:
    Apicurio.require()
    made = Apicurio(tmp_path)
    made.start()
    yield made
    made.kill()


async def test_a_consumer_reads_what_a_schema_of_a_real_registry_has_written(kafka: Kafka, apicurio: Apicurio) -> None:
    kafka.create("avro")
    inner = {"type": "record", "name": "io.example.Name", "fields": [{"name": "text", "type": "string"}]}
    fields = [{"name": "name", "type": "io.example.Name"}, {"name": "count", "type": "long", "default": 7}]
    outer = {"type": "record", "name": "Change", "fields": fields}
    apicurio.register("name", inner)
    reference = {"name": "io.example.Name", "subject": "name", "version": 1}
    number = apicurio.register("avro-value", outer, references=[reference])
    payload = [{"src": {"dependencyName": "dep", "dataKey": "body.metadata.name"}, "dest": "name.text"}]
    registry = {"url": apicurio.url, "schemaId": number}
    config: dict[str, Any] = {"topic": "avro", "timeout": 60, "payload": payload}
    async with running(Setting(kafka.url, schemaRegistry=registry, **config)) as trigger:  # type: ignore[arg-type]
        assert await trigger.execute(event_of(1)) == Success()
        unknown = await sent(kafka.url, **config, schemaRegistry={**registry, "schemaId": 999})
        assert isinstance(unknown, Retry)
        assert unknown.reason.startswith(f"schema 999 of {apicurio.url}: 404 Not Found: ")
        apicurio.kill()
        assert await trigger.execute(event_of(2)) == Success(), "a schema is read once"
        assert isinstance(await sent(kafka.url, **config, schemaRegistry=registry), Retry)
    known: dict[str, Any] = {}
    parse_schema(inner, known)
    schema = parse_schema(outer, known)
    messages = await asyncio.to_thread(consume, kafka.url, "avro")
    assert [message.value[:5] for message in messages] == [b"\0" + number.to_bytes(4, "big")] * 2
    read = [schemaless_reader(io.BytesIO(message.value[5:]), schema, None) for message in messages]
    assert read == [{"name": {"text": "w1"}, "count": 7}] * 2
