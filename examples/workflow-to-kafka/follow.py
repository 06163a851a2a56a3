"""A consumer that follows the Workflows: prints each change once, in the order in which it happened.

    python follow.py 127.0.0.1:9092 workflow-changes

An event may arrive more than once. Its key is the Workflow, and ``ce_sequence`` grows with each change of it, so what
is not newer than what was handled before is a repetition. The offset is committed after a change is handled.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaException


@dataclass(frozen=True)
class Change:
    """A change of a Workflow. ``place`` sorts as text: the later of two changes is the greater."""

    workflow: str
    place: tuple[str, str]
    summary: dict[str, Any]

    def __str__(self) -> str:
        name = f"{self.summary['namespace']}/{self.summary['name']}"
        return " ".join(filter(None, (self.summary["change"], name, self.summary["message"])))


def follow(brokers: str, topic: str, group: str = "workflow-follower") -> Iterator[Change]:
    """The changes, each once. The next one is asked for when the one before is handled. Never ends.

    Raises KafkaException.
    """
    settings = {"bootstrap.servers": brokers, "group.id": group}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([topic])
    handled: dict[str, tuple[str, str]] = {}  # keep this where the work is kept, to know repetitions after a restart
    try:
        while True:
            message = consumer.poll(1.0)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                raise KafkaException(error)
            given: Any = message.headers() or []
            headers = {name: value.decode() for name, value in given}
            place = (headers.get("ce_timeline", "0").zfill(10), headers["ce_sequence"])
            workflow = (message.key() or b"").decode()
            if place > handled.get(workflow, ("", "")):
                yield Change(workflow, place, json.loads(message.value() or b"{}"))
                handled[workflow] = place
            consumer.commit(message=message, asynchronous=False)
    finally:
        consumer.close()


if __name__ == "__main__":
    for change in follow(*sys.argv[1:3]):
        print(change, flush=True)
