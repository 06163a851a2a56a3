"""The ``kafka`` trigger beyond the contract of all types, on the mock cluster of librdkafka."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest
from confluent_kafka import KafkaError
from pydantic import ValidationError

from kubecdc.cluster.keys import Keys
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.testing.case import NAME, event_of, parameter, running
from kubecdc.workers.triggers.contract import Context
from kubecdc.workers.triggers.kafka import connection, producer
from kubecdc.workers.triggers.kafka.connection import refs, settings
from kubecdc.workers.triggers.kafka.manifest import Kafka
from kubecdc.workers.triggers.kafka.type import KafkaType
from tests.ports import free_port
from tests.workers.kafka.mock import MockCluster, Received, consume, mock_cluster
from tests.workers.pod import Pod, ref, secret_header

TYPE = KafkaType()
LOGIN = {"userSecret": ref("kafka", "user"), "passwordSecret": ref("kafka", "password")}


class Setting:
    """A trigger that sends to the mock cluster."""

    type = TYPE
    secrets = ()

    def __init__(self, url: str, keys: Keys | None = None, **config: Any) -> None:
        self.context = Context("sensor", concurrency=4, keys=keys or Keys())
        self.config: Mapping[str, Any] = {"url": url, "topic": "changes", "timeout": 20, **config}


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[MockCluster]:
    with mock_cluster() as made:
        yield made


@pytest.fixture
def cluster(shared_cluster: MockCluster, request: pytest.FixtureRequest) -> Iterator[MockCluster]:
    yield shared_cluster
    shared_cluster.work()


@pytest.fixture
def topic(cluster: MockCluster, request: pytest.FixtureRequest) -> str:
    """A topic for the test alone."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)[:200]
    cluster.create(name)
    return name


async def received(cluster: MockCluster, topic: str) -> list[Received]:
    return await asyncio.to_thread(consume, cluster.url, topic)


async def send(cluster: MockCluster, topic: str, *numbers: int, **config: Any) -> list[Outcome]:
    async with running(Setting(cluster.url, topic=topic, **config)) as made:  # type: ignore[arg-type]
        return [await made.execute(event_of(number)) for number in numbers or (1,)]


async def test_a_message_has_the_data_the_key_and_the_attributes_of_the_event(cluster: MockCluster, topic: str) -> None:
    event = event_of(7, redelivery="replay", subject="geändert")
    async with running(Setting(cluster.url, topic=topic, headers={"team": "ml", "ce_id": "no"})) as made:  # type: ignore[arg-type]
        assert await made.execute(event) == Success()
    (message,) = await received(cluster, topic)
    assert (message.key, message.value) == (b"uid", bytes(event.data))
    assert message.headers == {
        "content-type": "application/json",
        "team": "ml",
        "ce_redelivery": "replay",
        "ce_specversion": "1.0",
        "ce_id": event.id,
        "ce_source": "workflows",
        "ce_subject": "geändert",
        "ce_type": "resource",
        "ce_time": event.time,
        "ce_partitionkey": "uid",
        "ce_sequence": event.sequence,
        "ce_epoch": "1",
        "idempotency-key": f"workflows/{event.id}/sensor/trigger",
    }


async def test_a_message_passes_on_the_trace_of_its_event(cluster: MockCluster, topic: str) -> None:
    async with running(Setting(cluster.url, topic=topic, headers={"traceparent": "no"})) as made:  # type: ignore[arg-type]
        assert await made.execute(event_of(1, traceparent="00-aa-bb-01")) == Success()
    (message,) = await received(cluster, topic)
    assert {message.headers[name] for name in ("traceparent", "ce_traceparent")} == {"00-aa-bb-01"}


async def test_the_key_decides_the_partition_as_with_javas_clients(cluster: MockCluster, topic: str) -> None:
    hashes = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}  # of Kafka's UtilsTest
    for key in hashes:
        await send(cluster, topic, partitioningKey=key.decode())
    found = {message.key: message.partition for message in await received(cluster, topic)}
    assert found == {key: (number & 0x7FFFFFFF) % 4 for key, number in hashes.items()}


