"""boto3 alone: batches of ten into a FIFO queue, and out of it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config

BATCH = 10


def client(endpoint: str, threads: int) -> Any:
    """A client for so many threads."""
    config = Config(max_pool_connections=threads)
    return boto3.client("sqs", endpoint_url=endpoint, region_name="eu-west-1", config=config)


def publish(endpoint: str, queue: str, bodies: list[str], threads: int) -> float:
    """Send all, each in a group of its own. Returns how many a second."""
    sqs, attributes = client(endpoint, threads), {"order": {"DataType": "String", "StringValue": "0" * 29}}

    def send(first: int) -> None:
        entries = [
            {
                "Id": str(number),
                "MessageBody": bodies[number],
                "MessageGroupId": f"workflows.argoproj.io/default/bare-{number}",
                "MessageDeduplicationId": f"{begin}-{number}",
                "MessageAttributes": attributes,
            }
            for number in range(first, min(first + BATCH, len(bodies)))
        ]
        sqs.send_message_batch(QueueUrl=queue, Entries=entries)

    begin = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(send, range(0, len(bodies), BATCH)))
    return len(bodies) / (time.monotonic() - begin)


def consume(endpoint: str, queue: str, count: int, threads: int) -> float:
    """Receive and delete so many. Returns how many a second."""
    sqs, left, lock, end = client(endpoint, threads), count, threading.Lock(), 0.0

    def receive(_: int) -> None:
        nonlocal left, end
        while left > 0:
            reply = sqs.receive_message(
                QueueUrl=queue,
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=3,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
            messages = reply.get("Messages") or []
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
            if entries:
                sqs.delete_message_batch(QueueUrl=queue, Entries=entries)
            with lock:
                left -= len(entries)
                end = time.monotonic() if entries else end

    begin = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(receive, range(threads)))
    return count / (end - begin)
