"""The ``kafka`` trigger: one message for each event."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException

from kubecdc.cluster.keys import Keys
from kubecdc.manifest.mounts import Unreadable
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.triggers.kafka.connection import Settings, refs, settings
from kubecdc.workers.triggers.kafka.manifest import Kafka
from kubecdc.workers.triggers.kafka.producer import SharedProducer, Unusable, acquire, release
from kubecdc.workers.triggers.kafka.request import KafkaRequest, prepare
from kubecdc.workers.triggers.kafka.undone import Undone

if TYPE_CHECKING:
    from kubecdc.workers.triggers.kafka.registry import Registry

_NO_TOPIC = {KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART}
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}
_REFUSED = {  # of this message, whenever it is sent
    KafkaError._INVALID_ARG,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.INVALID_RECORD,
    KafkaError.POLICY_VIOLATION,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
}


class KafkaTrigger:
    """Sends the event. It is done once all replicas in sync have it. With a registry, its value is in Avro."""

    def __init__(self, keys: Keys, registry: Registry | None = None) -> None:
        self._keys = keys
        self._registry = registry
        self._producer: SharedProducer | None = None
        self._settings: Settings = ()
        self._closing: set[asyncio.Task[None]] = set()

    def prepare(self, request: TriggerRequest[Kafka]) -> KafkaRequest:
        """Apply ``parameters`` and ``payload``. Raises ParameterError."""
        return prepare(request)

    async def execute(self, request: KafkaRequest) -> Outcome:
        """Send the message once. Its deadline is the manifest's ``timeout``; reading the schema has the same again.

        Secrets are read for each message; if they have changed, it goes over a new connection.
        """
        config = request.config
        needed = refs(config)
        try:
            given = settings(config, await self._keys.texts(needed))
            secrets = {header.name: await self._keys.text(header.value_from.ref) for header in config.secure_headers}
            value = await self._value(request)
        except Unreadable as e:
            return Retry(str(e), ours=e.ours)
        except Undone as e:
            return e.outcome
        outcome = await self._send(request, value, given, secrets)
        if isinstance(outcome, Retry):
            self._keys.doubt(needed)  # a broker that refuses them does not say so in so many words
        return outcome

    async def _value(self, request: KafkaRequest) -> bytes:
        """What is sent. Raises Undone, Unreadable."""
        if self._registry is None:
            return request.value
        seconds = request.config.timeout
        schema = await self._registry.schema(seconds)
        return await schema.encoded(request.value, seconds)

    async def _send(self, request: KafkaRequest, value: bytes, given: Settings, secrets: dict[str, str]) -> Outcome:
        config = request.config
        where = f"{config.topic} at {config.url}"
        headers = [(name, text.encode(errors="replace")) for name, text in {**request.headers, **secrets}.items()]
        producer = self._connected(given)
        error: KafkaError | None
        try:
            async with asyncio.timeout(config.timeout):
                error = await producer.send(config.topic, request.key, value, headers)
        except TimeoutError:
            trouble = f": {producer.trouble}" if producer.trouble else ""
            return Retry(_hide(f"{where}: not confirmed within {config.timeout} s{trouble}", given))
        except BufferError:
            return Retry(f"{where}: too much waits for the brokers already", ours=True)
        except Unusable as e:
            return Retry(_hide(f"{where}: {e}", given))
        except KafkaException as e:
            error = e.args[0]
        return Success() if error is None else _judge(error, producer, where, given)

    def _connected(self, given: Settings) -> SharedProducer:
        """The producer with these settings; the one before is released."""
        if self._producer is None or self._producer.broken or given != self._settings:
            before, self._producer, self._settings = self._producer, acquire(given), given
            if before:
                task = asyncio.create_task(release(before))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        return self._producer

    def preview(self, request: KafkaRequest) -> dict[str, object]:
        """The message that `execute` would send, without secrets."""
        return request.preview()

    async def close(self) -> None:
        """Release the connection."""
        before, self._producer = self._producer, None
        if before:
            await release(before)
        await asyncio.gather(*self._closing)


def _judge(error: KafkaError, producer: SharedProducer, where: str, given: Settings) -> Outcome:
    code, said = error.code(), error.str()
    producer.broken = producer.broken or error.fatal() or code == KafkaError._FATAL
    if code in _NO_TOPIC:
        return Failure(f"{where}: there is no such topic ({said})")
    if code in _TOO_LARGE:
        return Failure(f"{where}: the message is larger than the topic accepts ({said})")
    if code in _REFUSED:
        return Failure(f"{where}: {said}")
    trouble = f": {producer.trouble}" if producer.trouble and code == KafkaError._MSG_TIMED_OUT else ""
    return Retry(_hide(f"{where}: {said}{trouble}", given))


def _hide(text: str, given: Settings) -> str:
    """The text of the library without the user and the password, which a broker may repeat."""
    for name, value in given:
        if name in ("sasl.password", "sasl.username") and value:
            text = text.replace(str(value), "***")
    return text
