"""Receives the messages of a subscription and settles them.

Every call is one request. A generation of a subscription has one call at a time that waits for messages: of two, the
later could return the earlier messages of an object.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from kubecdc.concurrency import Background
from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.broker.contract import Received, Results
from kubecdc.storage.contracts import ClaimLost, NoSubscription
from kubecdc.storage.contracts.event import redelivered
from kubecdc.storage.pubsub.client import Client, seconds_of
from kubecdc.storage.pubsub.errors import Missing, NotSettled
from kubecdc.storage.pubsub.letters import letter_of
from kubecdc.storage.pubsub.messages import ORDER, body_of
from kubecdc.storage.pubsub.names import Names
from kubecdc.storage.pubsub.registrations import Generation, Registrations
from kubecdc.storage.pubsub.settings import PubSubSettings

log = structlog.get_logger()
LEARN_SECONDS = 30.0  # until a generation that another process made is noticed
PERMANENT = "PERMANENT_FAILURE"


@dataclass(frozen=True)
class Handle:
    """The means to settle a message, and the message itself."""

    path: str
    ack_id: str
    message: Any


class PubSubSource:
    """`storage.broker.contract.Source`. ``late`` takes the work that outlives a call."""

    most = 1000
    longest_delay = 0.0  # handing back repeats every later message of the object, and counts as a delivery

    def __init__(
        self,
        name: str,
        client: Client,
        names: Names,
        registrations: Registrations,
        settings: PubSubSettings,
        late: Background,
    ) -> None:
        self._name = name
        self._client = client
        self._names = names
        self._registrations = registrations
        self._settings = settings
        self._generations: list[Generation] = []
        self._learned = -LEARN_SECONDS
        self._pulls: dict[str, asyncio.Task[list[Received]]] = {}  # by path
        self._late = late

    async def receive(self, most: int) -> list[Received]:
        """Each generation has one call under way, which may go on beyond this one."""
        for generation in await self._known():
            if generation.path not in self._pulls:
                self._pulls[generation.path] = asyncio.create_task(self._pull(generation, most))
        try:
            await asyncio.wait(self._pulls.values(), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._hand_back_pulls()
            raise
        for path, pull in list(self._pulls.items()):
            if pull.done():
                del self._pulls[path]
                if messages := pull.result():
                    self._late.spawn(self._release(messages[most:]))  # there was more room when the call began
                    return messages[:most]
        return []

    async def ack(self, messages: Sequence[Received]) -> Results:
        return await self._settle(messages, self._client.ack)

    async def extend(self, messages: Sequence[Received]) -> Results:
        seconds = int(self._settings.claim.total_seconds())
        return await self._settle(messages, lambda path, ids: self._client.modify_deadline(path, ids, seconds))

    async def release(self, messages: Sequence[Received], delay: float) -> Results:
        return await self._settle(messages, lambda path, ids: self._client.modify_deadline(path, ids, 0))

    async def dead_letter(self, message: Received, reason: str, attempts: int) -> None:
        letter = letter_of(message.handle.message, self._name, reason, attempts)
        await self._client.publish(self._names.dead_topic_path, [letter])
        (error,) = await self.ack([message])
        if error is not None:
            raise error

    def close(self) -> None:
        """The messages that come of the calls under way are handed back."""
        self._hand_back_pulls()

    async def _known(self) -> list[Generation]:
        """The generations that are read, newest first. Raises NoSubscription."""
        now = asyncio.get_running_loop().time()
        if now >= self._learned + LEARN_SECONDS or not self._generations:
            found = await self._registrations.generations(self._name)
            if not found:
                raise NoSubscription.of(self._name)
            self._generations = [found[0], *(one for one in found[1:] if not self._registrations.is_spent(one))]
            self._learned = now
        return self._generations

    async def _pull(self, generation: Generation, most: int) -> list[Received]:
        begin = asyncio.get_running_loop().time()
        try:
            pulled = await self._client.pull(generation.path, most, seconds=self._settings.pull_seconds)
        except Missing:
            self._generations = []
            raise
        until = begin + generation.claim
        own: list[Any] = []
        others: list[Any] = []
        for one in pulled:
            (own if generation.owns(one.message) else others).append(one)
        if others:
            with suppress(KubecdcError):  # then they come again
                await self._client.ack(generation.path, [one.ack_id for one in others])
        return [_received(generation, one, until) for one in own]

    def _hand_back_pulls(self) -> None:
        for pull in self._pulls.values():
            self._late.spawn(self._hand_back(pull))
        self._pulls.clear()

    async def _hand_back(self, pull: asyncio.Task[list[Received]]) -> None:
        with suppress(KubecdcError):
            await self._release(await pull)

    async def _release(self, messages: Sequence[Received]) -> None:
        try:
            if messages:
                await self.release(messages, 0.0)
        except KubecdcError as e:
            log.debug(
                "messages that came too late were not handed back",
                code="messages-kept",
                subscription=self._name,
                error=str(e),
            )

    async def _settle(
        self, messages: Sequence[Received], call: Callable[[str, Sequence[str]], Awaitable[None]]
    ) -> Results:
        by_path: dict[str, list[Received]] = defaultdict(list)
        for message in messages:
            by_path[message.handle.path].append(message)
        errors: dict[str, KubecdcError] = {}

        async def settle(path: str, some: list[Received]) -> None:
            try:
                await call(path, [message.handle.ack_id for message in some])
            except Missing:  # it was ended
                return
            except NotSettled as e:
                for message in some:
                    if reason := e.reasons.get(message.handle.ack_id):
                        errors[message.handle.ack_id] = _why(message, reason)
            except Unavailable as e:
                if len(by_path) == 1:
                    raise
                errors.update((message.handle.ack_id, e) for message in some)

        await asyncio.gather(*(settle(path, some) for path, some in by_path.items()))
        return [errors.get(message.handle.ack_id) for message in messages]


def _received(generation: Generation, pulled: Any, until: float) -> Received:
    message = pulled.message
    first = generation.serial == 1
    body = body_of(message)
    if seconds_of(message.publish_time) < generation.replayed:
        body = redelivered(body, "replay")
    return Received(
        handle=Handle(generation.path, pulled.ack_id, message),
        id=message.message_id if first else f"{message.message_id}.{generation.serial}",
        body=body,
        lane=message.ordering_key or message.message_id,
        order=message.attributes.get(ORDER, ""),
        sent=0.0,  # what was published twice is the same event
        receptions=pulled.delivery_attempt or None,
        until=until,
        series="" if first else str(generation.serial),
    )


def _why(message: Received, reason: str) -> KubecdcError:
    if reason.startswith(PERMANENT):
        return ClaimLost.lapsed(message.id)
    return Unavailable(f"Pub/Sub could not settle event {message.id}: {reason}")
