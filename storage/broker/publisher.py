"""Sends a publication in calls of many messages, in parallel, and in order for each object."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence

from kubecdc.concurrency import Limit
from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.broker.contract import Outgoing, Sender
from kubecdc.storage.contracts import LeadershipLost, Publication

Lane = deque[Outgoing]


async def publish(publication: Publication, messages: Iterable[Outgoing], sender: Sender) -> None:
    """Send the messages that are not done yet, those of each target and partitionkey in their order.

    A message is sent once the one before it is confirmed, or in the same call if the broker takes a call as a whole.
    Once a message has failed, the later ones of its lane are held back. Raises LeadershipLost, or the first error if
    any message is not done.
    """
    lanes: dict[tuple[str, str], Lane] = defaultdict(deque)
    for message in messages:
        if (message.target, message.index) not in publication.done:
            lanes[message.target, message.lane].append(message)
    limit = Limit(sender.parallel)
    failures: list[KubecdcError] = []

    async def call(heads: Sequence[Outgoing]) -> list[KubecdcError]:
        return await _send(publication, sender, heads)

    while lanes:
        calls = list(_calls(lanes.values(), sender))
        results = await limit.map(call, calls)
        failures += [failure for result in results for failure in result]
        if lost := next((failure for failure in failures if isinstance(failure, LeadershipLost)), None):
            raise lost
        for sent in calls:
            for message in sent:
                lane = lanes.get((message.target, message.lane))
                if lane and (message.target, message.index) in publication.done:
                    lane.popleft()
                else:
                    lanes.pop((message.target, message.lane), None)  # the rest is held back
        lanes = {key: lane for key, lane in lanes.items() if lane}
    if failures:
        raise failures[0]


async def _send(publication: Publication, sender: Sender, messages: Sequence[Outgoing]) -> list[KubecdcError]:
    """Make one call. Returns the errors of messages that are not done."""
    try:
        publication.require_time(sender.seconds)
        results = await sender.send(messages[0].target, messages)
    except (Unavailable, LeadershipLost) as e:
        return [e]
    publication.done.update(
        (message.target, message.index) for message, error in zip(messages, results, strict=True) if error is None
    )
    return [error for error in results if error is not None]


def _calls(lanes: Iterable[Lane], sender: Sender) -> Iterator[list[Outgoing]]:
    """The next calls: the first message of each lane, or of each lane as many as a call takes."""
    if sender.whole_lanes:
        for lane in lanes:
            yield next(_packed(lane, sender))
        return
    heads: dict[str, list[Outgoing]] = defaultdict(list)
    for lane in lanes:
        heads[lane[0].target].append(lane[0])
    for target in heads.values():
        yield from _packed(target, sender)


def _packed(messages: Iterable[Outgoing], sender: Sender) -> Iterator[list[Outgoing]]:
    """Messages in calls that the broker accepts."""
    call: list[Outgoing] = []
    size = 0
    for message in messages:
        if call and (len(call) == sender.most or size + message.size > sender.most_bytes):
            yield call
            call, size = [], 0
        call.append(message)
        size += message.size
    if call:
        yield call