async def test_parameters_and_payload(cluster: MockCluster, topic: str) -> None:
    source = {"dependencyName": "dep", "dataKey": "body.metadata.name"}
    await send(
        cluster,
        topic,
        payload=[{"src": source, "dest": "name"}],
        parameters=[{"src": source, "dest": "partitioningKey"}, {"src": source, "dest": "headers.x"}],
        compress=True,
        flushFrequency=1,
    )
    (message,) = await received(cluster, topic)
    assert (message.key, message.value, message.headers["x"]) == (NAME.encode(), b'{"name":"w1"}', NAME)


async def test_parameters_of_the_trigger_choose_the_topic(cluster: MockCluster) -> None:
    given = [parameter("topic", "body.metadata.name")]
    cluster.create(NAME)
    async with running(Setting(cluster.url), parameters=given) as made:  # type: ignore[arg-type]
        assert await made.execute(event_of(1)) == Success()
    assert len(await received(cluster, NAME)) == 1


async def test_secret_headers_are_sent_and_not_shown(cluster: MockCluster, topic: str, pod: Pod) -> None:
    pod.mount("api", token="s3cr3t")
    setting = Setting(cluster.url, pod.keys, topic=topic, secureHeaders=[secret_header("x-token", "api", "token")])
    async with running(setting) as made:  # type: ignore[arg-type]
        request = made.prepare(event_of(1))
        assert await made.trigger.execute(request) == Success()
        pod.mount("api", token="rotated")
        assert await made.trigger.execute(request) == Success()
        assert made.trigger.preview(request)["headers"]["x-token"] == "***"  # type: ignore[index]
    assert [message.headers["x-token"] for message in await received(cluster, topic)] == ["s3cr3t", "rotated"]


async def test_events_of_a_key_stay_in_order(cluster: MockCluster, topic: str) -> None:
    async with running(Setting(cluster.url, topic=topic)) as made:  # type: ignore[arg-type]

        async def one(key: int) -> None:
            for number in range(20):
                assert await made.execute(event_of(number, partitionkey=f"k{key}")) == Success()

        await asyncio.gather(*(one(key) for key in range(8)))
    found = await received(cluster, topic)
    for key in range(8):
        ids = [message.headers["ce_id"] for message in found if message.key == f"k{key}".encode()]
        assert ids == [event_of(number).id for number in range(20)]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KafkaError.MSG_SIZE_TOO_LARGE, "the message is larger than the topic accepts"),
        (KafkaError.INVALID_RECORD, "Broker: "),
        (KafkaError.POLICY_VIOLATION, "Broker: "),
    ],
)
async def test_what_the_broker_refuses_for_good_is_a_dead_letter(
    cluster: MockCluster, topic: str, error: int, reason: str
) -> None:
    cluster.refuse(error)
    (outcome,) = await send(cluster, topic)
    assert isinstance(outcome, Failure)
    assert outcome.reason.startswith(f"{topic} at {cluster.url}: {reason}")


async def test_a_topic_that_is_not_there_is_a_dead_letter(
    cluster: MockCluster, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "UNKNOWN_TOPIC", 300)
    cluster.forget(topic)
    (outcome,) = await send(cluster, topic)
    assert isinstance(outcome, Failure)
    assert f"{topic} at {cluster.url}: there is no such topic" in outcome.reason


async def test_a_message_that_is_too_large_for_the_client_is_a_dead_letter(cluster: MockCluster, topic: str) -> None:
    event = msgspec.structs.replace(event_of(1), data=msgspec.Raw(b'"' + b"x" * 100_000_000 + b'"'))
    async with running(Setting(cluster.url, topic=topic)) as made:  # type: ignore[arg-type]
        outcome = await made.execute(event)
    assert isinstance(outcome, Failure)
    assert "larger than the topic accepts" in outcome.reason


