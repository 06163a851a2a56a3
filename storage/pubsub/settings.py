"""What an open Pub/Sub bus depends on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

REQUEST_BYTES = 10_000_000  # Pub/Sub's own limit, for a message and for a publish request
MESSAGE_BYTES = 9_900_000  # of a message here: a dead letter has more attributes
ACK_WAITS = timedelta(seconds=10), timedelta(seconds=600)  # that Pub/Sub accepts
TOPIC_RETENTION = timedelta(minutes=10), timedelta(days=31)  # that Pub/Sub accepts, for messages that are settled
MESSAGE_RETENTION = timedelta(days=31)  # the most that Pub/Sub accepts, for messages that are not settled
EMULATOR_RETENTION = timedelta(days=7)


@dataclass(frozen=True)
class PubSubSettings:
    """``ack_wait`` and ``retention`` are as the manifest has them; see `claim` and `replayable` for what Pub/Sub takes.

    ``endpoint`` is a host with or without a port, "" for the global one. ``message_retention`` is how long an event
    waits for its subscription, and ``dead_retention`` how long a dead letter is kept. ``least_ack_wait`` is Pub/Sub's
    own limit, and ``pull_seconds`` how long a call waits for messages. Any
    other call is over after ``call_seconds``.
    """

    project: str
    topic: str
    endpoint: str = ""
    ack_wait: timedelta = timedelta(seconds=30)
    retention: timedelta = timedelta(hours=24)
    message_retention: timedelta = MESSAGE_RETENTION
    dead_retention: timedelta = MESSAGE_RETENTION
    message_bytes: int = MESSAGE_BYTES
    least_ack_wait: timedelta = ACK_WAITS[0]
    pull_seconds: float = 3.0
    call_seconds: float = 5.0

    @property
    def claim(self) -> timedelta:
        """``ack_wait`` in whole seconds and within Pub/Sub's limits. A longer claim is made of extensions."""
        seconds = timedelta(seconds=-(-self.ack_wait // timedelta(seconds=1)))
        return min(max(seconds, self.least_ack_wait), ACK_WAITS[1])

    @property
    def replayable(self) -> timedelta:
        """How far back a replay can reach; 0 if the topic retains nothing."""
        if not self.retention:
            return timedelta(0)
        return min(max(self.retention, TOPIC_RETENTION[0]), TOPIC_RETENTION[1])

    def on_emulator(self) -> PubSubSettings:
        """What Google's emulator takes, which knows an older limit."""
        most = EMULATOR_RETENTION
        return replace(
            self, message_retention=min(self.message_retention, most), dead_retention=min(self.dead_retention, most)
        )

    @property
    def place(self) -> str:
        """The topic, for logs."""
        return f"projects/{self.project}/topics/{self.topic}"
