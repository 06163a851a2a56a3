"""The names of topics and subscriptions, and what is written into labels and filters.

The id of a subscription tells its name, the events that it wants (as a digest), and its serial number. Names that are
too long for an id are cut; the labels have them whole.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote, unquote

from kubecdc.storage.contracts import SubscriptionSpec

LONGEST_ID = 255
LONGEST_LABEL = 63
DEAD = "-dead"
_SERIAL_DIGITS = 6


def digest(*parts: str) -> str:
    """A short name for texts of any length."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@cache
def entry_of(source: str, subject: str) -> str:
    """The attribute ``entry`` of an event, by which subscriptions filter: a filter has 256 bytes at the most."""
    return digest(source, subject)


@dataclass(frozen=True)
class Id:
    """The id of a subscription, taken apart. ``name`` is as it is in the id."""

    name: str
    entry: str
    serial: int

    @property
    def readable(self) -> str:
        """The name of the subscription, or the beginning of it."""
        return unquote(self.name)


@dataclass(frozen=True)
class Names:
    """The names of a bus."""

    project: str
    topic: str

    @property
    def topic_path(self) -> str:
        return f"projects/{self.project}/topics/{self.topic}"

    @property
    def dead_topic_path(self) -> str:
        return f"projects/{self.project}/topics/{self.topic}{DEAD}"

    @property
    def dead_path(self) -> str:
        """The subscription that keeps the dead letters."""
        return f"projects/{self.project}/subscriptions/{self.topic}{DEAD}"

    def in_id(self, name: str) -> str:
        """The name of a subscription as its id has it."""
        room = LONGEST_ID - len(self.topic) - len(digest()) - _SERIAL_DIGITS - 3
        quoted = quote(name, safe="")
        if len(quoted) <= room:
            return quoted
        return f"{quoted[: room - len(digest()) - 1].rstrip('%')}~{digest(name)}"

    def path(self, spec: SubscriptionSpec, serial: int) -> str:
        """The subscription for that spec."""
        id_ = f"{self.topic}.{self.in_id(spec.name)}.{entry_of(spec.source, spec.subject)}.{serial}"
        return f"projects/{self.project}/subscriptions/{id_}"

    def parse(self, path: str) -> Id | None:
        """The id in the path of a subscription; None if it is not one of this bus."""
        _, _, id_ = path.removeprefix("projects/").partition("/subscriptions/")
        topic, rest = id_[: len(self.topic) + 1], id_[len(self.topic) + 1 :]
        name, *end = rest.rsplit(".", 2)
        if topic != f"{self.topic}." or len(end) != 2 or not end[1].isdecimal():
            return None
        return Id(name, end[0], int(end[1]))


def id_of(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]


def target_of(path: str) -> str:
    """The attribute ``for`` of a message that is for one subscription only."""
    return digest(id_of(path))


def filter_of(path: str, spec: SubscriptionSpec) -> str:
    """The filter of a subscription: the events of its entry, and what is for it alone."""
    entry = entry_of(spec.source, spec.subject)
    return f'(attributes.entry = "{entry}" AND NOT attributes:for) OR attributes.for = "{target_of(path)}"'


def labels_of(spec: SubscriptionSpec) -> dict[str, str]:
    """The spec as labels. Their values have 63 characters at the most, and no upper case: hence Base32, in pieces."""
    labels = {"kubecdc": "1"}
    for field, text in (("name", spec.name), ("source", spec.source), ("subject", spec.subject)):
        coded = base64.b32encode(text.encode()).decode().rstrip("=").lower()
        for number, at in enumerate(range(0, len(coded), LONGEST_LABEL)):
            labels[f"kubecdc-{field}-{number}"] = coded[at : at + LONGEST_LABEL]
    return labels


def spec_of(labels: Mapping[str, str]) -> SubscriptionSpec | None:
    """The spec that the labels tell; None if they tell none."""
    if "kubecdc" not in labels:
        return None

    def text(field: str) -> str:
        coded = ""
        while piece := labels.get(f"kubecdc-{field}-{len(coded) // LONGEST_LABEL}"):
            coded += piece
            if len(piece) < LONGEST_LABEL:
                break
        return base64.b32decode(coded.upper() + "=" * (-len(coded) % 8)).decode()

    try:
        return SubscriptionSpec(text("name"), text("source"), text("subject"))
    except ValueError:
        return None
