"""boto3 in threads: sends messages to a FIFO queue, ten a call and ten calls at a time, receives them and deletes them.

The next ten calls begin when the ten before them are confirmed, as if there was a checkpoint after each hundred.

``rates`` prints how many a second; ``commits`` how many seconds so many messages take at once, over connections that
are there already.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from statistics import median
from typing import Any

import boto3
import msgspec
from botocore.config import Config

from benchmarks.objects import KINDS

ENTRIES = 10  # messages in a call
SENDERS, RECEIVERS, DELETERS = 10, 4, 4
OBJECTS = 1000
WARM, MEASURED = 10, 10  # times that are not counted, and that are counted


class Queue:
    """A fresh queue."""

    def __init__(self) -> None:
        self._sqs: Any = boto3.client("sqs", config=Config(max_pool_connections=SENDERS))
        attributes = {"FifoQueue": "true", "DeduplicationScope": "messageGroup"}
        self._url = self._sqs.create_queue(QueueName="bare.fifo", Attributes=attributes)["QueueUrl"]
        self._numbers = count()

    def entries(self) -> list[dict[str, str]]:
        """The next messages."""
        return [
            {
                "Id": str(index),
                "MessageBody": KINDS["workflow"].object(number % OBJECTS, number).decode(),
                "MessageGroupId": f"object-{number % OBJECTS}",
                "MessageDeduplicationId": str(number),
            }
            for index, number in zip(range(ENTRIES), self._numbers, strict=False)
        ]

    def send(self, entries: list[dict[str, str]]) -> None:
        assert not self._sqs.send_message_batch(QueueUrl=self._url, Entries=entries).get("Failed")

    def receive(self) -> list[dict[str, str]]:
        reply = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=ENTRIES, WaitTimeSeconds=1)
        return [
            {"Id": str(index), "ReceiptHandle": found["ReceiptHandle"]}
            for index, found in enumerate(reply.get("Messages") or [])
            if found["Body"]
        ]

    def delete(self, entries: list[dict[str, str]]) -> None:
        assert not self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries).get("Failed")


def rates(queue: Queue, events: int) -> dict[str, float]:
    calls = [queue.entries() for _ in range(events // ENTRIES)]
    with ThreadPoolExecutor(SENDERS) as senders:
        begun = time.perf_counter()
        for start in range(0, len(calls), SENDERS):
            list(senders.map(queue.send, calls[start : start + SENDERS]))
        sent = time.perf_counter()
    deletions: list[Future[None]] = []
    received: list[int] = []

    def receive() -> None:
        while sum(received) < events:
            if entries := queue.receive():
                received.append(len(entries))
                deletions.append(deleters.submit(queue.delete, entries))

    with ThreadPoolExecutor(RECEIVERS) as receivers, ThreadPoolExecutor(DELETERS) as deleters:
        begun_to_receive = time.perf_counter()
        for receiver in [receivers.submit(receive) for _ in range(RECEIVERS)]:
            receiver.result()
        for deletion in deletions:
            deletion.result()
        done = time.perf_counter()
    return {"publish": events / (sent - begun), "consume": events / (done - begun_to_receive)}


def commits(queue: Queue, events: int) -> dict[str, float]:
    seconds = []
    with ThreadPoolExecutor(SENDERS) as senders:
        for _ in range(WARM + MEASURED):
            calls = [queue.entries() for _ in range(events // ENTRIES)]
            begun = time.perf_counter()
            list(senders.map(queue.send, calls))
            seconds.append(time.perf_counter() - begun)
    return {"seconds": median(seconds[WARM:])}


if __name__ == "__main__":
    print(msgspec.json.encode({"rates": rates, "commits": commits}[sys.argv[1]](Queue(), int(sys.argv[2]))).decode())
