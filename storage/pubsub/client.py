"""Calls of Pub/Sub: one request each, never repeated here, over in a given time, with our own errors."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import google.auth
import grpc
from google.api_core.exceptions import GoogleAPICallError, from_grpc_error
from google.auth.exceptions import GoogleAuthError
from google.protobuf import duration_pb2, field_mask_pb2, timestamp_pb2
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient, types
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from kubecdc.storage.pubsub.errors import Missing, Waited, map_error, no_credentials
from kubecdc.storage.pubsub.settings import PubSubSettings

EMULATOR = "PUBSUB_EMULATOR_HOST"
HOST = "pubsub.googleapis.com"
GRACE_SECONDS = 1.0  # in which gRPC itself ends a call whose time is over
ERRORS = (GoogleAPICallError, GoogleAuthError, grpc.aio.UsageError, TimeoutError)
OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.use_local_subchannel_pool", 1),  # calls that wait for messages have a connection of their own
]

# The messages of the protocol, without the library's wrappers, which cost more than the rest of a call.
PubsubMessage: Any = types.PubsubMessage.pb()
PublishRequest: Any = types.PublishRequest.pb()
AcknowledgeRequest: Any = types.AcknowledgeRequest.pb()
TopicConfig: Any = types.Topic.pb()
SubscriptionConfig: Any = types.Subscription.pb()


class Client:
    """The part of the API that is used here, by path of topic or subscription. Raises what `map_error` makes."""

    def __init__(self, settings: PubSubSettings) -> None:
        self._settings = settings
        self._channels: list[grpc.aio.Channel] = []
        self._publish: Callable[..., Awaitable[Any]]
        self._publisher: PublisherAsyncClient
        self._subscriber: SubscriberAsyncClient

    @property
    def longest_call(self) -> float:
        """Seconds after which a call is over in any case."""
        return self._settings.call_seconds + GRACE_SECONDS

    async def open(self) -> None:
        """Find credentials. Raises UsageError if there are none. Nothing is sent yet."""
        if emulator := os.environ.get(EMULATOR):
            self._channels = [grpc.aio.insecure_channel(emulator, options=OPTIONS) for _ in range(2)]
        else:
            host = self._settings.endpoint or HOST
            credentials = await asyncio.to_thread(_credentials)
            self._channels = [
                PublisherGrpcAsyncIOTransport.create_channel(
                    host if ":" in host else f"{host}:443", credentials=credentials, options=OPTIONS
                )
                for _ in range(2)
            ]
        self._publish = self._channels[0].unary_unary(
            "/google.pubsub.v1.Publisher/Publish",
            request_serializer=PublishRequest.SerializeToString,
            response_deserializer=types.PublishResponse.pb().FromString,
        )
        self._publisher = PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=self._channels[0]))
        self._subscriber = SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=self._channels[1]))

    async def publish(self, topic: str, messages: Sequence[Any]) -> None:
        """Publish messages of one ordering key, all or none.

        There is a call for each object, so it goes past the layers of the library, which take more time than the rest.
        """
        seconds = self._settings.call_seconds
        routing = (("x-goog-request-params", f"topic={quote(topic, safe='')}"),)
        call = self._publish(PublishRequest(topic=topic, messages=messages), timeout=seconds, metadata=routing)
        await self._answer(call, f"publish on {topic}", seconds)

    async def pull(self, path: str, most: int, *, seconds: float) -> list[Any]:
        """Wait for messages, and return them as ``ReceivedMessage`` of the protocol; [] when the time is over."""
        request = types.PullRequest.pb()(subscription=path, max_messages=most)
        with suppress(Waited):
            answer = await self._call(self._subscriber.pull, types.PullRequest.wrap(request), path, seconds=seconds)
            return list(types.PullResponse.pb(answer).received_messages)
        return []

    async def ack(self, path: str, ack_ids: Sequence[str]) -> None:
        """Raises NotSettled for some of them."""
        request = AcknowledgeRequest(subscription=path, ack_ids=ack_ids)
        await self._call(self._subscriber.acknowledge, types.AcknowledgeRequest.wrap(request), path)

    async def modify_deadline(self, path: str, ack_ids: Sequence[str], seconds: int) -> None:
        """Claim them for so many seconds from now; 0: hand them back. Raises NotSettled for some of them."""
        request = {"subscription": path, "ack_ids": ack_ids, "ack_deadline_seconds": seconds}
        await self._call(self._subscriber.modify_ack_deadline, request, path)

    async def seek(self, path: str, time: float) -> None:
        """Everything retained that was published at that time or later is pending, everything before is settled."""
        at = timestamp_pb2.Timestamp()
        at.FromMilliseconds(int(time * 1000))
        await self._call(self._subscriber.seek, {"subscription": path, "time": at}, path)

    async def subscriptions(self, topic: str) -> list[str]:
        """The subscriptions of a topic, as paths."""
        found: list[str] = []
        token = ""
        while True:
            request = {"topic": topic, "page_size": 1000, "page_token": token}
            answer = await self._call(self._publisher.list_topic_subscriptions, request, topic)
            found += answer.subscriptions
            token = answer.next_page_token
            if not token:
                return found

    async def topic(self, path: str) -> Any | None:
        """The configuration of a topic; None if there is none."""
        with suppress(Missing):
            return types.Topic.pb(await self._call(self._publisher.get_topic, {"topic": path}, path))
        return None

    async def subscription(self, path: str) -> Any | None:
        """The configuration of a subscription; None if there is none."""
        with suppress(Missing):
            answer = await self._call(self._subscriber.get_subscription, {"subscription": path}, path)
            return types.Subscription.pb(answer)
        return None

    async def create_topic(self, config: Any) -> None:
        """Raises Exists."""
        await self._call(self._publisher.create_topic, types.Topic.wrap(config), config.name)

    async def create_subscription(self, config: Any) -> None:
        """Raises Exists."""
        await self._call(self._subscriber.create_subscription, types.Subscription.wrap(config), config.name)

    async def update_topic(self, config: Any, fields: Sequence[str]) -> None:
        """Set these fields of an existing topic."""
        request = {"topic": types.Topic.wrap(config), "update_mask": field_mask_pb2.FieldMask(paths=fields)}
        await self._call(self._publisher.update_topic, request, config.name)

    async def update_subscription(self, config: Any, fields: Sequence[str]) -> None:
        """Set these fields of an existing subscription."""
        mask = field_mask_pb2.FieldMask(paths=fields)
        request = {"subscription": types.Subscription.wrap(config), "update_mask": mask}
        await self._call(self._subscriber.update_subscription, request, config.name)

    async def delete_subscription(self, path: str) -> bool:
        """False if there is none."""
        with suppress(Missing):
            await self._call(self._subscriber.delete_subscription, {"subscription": path}, path)
            return True
        return False

    async def close(self) -> None:
        """Calls under way may end. Later ones are Unavailable."""
        await asyncio.gather(*(channel.close(self.longest_call) for channel in self._channels))

    async def _call(
        self,
        method: Callable[..., Awaitable[Any]],
        request: Mapping[str, Any] | Any,
        where: str,
        *,
        seconds: float | None = None,
    ) -> Any:
        seconds = seconds or self._settings.call_seconds
        call = method(request=request, retry=None, timeout=seconds)
        return await self._answer(call, f"{method.__name__.replace('_', ' ')} on {where}", seconds)

    async def _answer(self, call: Awaitable[Any], what: str, seconds: float) -> Any:
        try:
            async with asyncio.timeout(seconds + GRACE_SECONDS):
                return await call
        except grpc.RpcError as e:
            raise map_error(from_grpc_error(e), what) from e  # type: ignore[no-untyped-call]
        except ERRORS as e:
            raise map_error(e, what) from e


def duration(seconds: float) -> duration_pb2.Duration:
    """A duration of the protocol."""
    found = duration_pb2.Duration()
    found.FromMilliseconds(round(seconds * 1000))
    return found


def seconds_of(value: timestamp_pb2.Timestamp | duration_pb2.Duration) -> float:
    """A time or duration of the protocol in seconds."""
    return float(value.seconds + value.nanos / 1e9)


def _credentials() -> Any:
    try:
        credentials, _ = google.auth.default(scopes=PublisherGrpcAsyncIOTransport.AUTH_SCOPES)
    except GoogleAuthError as e:
        raise no_credentials(e) from e
    return credentials
