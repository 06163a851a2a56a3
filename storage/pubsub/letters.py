"""Dead letters as messages of Pub/Sub: those of our workers, and those that Pub/Sub itself has given up on."""

from __future__ import annotations

from typing import Any

from kubecdc.storage.contracts import DeadLetter
from kubecdc.storage.contracts.event import names_in, redelivered
from kubecdc.storage.pubsub.client import PubsubMessage, seconds_of
from kubecdc.storage.pubsub.messages import ENCODING, ENTRY, FOR, ID, SOURCE, SUBJECT, attribute, body_of, compress
from kubecdc.storage.pubsub.names import Names

REASON, ATTEMPTS, SUBSCRIPTION, FIRST = "reason", "attempts", "subscription", "first"
BY_PUBSUB = "CloudPubSubDeadLetterSource"  # how Pub/Sub's own attributes begin
LARGE = 1 << 20  # bytes of an event that is compressed when it is redriven, for it gets an attribute more
EVENT = (SOURCE, SUBJECT, ENTRY, ID, ENCODING)  # attributes that stay; the order does not, nor whom it was for


def letter_of(message: Any, subscription: str, reason: str, attempts: int) -> Any:
    """The message for the dead-letter topic."""
    return PubsubMessage(
        data=message.data,
        ordering_key=message.ordering_key,
        attributes={
            **{key: message.attributes[key] for key in EVENT if key in message.attributes},
            SUBSCRIPTION: attribute(subscription),
            REASON: attribute(reason),
            ATTEMPTS: str(attempts),
            FIRST: repr(seconds_of(message.publish_time)),
        },
    )


def redriven(message: Any, target: str) -> Any:
    """The message of a dead letter for one subscription."""
    attributes = {key: message.attributes[key] for key in EVENT if key in message.attributes}
    found = PubsubMessage(ordering_key=message.ordering_key, attributes={**attributes, FOR: target})
    body = redelivered(body_of(message), "redrive")
    if ENCODING in attributes or len(body) > LARGE:
        compress(found, body)
    else:
        found.data = body
    return found


def read(message: Any, names: Names) -> DeadLetter:
    """The dead letter that a message is. Its id sorts by the time when it was given up."""
    last = seconds_of(message.publish_time)
    attributes = dict(message.attributes)
    event_id, partitionkey = names_in(body_of(message))
    if REASON not in attributes:
        attributes |= _by_pubsub(attributes, names, last)
    return DeadLetter(
        id=id_of_letter(message),
        subscription=attributes[SUBSCRIPTION],
        event=event_id,
        partitionkey=partitionkey,
        reason=attributes[REASON],
        attempts=int(attributes[ATTEMPTS]),
        first=float(attributes[FIRST]),
        last=last,
    )


def id_of_letter(message: Any) -> str:
    """The time in milliseconds, then Pub/Sub's id of the message."""
    return f"{int(seconds_of(message.publish_time) * 1000):013d}-{message.message_id}"


def _by_pubsub(attributes: dict[str, str], names: Names, last: float) -> dict[str, str]:
    id_ = names.parse(f"projects/{names.project}/subscriptions/{attributes.get(f'{BY_PUBSUB}Subscription', '')}")
    count = attributes.get(f"{BY_PUBSUB}DeliveryCount", "0")
    return {
        SUBSCRIPTION: id_.readable if id_ else "",
        REASON: f"Pub/Sub gave up after {count} deliveries without an answer",
        ATTEMPTS: count,
        FIRST: repr(last),
    }
