"""Replays: the next generation of a subscription begins with what the topic retains.

To seek the subscription itself would settle what it still is owed from before that time. So the older generation keeps
that, and what was published since comes from the new one, in order and up to the newest event.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from kubecdc.errors import Unavailable, UsageError
from kubecdc.storage.contracts import UNKNOWN, Replay, Replayable, Unknown
from kubecdc.storage.pubsub.client import Client, seconds_of
from kubecdc.storage.pubsub.errors import Exists
from kubecdc.storage.pubsub.names import Names
from kubecdc.storage.pubsub.registrations import Registrations, current


class Replays:
    """`Queue.replayable` and `Queue.replay`, for a time to begin with."""

    def __init__(
        self, client: Client, names: Names, registrations: Registrations, now: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._names = names
        self._registrations = registrations
        self._now = now

    async def replayable(self, replay: Replay) -> Replayable:
        """How many events there are, Pub/Sub does not tell. Raises NoSubscription, UsageError, Unavailable."""
        await current(self._registrations, replay.subscription)
        oldest = await self._oldest(replay)
        return Replayable(UNKNOWN, oldest if replay.since is None or replay.since < oldest else None)

    async def replay(self, replay: Replay) -> Unknown:
        """Workers learn of it within `source.LEARN_SECONDS`."""
        newest = await current(self._registrations, replay.subscription)
        since = max(await self._oldest(replay), replay.since or 0.0)
        generations = await self._registrations.generations(replay.subscription)
        try:
            path = await self._registrations.succeed(newest.spec, generations, replayed=self._now())
        except Exists as e:
            raise Unavailable(
                f"subscription {replay.subscription!r} is being changed by another command",
                hint="run it again in a minute",
            ) from e
        await self._client.seek(path, since)
        same = [one for one in generations if one.spec == newest.spec]
        await self._registrations.retire(same, since)
        others = [one for one in generations if one.spec != newest.spec and one.until is None]
        await self._registrations.retire(others, self._now())
        return UNKNOWN

    async def _oldest(self, replay: Replay) -> float:
        """The time from which on the topic has every message. Raises UsageError for what Pub/Sub cannot do."""
        if replay.first or replay.object:
            what = "--from an event" if replay.first else "of one --object"
            raise UsageError(
                f"a pubsub bus cannot replay {what}: Pub/Sub can only go back to a time, for all objects",
                hint="use --since",
            )
        topic = await self._client.topic(self._names.topic_path)
        retention = seconds_of(topic.message_retention_duration) if topic is not None else 0.0
        if not retention:
            raise UsageError(
                f"topic {self._names.topic!r} retains nothing that could be replayed",
                hint="set `retention` in the EventBus above 0 and run `kubecdc bus ensure`; it applies from then on",
            )
        return self._now() - retention
