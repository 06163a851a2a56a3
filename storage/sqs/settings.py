"""The settings of an SQS queue."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

MAX_RECEIVES = 1000  # the broker's own limit for receptions, a backstop: see `SqsQueueType.most_deliveries`
RETENTION = 14 * 24 * 3600  # seconds; SQS keeps nothing longer
LONGEST_CLAIM = 12 * 3600  # seconds from a reception; SQS extends no claim beyond
MESSAGE_BYTES = 1 << 20  # the limit of SQS for a message, and for the messages of a call


@dataclass(frozen=True)
class SqsSettings:
    """``bus`` is the name of the bus. ``region`` and ``endpoint_url`` are boto3's if they are "".

    ``fair`` sends the partitionkey as the group of a standard queue too. Bodies above ``compress_above`` bytes are
    compressed. ``message_bytes`` limits a message and a call. ``ack_wait`` is how long a claim is valid,
    ``max_pending`` the backlog at which publishing is refused.

    No publish ends with a list of the subscriptions that is older than ``learn`` seconds. The backlog is counted again
    after ``recount`` seconds; after ``recount_full`` seconds if it seems to be full. ``browse_wait`` is how many
    seconds an empty dead-letter queue is waited for, so that SQS asks all of its servers. ``poll`` is how many seconds
    a call waits for messages; a process that stops waits for the end of it.
    """

    bus: str = "default"
    prefix: str = "kubecdc"
    fifo: bool = True
    fair: bool = False
    region: str = ""
    endpoint_url: str = ""
    compress_above: int = 64 << 10
    message_bytes: int = MESSAGE_BYTES
    ack_wait: timedelta = timedelta(seconds=30)
    max_pending: int = 1_000_000
    learn: float = 10.0
    recount: float = 5.0
    recount_full: float = 1.0
    browse_wait: int = 1
    poll: int = 3

    @property
    def visibility(self) -> int:
        """The ack wait in whole seconds, as SQS has it: not shorter."""
        return math.ceil(self.ack_wait.total_seconds())

    @property
    def received_for(self) -> int:
        """Seconds for which a message is received: a claim is counted from when the call began, which may have waited
        for `poll` seconds before the message came."""
        return self.visibility + self.poll

    @property
    def grouped(self) -> bool:
        """Whether messages have a group."""
        return self.fifo or self.fair