@pytest.mark.parametrize("error", [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN])
async def test_what_may_pass_is_tried_again(cluster: MockCluster, topic: str, error: int) -> None:
    cluster.refuse(error)
    async with running(Setting(cluster.url, topic=topic)) as made:  # type: ignore[arg-type]
        outcome = await made.execute(event_of(1))
        assert isinstance(outcome, Retry)
        cluster.work()
        async with asyncio.timeout(60):  # the library remembers what it was told of the topic for a while
            while await made.execute(event_of(1)) != Success():  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.05)


async def test_a_replica_that_is_missing_is_waited_for(cluster: MockCluster, topic: str) -> None:
    cluster.refuse(KafkaError.NOT_ENOUGH_REPLICAS, times=2)
    assert await send(cluster, topic) == [Success()]
    assert len(await received(cluster, topic)) == 1


async def test_a_broker_that_is_away_is_tried_again_with_what_is_wrong(cluster: MockCluster, topic: str) -> None:
    url = f"127.0.0.1:{free_port()}"
    async with running(Setting(url, timeout=1)) as made:  # type: ignore[arg-type]
        outcome = await made.execute(event_of(1))
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith(f"changes at {url}: ")
    assert "Connection refused" in outcome.reason
    assert not outcome.ours


async def test_a_broker_that_comes_back_gets_what_waited(cluster: MockCluster, topic: str) -> None:
    async with running(Setting(cluster.url, topic=topic, timeout=60)) as made:  # type: ignore[arg-type]
        assert await made.execute(event_of(1)) == Success()
        cluster.down()
        waiting = asyncio.create_task(made.execute(event_of(2)))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        cluster.work()
        assert await waiting == Success()
    assert [m.headers["ce_id"] for m in await received(cluster, topic)] == [event_of(1).id, event_of(2).id]


async def test_triggers_with_one_connection_share_a_producer_and_the_last_one_closes_it(
    cluster: MockCluster, topic: str
) -> None:
    first, second = Setting(cluster.url, topic=topic), Setting(cluster.url, topic=topic, partitioningKey="b")
    other = Setting(cluster.url, topic=topic, compress=True)
    async with running(first) as a:  # type: ignore[arg-type]
        async with running(second) as b, running(other) as c:  # type: ignore[arg-type]
            for made in (a, b, c):
                assert await made.execute(event_of(1)) == Success()
            assert len(producer._shared) == 2
        assert len(producer._shared) == 1
        assert await a.execute(event_of(2)) == Success()
    assert producer._shared == {}


async def test_a_rotated_password_makes_a_new_connection(cluster: MockCluster, pod: Pod) -> None:
    pod.mount("kafka", user="me", password="old")
    sasl = {"mechanism": "PLAIN", **LOGIN}
    async with running(Setting(cluster.url, pod.keys, sasl=sasl, timeout=1)) as made:  # type: ignore[arg-type]
        outcomes = [await made.execute(event_of(1))]
        pod.mount("kafka", password="new")
        outcomes.append(await made.execute(event_of(1)))
        assert [dict(given)["sasl.password"] for _, given in producer._shared] == ["new"]
    assert [type(outcome) for outcome in outcomes] == [Retry, Retry], "the mock cluster takes no password"
    assert not [word for outcome in outcomes for word in ("old", "new") if word in repr(outcome)]


async def test_a_certificate_that_is_none_is_said_and_tried_again(cluster: MockCluster, pod: Pod) -> None:
    pod.mount("ca", ca_crt="no certificate")
    tls = {"caCertSecret": ref("ca", "ca.crt")}
    async with running(Setting(cluster.url, pod.keys, tls=tls)) as made:  # type: ignore[arg-type]
        outcome = await made.execute(event_of(1))
    assert isinstance(outcome, Retry)
    assert "ssl.ca.pem" in outcome.reason


async def test_closing_takes_little_time_whatever_the_brokers_do(cluster: MockCluster, topic: str) -> None:
    async with running(Setting(cluster.url, topic=topic, timeout=600)) as made:  # type: ignore[arg-type]
        assert await made.execute(event_of(1)) == Success()
        cluster.hang()
        waiting = asyncio.create_task(made.execute(event_of(2)))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(60):  # the message has 600 s
            await made.trigger.close()


