"""A subscription of the fake: its messages in lanes, with their claims."""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.storage.pubsub.fake import filters
from tests.storage.pubsub.fake.messages import CODES, Refused, message

INVALID_ACK = "PERMANENT_FAILURE_INVALID_ACK_ID"
MOST_BYTES = 10_000_000  # of the answer to a pull
DEFAULT_BACKOFF = 10.0, 600.0
KEPT = 100_000  # settled messages


@dataclass(eq=False)
class Published:
    """A message of a topic."""

    id: int
    content: Any
    at: float


@dataclass(eq=False)
class Entry:
    """A message in a subscription."""

    published: Published
    state: Literal["ready", "out", "acked"] = "ready"
    deadline: float = 0.0
    attempt: int = 0
    ack_id: str = ""
    due: float = 0.0
    owner: object = None


Lane = deque[Entry]
"""The messages of an ordering key, oldest first; acknowledged ones stay until all before them are. Without order, each
message has its own."""


@dataclass(eq=False)
class FakeSubscription:
    """``now`` is the server's clock; ``dead_letter`` publishes a message on the dead-letter topic."""

    config: Any
    now: Callable[[], float]
    dead_letter: Callable[[Any, Entry], None]
    lanes: OrderedDict[tuple[str, str | int], Lane] = field(default_factory=OrderedDict)
    claims: dict[str, tuple[Lane, Entry]] = field(default_factory=dict)
    settled: deque[Entry] = field(default_factory=lambda: deque(maxlen=KEPT))
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.filter = filters.parsed(self.config.filter)
        self._serial = itertools.count(1)

    def add(self, published: Published) -> None:
        if not self.filter(published.content.attributes):
            return
        key = published.content.ordering_key
        name = ("key", key) if self.config.enable_message_ordering and key else ("message", published.id)
        self.lanes.setdefault(name, deque()).append(Entry(published))
        self.ready.set()

    def take(self, limit: int, owner: object) -> list[Any]:
        """Claim up to so many messages. A key belongs to one client at a time."""
        taken: list[Any] = []
        size, now = 0, self.now()
        for name, lane in list(self.lanes.items()):
            self._trim(lane)
            if not lane:
                del self.lanes[name]
            for entry in lane:
                if entry.state == "out" and entry.owner is not owner:
                    break
                if entry.state != "ready":
                    continue
                if entry.due > now or len(taken) >= limit or size >= MOST_BYTES:
                    break
                taken.append(self._claim(lane, entry, owner, now + self.config.ack_deadline_seconds))
                size += entry.published.content.ByteSize()
            if len(taken) >= limit:
                self.ready.set()
                break
        return taken

    def ack(self, ids: Iterable[str]) -> None:
        def done(lane: Lane, entry: Entry) -> None:
            del self.claims[entry.ack_id]
            entry.state, entry.owner = "acked", None
            self._trim(lane)

        try:
            self._each(ids, done)
        finally:
            self.ready.set()

    def modify(self, ids: Iterable[str], seconds: float) -> None:
        def change(lane: Lane, entry: Entry) -> None:
            if seconds:
                entry.deadline = self.now() + seconds
            else:
                self._fail(lane, entry)

        self._each(ids, change)

    def lapse(self, *, every: bool = False) -> None:
        """Take back what is out for too long, or all."""
        now = self.now()
        for lane in list(self.lanes.values()):
            for entry in list(lane):
                if entry.state == "out" and (every or entry.deadline <= now):
                    self._fail(lane, entry)
                    break

    def seek(self, time: float, *, retained: bool) -> None:
        """What was published from then on is pending, the rest is settled. Without retention, settled stays settled."""
        pending = [entry for lane in self.lanes.values() for entry in lane if entry.state != "acked"]
        known = {entry.published.id: entry.published for entry in [*self.settled, *pending]}
        again = known if retained else {entry.published.id: entry.published for entry in pending}
        self.lanes.clear()
        self.claims.clear()
        self.settled.clear()
        for id_, published in sorted(known.items()):
            if published.at >= time and id_ in again:
                self.add(published)
            else:
                self.settled.append(Entry(published, "acked"))
        self.ready.set()

    def repeat(self, count: int) -> None:
        """The last messages that were acknowledged come again."""
        for entry in list(self.settled)[-count:]:
            self.add(entry.published)

    def state(self) -> dict[str, int]:
        """How many messages wait, are out, and are acknowledged."""
        waiting = sum(entry.state == "ready" for lane in self.lanes.values() for entry in lane)
        return {"waiting": waiting, "out": len(self.claims), "acked": len(self.settled)}

    def _claim(self, lane: Lane, entry: Entry, owner: object, deadline: float) -> Any:
        entry.state, entry.owner, entry.deadline = "out", owner, deadline
        entry.attempt += 1
        entry.ack_id = f"{entry.published.id}:{next(self._serial)}"
        self.claims[entry.ack_id] = (lane, entry)
        counted = bool(self.config.dead_letter_policy.dead_letter_topic)
        return message("ReceivedMessage")(
            ack_id=entry.ack_id, message=entry.published.content, delivery_attempt=entry.attempt if counted else 0
        )

    def _fail(self, lane: Lane, entry: Entry) -> None:
        """Nacked or lapsed: it comes again, and with it all that was behind it in its lane."""
        for later in itertools.islice(lane, lane.index(entry), None):
            if later.state == "acked" and self.config.enable_exactly_once_delivery:
                continue
            self.claims.pop(later.ack_id, None)
            later.state, later.owner = "ready", None
        entry.due = self.now() + self._backoff(entry)
        policy = self.config.dead_letter_policy
        if policy.dead_letter_topic and entry.attempt >= policy.max_delivery_attempts:
            self.dead_letter(self.config, entry)
            entry.state = "acked"
            self._trim(lane)
        self.ready.set()

    def _backoff(self, entry: Entry) -> float:
        if not self.config.HasField("retry_policy"):
            return 0.0
        policy = self.config.retry_policy
        least = policy.minimum_backoff.ToMilliseconds() / 1000 or DEFAULT_BACKOFF[0]
        most = policy.maximum_backoff.ToMilliseconds() / 1000 or DEFAULT_BACKOFF[1]
        return float(min(most, least * 2 ** max(0, entry.attempt - 1)))

    def _trim(self, lane: Lane) -> None:
        while lane and lane[0].state == "acked":
            self.settled.append(lane.popleft())

    def _each(self, ids: Iterable[str], call: Callable[[Lane, Entry], None]) -> None:
        unknown = []
        for ack_id in ids:
            if found := self.claims.get(ack_id):
                call(*found)
            else:
                unknown.append(ack_id)
        if unknown and self.config.enable_exactly_once_delivery:
            text = "Some acknowledgement ids in the request were invalid."
            raise Refused(CODES.INVALID_ARGUMENT, text, dict.fromkeys(unknown, INVALID_ACK))
