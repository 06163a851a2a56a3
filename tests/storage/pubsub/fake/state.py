"""The methods of the API, on topics and subscriptions in memory."""

from __future__ import annotations

import itertools
import re
import time
from typing import Any

from google.protobuf import empty_pb2

from tests.storage.pubsub.fake.messages import exists, invalid, message, missing
from tests.storage.pubsub.fake.subscriptions import Entry, FakeSubscription, Published

NAME = re.compile(r"projects/[^/]+/(?:topics|subscriptions)/(?!goog)[A-Za-z][\w.~+%-]{2,254}")
MOST_MESSAGES, MOST_BYTES = 1000, 10_000_000  # of a publish request
MOST_KEY, MOST_ATTRIBUTES, MOST_ATTRIBUTE_KEY, MOST_ATTRIBUTE = 1024, 100, 256, 1024
RETENTION = 600, 31 * 24 * 3600  # seconds
WEEK = 7 * 24 * 3600
BY_PUBSUB = "CloudPubSubDeadLetterSource"


class State:
    """``least_ack`` is the shortest deadline in seconds: 10 in the service. ``skew`` moves the clock."""

    def __init__(self, least_ack: int) -> None:
        self.topics: dict[str, Any] = {}
        self.subscriptions: dict[str, FakeSubscription] = {}
        self.history: dict[str, list[Published]] = {}
        self.skew = 0.0
        self._least_ack = least_ack
        self._ids = itertools.count(1)

    def now(self) -> float:
        return time.time() + self.skew

    # Publisher

    def CreateTopic(self, request: Any) -> Any:  # noqa: N802
        self._check_name(request.name, self.topics)
        self._check_retention(request)
        self.topics[request.name] = request
        return request

    def GetTopic(self, request: Any) -> Any:  # noqa: N802
        return self._topic(request.topic)

    def UpdateTopic(self, request: Any) -> Any:  # noqa: N802
        found = self._topic(request.topic.name)
        merge(found, request.topic, request.update_mask.paths)
        self._check_retention(found)
        return found

    def ListTopicSubscriptions(self, request: Any) -> Any:  # noqa: N802
        """In pages of two, or of what is asked for if that is less."""
        self._topic(request.topic)
        names = [name for name, one in self.subscriptions.items() if one.config.topic == request.topic]
        begin = int(request.page_token or 0)
        end = begin + min(request.page_size or 2, 2)
        token = str(end) if end < len(names) else ""
        return message("ListTopicSubscriptionsResponse")(subscriptions=names[begin:end], next_page_token=token)

    def Publish(self, request: Any) -> Any:  # noqa: N802
        self._topic(request.topic)
        if not 1 <= len(request.messages) <= MOST_MESSAGES:
            raise invalid(f"The value for message_count is out of range: {len(request.messages)}.")
        if request.ByteSize() > MOST_BYTES:
            raise invalid(f"The value for request_size is too large. You passed {request.ByteSize()}.")
        if len({one.ordering_key for one in request.messages}) > 1:
            raise invalid("In a single publish request, all messages must have the same ordering key.")
        for one in request.messages:
            if not one.data and not one.attributes:
                raise invalid("One or more messages in the publish request is empty.")
            if len(one.ordering_key.encode()) > MOST_KEY:
                raise invalid("The value for ordering_key is too large.")
            if len(one.attributes) > MOST_ATTRIBUTES or any(
                len(key.encode()) > MOST_ATTRIBUTE_KEY or len(value.encode()) > MOST_ATTRIBUTE
                for key, value in one.attributes.items()
            ):
                raise invalid("Attributes are too many or too large.")
        return message("PublishResponse")(message_ids=[self._put(request.topic, one) for one in request.messages])

    # Subscriber

    def CreateSubscription(self, request: Any) -> Any:  # noqa: N802
        self._check_name(request.name, self.subscriptions)
        self._topic(request.topic)
        self._check(request)
        self.subscriptions[request.name] = FakeSubscription(request, self.now, self._dead_letter)
        topic = self.topics[request.topic]
        if topic.HasField("message_retention_duration"):
            self._retained(self.subscriptions[request.name])
        return request

    def GetSubscription(self, request: Any) -> Any:  # noqa: N802
        return self.subscription(request.subscription).config

    def UpdateSubscription(self, request: Any) -> Any:  # noqa: N802
        found = self.subscription(request.subscription.name)
        if {"filter", "enable_message_ordering", "topic"} & set(request.update_mask.paths):
            raise invalid("The field cannot be changed.")
        merge(found.config, request.subscription, request.update_mask.paths)
        self._check(found.config)
        return found.config

    def DeleteSubscription(self, request: Any) -> Any:  # noqa: N802
        self.subscription(request.subscription)
        del self.subscriptions[request.subscription]
        return empty_pb2.Empty()

    def Acknowledge(self, request: Any) -> Any:  # noqa: N802
        self.subscription(request.subscription).ack(request.ack_ids)
        return empty_pb2.Empty()

    def ModifyAckDeadline(self, request: Any) -> Any:  # noqa: N802
        if not 0 <= request.ack_deadline_seconds <= 600:
            raise invalid("Invalid ack deadline given.")
        self.subscription(request.subscription).modify(request.ack_ids, request.ack_deadline_seconds)
        return empty_pb2.Empty()

    def Seek(self, request: Any) -> Any:  # noqa: N802
        found = self.subscription(request.subscription)
        topic = self.topics[found.config.topic]
        retained = found.config.retain_acked_messages or topic.HasField("message_retention_duration")
        found.seek(request.time.ToNanoseconds() / 1e9, retained=retained)
        return message("SeekResponse")()

    def subscription(self, name: str) -> FakeSubscription:
        if name not in self.subscriptions:
            raise missing(name)
        return self.subscriptions[name]

    def _topic(self, name: str) -> Any:
        if name not in self.topics:
            raise missing(name)
        return self.topics[name]

    def _put(self, topic: str, content: Any) -> str:
        at = self.now()
        number = next(self._ids)
        content.message_id = str(number)
        content.publish_time.FromNanoseconds(int(at * 1e9))
        published = Published(number, content, at)
        self.history.setdefault(topic, []).append(published)
        for one in self.subscriptions.values():
            if one.config.topic == topic:
                one.add(published)
        return str(number)

    def _retained(self, subscription: FakeSubscription) -> None:
        """A new subscription can seek to what its topic had before."""
        for published in self.history.get(subscription.config.topic, []):
            if subscription.filter(published.content.attributes):
                subscription.settled.append(Entry(published, "acked"))

    def _dead_letter(self, config: Any, entry: Entry) -> None:
        if config.dead_letter_policy.dead_letter_topic not in self.topics:
            return
        project, name = config.name.split("/")[1::2]
        content = message("PubsubMessage")()
        content.CopyFrom(entry.published.content)
        content.attributes[f"{BY_PUBSUB}Subscription"] = name
        content.attributes[f"{BY_PUBSUB}SubscriptionProject"] = project
        content.attributes[f"{BY_PUBSUB}DeliveryCount"] = str(entry.attempt)
        content.attributes[f"{BY_PUBSUB}TopicPublishTime"] = content.publish_time.ToJsonString()
        self._put(config.dead_letter_policy.dead_letter_topic, content)

    def _check_name(self, name: str, known: dict[str, Any]) -> None:
        if not NAME.fullmatch(name):
            raise invalid(f"Invalid resource name {name}")
        if name in known:
            raise exists(name)

    def _check_retention(self, config: Any) -> None:
        if config.HasField("message_retention_duration"):
            seconds = config.message_retention_duration.ToSeconds()
            if not RETENTION[0] <= seconds <= RETENTION[1]:
                raise invalid("Invalid message retention duration given. Valid values are 10 minutes to 31 days.")

    def _check(self, config: Any) -> None:
        config.ack_deadline_seconds = config.ack_deadline_seconds or 10
        if not self._least_ack <= config.ack_deadline_seconds <= 600:
            raise invalid("Invalid ack deadline given. Valid values are 10 to 600.")
        policy = config.dead_letter_policy
        if policy.dead_letter_topic:
            self._topic(policy.dead_letter_topic)
            policy.max_delivery_attempts = policy.max_delivery_attempts or 5
            if not 5 <= policy.max_delivery_attempts <= 100:
                raise invalid("The value for max_delivery_attempts is out of range.")
        if len(config.labels) > 64 or any(not re.fullmatch(r"[a-z0-9_-]{0,63}", v) for v in config.labels.values()):
            raise invalid("The labels are invalid.")
        if not config.message_retention_duration.seconds:
            config.message_retention_duration.seconds = WEEK
        self._check_retention(config)
        if not config.HasField("expiration_policy"):
            config.expiration_policy.ttl.seconds = 31 * 24 * 3600


def merge(into: Any, part: Any, paths: list[str]) -> None:
    """Set the fields that are named, as an update does."""
    for path in paths:
        into.ClearField(path)
        field = type(part)()
        field.CopyFrom(part)
        for other in [found.name for found in field.DESCRIPTOR.fields if found.name != path]:
            field.ClearField(other)
        into.MergeFrom(field)
