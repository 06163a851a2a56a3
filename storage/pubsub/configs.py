"""How the topics and subscriptions of a bus are configured."""

from __future__ import annotations

from typing import Any

from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.pubsub.client import SubscriptionConfig, TopicConfig, duration
from kubecdc.storage.pubsub.names import Names, filter_of, labels_of
from kubecdc.storage.pubsub.settings import PubSubSettings

MOST_ATTEMPTS = 100  # deliveries; the most that Pub/Sub accepts, a backstop far above `maxDeliveries`
BACKOFF = 0.1, 2.0  # seconds until Pub/Sub repeats what was handed back or has lapsed: the real backoff is held here
DEAD_CLAIM = 60  # seconds in which a command looks through the dead letters
DAY = 24 * 3600
SETTABLE_OF_TOPIC = ("message_retention_duration",)
SETTABLE = (
    "ack_deadline_seconds",
    "message_retention_duration",
    "retry_policy",
    "dead_letter_policy",
    "enable_exactly_once_delivery",
)  # what `ensure` sets on subscriptions that exist; the filter and the order cannot be changed


class Configs:
    """The wanted configurations, as messages of the protocol."""

    def __init__(self, settings: PubSubSettings, names: Names) -> None:
        self._settings = settings
        self._names = names

    def topic(self) -> Any:
        """Retains what is settled for replays: once for all subscriptions."""
        config = TopicConfig(name=self._names.topic_path, labels={"kubecdc": "1"})
        if self._settings.replayable:
            config.message_retention_duration.CopyFrom(duration(self._settings.replayable.total_seconds()))
        return config

    def dead_topic(self) -> Any:
        return TopicConfig(name=self._names.dead_topic_path, labels={"kubecdc": "1"})

    def dead_letters(self) -> Any:
        """The subscription that keeps dead letters, for as long as Pub/Sub keeps anything."""
        config = SubscriptionConfig(
            name=self._names.dead_path,
            topic=self._names.dead_topic_path,
            labels={"kubecdc": "1"},
            ack_deadline_seconds=DEAD_CLAIM,
            message_retention_duration=duration(self._settings.dead_retention.total_seconds()),
            enable_exactly_once_delivery=True,
        )
        config.expiration_policy.SetInParent()  # without a time: never
        return config

    def subscription(self, spec: SubscriptionSpec, serial: int) -> Any:
        path = self._names.path(spec, serial)
        config = SubscriptionConfig(
            name=path,
            topic=self._names.topic_path,
            labels=labels_of(spec),
            filter=filter_of(path, spec),
            ack_deadline_seconds=int(self._settings.claim.total_seconds()),
            message_retention_duration=duration(self._settings.message_retention.total_seconds()),
            enable_message_ordering=True,
            enable_exactly_once_delivery=True,
        )
        config.expiration_policy.SetInParent()
        config.retry_policy.minimum_backoff.CopyFrom(duration(BACKOFF[0]))
        config.retry_policy.maximum_backoff.CopyFrom(duration(BACKOFF[1]))
        config.dead_letter_policy.dead_letter_topic = self._names.dead_topic_path
        config.dead_letter_policy.max_delivery_attempts = MOST_ATTEMPTS
        return config

    @property
    def expires(self) -> float:
        """Seconds after which a subscription that nobody reads any more, because all in it is too old, may end."""
        return self._settings.message_retention.total_seconds() + DAY


def differences(found: Any, wanted: Any, fields: tuple[str, ...]) -> list[str]:
    """The fields in which an existing configuration is not as wanted."""
    return [field for field in fields if getattr(found, field) != getattr(wanted, field)]
