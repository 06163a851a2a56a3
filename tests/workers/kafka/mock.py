"""The mock cluster of librdkafka, with the faults that its C interface can inject.

https://github.com/confluentinc/librdkafka/blob/master/src/rdkafka_mock.h
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import files
from typing import Any

from confluent_kafka import Consumer, TopicPartition

PRODUCE = 0  # the number of the request in Kafka's protocol
_PRODUCER, _UNKNOWN = 0, -1


@dataclass(frozen=True)
class Received:
    """A message on a topic."""

    partition: int
    key: bytes
    value: bytes
    headers: dict[str, str]


def _library() -> ctypes.CDLL:
    """The librdkafka that the package has brought."""
    for file in files("confluent-kafka") or ():
        if file.name.startswith("librdkafka"):
            found = ctypes.CDLL(str(file.locate()))
            for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
                getattr(found, name).restype = ctypes.c_void_p
            found.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
            return found
    raise AssertionError("confluent-kafka has no librdkafka in its package")


class MockCluster:
    """One broker in this process."""

    def __init__(self, library: ctypes.CDLL, handle: int) -> None:
        self._library = library
        self._cluster = ctypes.c_void_p(handle)
        self._undo: dict[str, Callable[[], None]] = {}  # each call may take a second
        self.url: str = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def create(self, topic: str, partitions: int = 4) -> None:
        self._call("topic_create", topic.encode(), partitions, 1)

    def forget(self, topic: str) -> None:
        """Say of the topic that there is none."""
        self._call("topic_set_error", topic.encode(), 3)

    def refuse(self, error: int, times: int = 1000) -> None:
        """Answer each message with the error."""
        self._undo["errors"] = lambda: self._call("clear_request_errors", ctypes.c_int16(PRODUCE))
        errors = (ctypes.c_int * times)(*[error] * times)
        self._call("push_request_errors_array", ctypes.c_int16(PRODUCE), ctypes.c_size_t(times), errors)

    def work(self) -> None:
        """End all faults."""
        while self._undo:
            self._undo.popitem()[1]()

    def hang(self) -> None:
        self._undo["hang"] = lambda: self._call("broker_set_rtt", ctypes.c_int32(1), 0)
        self._call("broker_set_rtt", ctypes.c_int32(1), 300_000)

    def down(self) -> None:
        self._undo["down"] = lambda: self._call("broker_set_up", ctypes.c_int32(1))
        self._call("broker_set_down", ctypes.c_int32(1))

    def _call(self, name: str, *args: Any) -> None:
        getattr(self._library, f"rd_kafka_mock_{name}")(self._cluster, *args)


@contextmanager
def mock_cluster() -> Iterator[MockCluster]:
    library = _library()
    said = ctypes.create_string_buffer(512)
    client = library.rd_kafka_new(_PRODUCER, ctypes.c_void_p(library.rd_kafka_conf_new()), said, ctypes.c_size_t(512))
    assert client, said.value
    handle = library.rd_kafka_mock_cluster_new(ctypes.c_void_p(client), 1)
    try:
        yield MockCluster(library, handle)
    finally:
        library.rd_kafka_mock_cluster_destroy(ctypes.c_void_p(handle))
        library.rd_kafka_destroy(ctypes.c_void_p(client))


def consume(url: str, topic: str) -> list[Received]:
    """Everything on the topic, in the order of each partition. Blocks."""
    consumer = Consumer({"bootstrap.servers": url, "group.id": "test", "enable.partition.eof": True, "log_level": 0})
    try:
        metadata = consumer.list_topics(topic, timeout=30).topics[topic]
        parts = [TopicPartition(topic, number, 0) for number in metadata.partitions]
        left = {part.partition for part in parts if consumer.get_watermark_offsets(part, timeout=30)[1] > 0}
        consumer.assign([part for part in parts if part.partition in left])
        found: list[Received] = []
        while left:
            message = consumer.poll(30)
            assert message is not None, "the broker does not answer"
            error = message.error()
            if error is not None:
                assert error.code() == -191, error  # the end of a partition
                left.discard(message.partition() or 0)
                continue
            given: Any = message.headers() or []
            headers = {name: value.decode() for name, value in given}
            found.append(Received(message.partition() or 0, message.key() or b"", message.value() or b"", headers))
        return found
    finally:
        consumer.close()