def of(**config: Any) -> dict[str, object]:
    valid = Kafka.model_validate({"url": "k1:9093, k2:9093", "topic": "t", **config})
    values = {"user": "me", "password": "pass", "ca": "CA", "cert": "CERT", "key": "KEY"}
    return dict(settings(valid, {ref: values[ref.key] for ref in refs(valid)}))


def test_the_settings_of_a_connection() -> None:
    assert of()["security.protocol"] == "PLAINTEXT"
    assert of()["bootstrap.servers"] == "k1:9093,k2:9093"
    assert (of()["enable.idempotence"], of()["message.timeout.ms"], of(timeout=0)["message.timeout.ms"]) == (
        True,
        30_000,
        30_000,
    )
    sasl = {
        "mechanism": "SCRAM-SHA-512",
        "userSecret": ref("kafka", "user"),
        "passwordSecret": ref("kafka", "password"),
    }
    assert of(sasl=sasl)["security.protocol"] == "SASL_PLAINTEXT"
    both = of(sasl=sasl, tls={"enabled": True}, compress=True, flushFrequency=500)
    assert both["security.protocol"] == "SASL_SSL"
    assert (both["sasl.mechanism"], both["sasl.username"], both["sasl.password"]) == ("SCRAM-SHA-512", "me", "pass")
    assert (both["compression.type"], both["linger.ms"]) == ("snappy", 500)
    assert not [name for name in both if name.startswith(("ssl.", "enable.ssl"))], (
        "verified by the system's authorities"
    )
    certificates = {
        "caCertSecret": ref("kafka", "ca"),
        "clientCertSecret": ref("kafka", "cert"),
        "clientKeySecret": ref("kafka", "key"),
    }
    with_tls = of(tls=certificates)
    assert [with_tls[f"ssl.{name}.pem"] for name in ("ca", "certificate", "key")] == ["CA", "CERT", "KEY"]
    unverified = of(tls={"insecureSkipVerify": True})
    assert unverified["enable.ssl.certificate.verification"] is False


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"url": "http://kafka:9092"}, "is not a broker"),
        ({"url": "kafka"}, "is not a broker"),
        ({"url": ""}, "is not a broker"),
        ({"topic": "a b"}, "is not a topic"),
        ({"topic": ".."}, "is not a topic"),
        ({"topic": "x" * 250}, "is not a topic"),
        (
            {"sasl": {"mechanism": "GSSAPI", **LOGIN}},
            "not supported",
        ),
        (
            {"sasl": {"mechanism": "plain", **LOGIN}},
            "is not a mech",
        ),
        ({"sasl": {"userSecret": ref("a", "b")}}, "required"),
        ({"version": "latest"}, "is not a version"),
        ({"requiredAcks": 2}, "-1, 0 or 1"),
        ({"flushFrequency": -1}, "greater than or equal"),
        ({"headers": {"": "x"}}, "without a name"),
    ],
)
def test_a_manifest_that_is_wrong(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Kafka.model_validate({"url": "[::1]:9092", "topic": "t", **config})


def test_fields_of_argo_without_effect_are_told() -> None:
    config = Kafka.model_validate(
        {"url": "k:9092", "topic": "t", "partition": 0, "requiredAcks": 1, "version": "2.5.0", "partitioningKey": "x"}
    )
    assert [notice.partition(" has no effect")[0] for notice in TYPE.notices(config)] == [
        "requiredAcks: 1",
        "partition",
        "version",
    ]
    assert list(TYPE.notices(Kafka.model_validate({"url": "k:9092", "topic": "t"}))) == []


def test_the_client_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubecdc.workers.triggers.kafka.type.find_spec", lambda name: None)
    (finding,) = TYPE.missing(Kafka.model_validate({"url": "k:9092", "topic": "t"}), frozenset())
    assert finding.hint == "pip install 'kubecdc[kafka]'"
