"""A Pub/Sub server for tests, after the documentation of the service, where its emulators differ from it.

Ordered redelivery repeats every later message of the key, acknowledged ones included; exactly-once refuses ack ids that
have lapsed; retry policies, dead letters, filters, seek and limits are as documented. It has faults on command. It was
never compared with the live service.
"""

from __future__ import annotations

from tests.storage.pubsub.fake.server import FakePubSub

__all__ = ["FakePubSub"]
