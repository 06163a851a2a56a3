"""The event: a CloudEvents 1.0 structured-mode JSON object (https://github.com/cloudevents/spec).

The same change always has the same ``id``, so that consumers can be idempotent. ``data.body`` holds the object's bytes
as the API server sent them; they are never parsed and encoded again.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from kubecdc.storage.contracts.errors import Undecodable

Action = Literal["ADD", "UPDATE", "DELETE"]
Redelivery = Literal["redrive", "replay"]
SPEC_VERSION = "1.0"
SEQUENCE_DIGITS = 20


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change, as it is queued and delivered. Field names are the CloudEvents attribute names.

    ``data`` is the JSON text of ``{type, body, oldBody, group, version, resource, metadata}``, as Argo Events has it.
    ``sequence`` is the resourceVersion padded with zeros, so that it sorts as text (CloudEvents sequence extension).
    ``partitionkey`` is ``<resource>.<group>/<namespace>/<name>``: all events with the same key are delivered in order.
    ``cluster`` is the name that --cluster-name gives the cluster. ``encryptionkey`` names the key of `encryption` with
    which ``data`` is encrypted; then that is a string.
    ``redelivery`` is ``redrive`` or ``replay`` if an operator has had the event delivered again. It is the first field
    because `redelivered` writes it there.
    """

    redelivery: str = ""
    specversion: str
    id: str
    source: str
    subject: str
    type: str
    time: str
    datacontenttype: str
    partitionkey: str
    sequence: str
    epoch: int
    timeline: int = 0
    synthetic: bool = False
    deselected: bool = False
    truncated: bool = False
    traceparent: str = ""
    cluster: str = ""
    encryptionkey: str = ""
    data: msgspec.Raw

    def encode(self) -> bytes:
        """The event as one JSON object, attributes with their default value left out."""
        return _encoder.encode(self)

    @property
    def place(self) -> str:
        """Where it stands among the events of its object, as text that sorts: timeline and sequence."""
        return f"{self.timeline:010d}.{self.sequence}"

    @property
    def passes(self) -> str:
        """What it supersedes once it is delivered: the events of its object whose `place` sorts before this.

        Of two events at one place, as in a repair, the one that is delivered for the first time is the later one.
        """
        return self.place if self.redelivery else f"{self.place}+"

    @staticmethod
    def decode(body: bytes) -> Event:
        """Read what `encode` wrote; unknown attributes are ignored. Raises Undecodable."""
        try:
            return _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise Undecodable(f"not a CloudEvent: {e}") from e
        except RecursionError as e:
            raise Undecodable("not a CloudEvent: it is nested too deep") from e


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)
_REDELIVERY = re.compile(rb'\A\{"redelivery":"[a-z]*",')


def event_id(subject: str, uid: str, resource_version: str, action: Action, timeline: int = 0) -> str:
    """``<event name>.<uid>.<resourceVersion>.<ADD|UPDATE|DELETE>``, with ``.t<n>`` once versions ran backwards."""
    suffix = f".t{timeline}" if timeline else ""
    return f"{subject}.{uid}.{resource_version}.{action}{suffix}"


def partition_key(resource: str, group: str, namespace: str, name: str) -> str:
    """The key that orders the events of an object. It has the name, not the uid, so that a deleted object and its
    successor stay in order."""
    return f"{resource}.{group}/{namespace}/{name}"


def sequence(resource_version: str) -> str:
    """A resourceVersion that sorts as text."""
    return resource_version.zfill(SEQUENCE_DIGITS)


def redelivered(body: bytes, how: Redelivery) -> bytes:
    """A stored event with the attribute ``redelivery``. It is set in the text, so that no event is encoded again."""
    body = _REDELIVERY.sub(b"{", body)
    return b'{"redelivery":"%s",%s' % (how.encode(), body[1:]) if body.startswith(b'{"') else body


def names_in(body: bytes) -> tuple[str, str]:
    """The id and the partitionkey of a stored event; both "" if it cannot be read."""
    try:
        event = Event.decode(body)
    except Undecodable:
        return "", ""
    return event.id, event.partitionkey


class _Data(msgspec.Struct):
    type: str
    body: msgspec.Raw
    group: msgspec.Raw
    version: msgspec.Raw
    resource: msgspec.Raw
    metadata: msgspec.Raw = msgspec.Raw(b"")


class _Metadata(msgspec.Struct, omit_defaults=True):
    name: str = ""
    uid: str = ""
    resourceVersion: str = ""  # noqa: N815 (the API server's name for it)
    namespace: str = ""


class _Body(msgspec.Struct, omit_defaults=True):
    apiVersion: str = ""  # noqa: N815
    kind: str = ""
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


def truncated(event: Event) -> Event:
    """The event without the body of its object, of which only the names and the version stay.

    For a back end that cannot carry the event. ``data`` keeps its form, and ``truncated`` tells the consumer. What is
    encrypted is only marked: whoever has encrypted it has the body.
    """
    if event.encryptionkey:
        return msgspec.structs.replace(event, truncated=True)
    data = msgspec.json.decode(event.data, type=_Data)
    body = msgspec.json.encode(msgspec.json.decode(data.body, type=_Body))
    head = b'{"type":"' + data.type.encode() + b'","body":' + body + b',"oldBody":null'
    rest = b"".join(
        b',"' + name.encode() + b'":' + bytes(value)
        for name, value in (
            ("group", data.group),
            ("version", data.version),
            ("resource", data.resource),
            ("metadata", data.metadata),
        )
        if bytes(value)
    )
    return msgspec.structs.replace(event, truncated=True, data=msgspec.Raw(head + rest + b"}"))
