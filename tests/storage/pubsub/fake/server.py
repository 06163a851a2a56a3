"""The fake as a server on 127.0.0.1, in the event loop of the test, with faults on command."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Self

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from tests.storage.pubsub.fake.messages import CODES, Refused, message
from tests.storage.pubsub.fake.state import State

PUBLISHER = ("CreateTopic", "GetTopic", "UpdateTopic", "ListTopicSubscriptions", "Publish")
SUBSCRIBER = (
    "CreateSubscription",
    "GetSubscription",
    "UpdateSubscription",
    "DeleteSubscription",
    "Acknowledge",
    "ModifyAckDeadline",
    "Seek",
    "Pull",
)
REQUESTS = {"CreateTopic": "Topic", "CreateSubscription": "Subscription"}
EXACTLY_ONCE = "EXACTLY_ONCE_ACKID_FAILURE"
MARGIN = 0.1  # seconds before the caller's deadline
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass
class Fault:
    """What happens to the next calls of a method: refused, done without an answer to tell of it, or no answer at all.

    ``acks``: some messages of the call fail for that reason, and the rest is done.
    """

    when: Literal["before", "after", "hang", "acks"] = "before"
    code: str = "UNAVAILABLE"
    count: int = 1
    reason: str = "TRANSIENT_FAILURE_UNORDERED_ACK_ID"


class FakePubSub(State):
    """Enter it to start it. ``calls`` has the names of all calls, in their order."""

    def __init__(self, *, least_ack: int = 10, pull_wait: float = 2.0, port: int = 0) -> None:
        super().__init__(least_ack)
        self.faults: dict[str, Fault] = {}
        self.calls: list[str] = []
        self.denied: set[str] = set()  # methods that the caller has no right to
        self.together = 0  # publish requests wait until there are so many
        self._busy = 0
        self._enough = asyncio.Event()
        self._pull_wait = pull_wait
        self._port = port

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=OPTIONS)
        self._server.add_generic_rpc_handlers(
            (
                self._handler("google.pubsub.v1.Publisher", PUBLISHER),
                self._handler("google.pubsub.v1.Subscriber", SUBSCRIBER),
            )
        )
        self._port = self._server.add_insecure_port(self.address)
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)

    def fault(self, method: str, fault: Fault) -> None:
        self.faults[method] = fault

    def lapse(self) -> None:
        """All claims are over."""
        for subscription in self.subscriptions.values():
            subscription.lapse(every=True)

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self.skew += seconds
        for subscription in self.subscriptions.values():
            subscription.ready.set()

    async def Pull(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answers before the caller's deadline: what a caller that is gone was given is away until its claim ends."""
        subscription, owner = self.subscription(request.subscription), object()
        wait = min(self._pull_wait, (context.time_remaining() or 60) - MARGIN)
        end = time.monotonic() + (0 if request.return_immediately else wait)
        while True:
            subscription.ready.clear()
            subscription.lapse()
            taken = subscription.take(request.max_messages or 1, owner)
            left = end - time.monotonic()
            if taken or left <= 0:
                return message("PullResponse")(received_messages=taken)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, 0.05)):
                    await subscription.ready.wait()

    async def _publish(self, request: Any) -> Any:
        self._busy += 1
        if self._busy >= self.together:
            self._enough.set()
        await self._enough.wait()
        return self.Publish(request)

    async def _answer(self, name: str, request: Any, context: Any) -> Any:
        if name in self.denied:
            raise Refused(CODES.PERMISSION_DENIED, "User not authorized to perform this action.")
        fault = self.faults.get(name)
        if fault and fault.count > 0:
            fault.count -= 1
        else:
            fault = None
        if fault and fault.when == "hang":
            await asyncio.sleep(3600)
        if fault and fault.when == "before":
            raise Refused(CODES[fault.code], "injected")
        failing: dict[str, str] = {}
        if fault and fault.when == "acks":
            failing = {request.ack_ids[0]: fault.reason}
            del request.ack_ids[0]
        if name == "Pull":
            answer = await self.Pull(request, context)
        elif name == "Publish":
            answer = await self._publish(request)
        else:
            answer = getattr(self, name)(request)
        if failing:
            raise Refused(CODES.INVALID_ARGUMENT, "Some acknowledgement ids failed.", failing)
        if fault and fault.when == "after":
            raise Refused(CODES[fault.code], "injected, after it was done")
        return answer

    def _handler(self, service: str, methods: tuple[str, ...]) -> Any:
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._call(name),
                message(REQUESTS.get(name, f"{name}Request")).FromString,
                lambda answer: answer.SerializeToString(),
            )
            for name in methods
        }
        return grpc.method_handlers_generic_handler(service, handlers)

    def _call(self, name: str) -> Callable[[Any, Any], Awaitable[Any]]:
        async def call(request: Any, context: Any) -> Any:
            self.calls.append(name)
            try:
                return await self._answer(name, request, context)
            except Refused as e:
                if e.acks:
                    await context.abort_with_status(rpc_status.to_status(_status(e)))
                await context.abort(e.code, e.text)

        return call


def _status(refused: Refused) -> Any:
    info = error_details_pb2.ErrorInfo(reason=EXACTLY_ONCE, domain="pubsub.googleapis.com", metadata=refused.acks)
    detail = any_pb2.Any()
    detail.Pack(info)
    return status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message=refused.text, details=[detail])
