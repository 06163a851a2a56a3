"""The names and tags of queues, and the groups of messages, within what SQS allows in them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.sqs.settings import SqsSettings

MOST = 80  # characters of a name
DEAD, FIFO = "-dlq", ".fifo"
BUS, NAME, SOURCE, SUBJECT = "kubecdc-bus", "kubecdc-subscription", "kubecdc-source", "kubecdc-subject"
REGISTERED, CHANGED = "kubecdc-registered", "kubecdc-changed"
_TAG = 256  # characters of a tag's value
_BUS = 20  # characters of the bus in a name
_GROUP = re.compile(r"[\x21-\x7e]{1,128}")  # letters, digits and punctuation of ASCII
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9]+")
_ESCAPED = re.compile(rb"=([0-9A-F]{2})")
_NOT_IN_TAG = re.compile(r"[^A-Za-z0-9_.:/+@-]")


def prefix(settings: SqsSettings) -> str:
    """What the names of all queues of the bus begin with. Queues of another bus may begin with it too: see the tags."""
    bus = settings.bus
    readable = _NOT_IN_NAME.sub("-", bus)
    if readable != bus or len(bus) > _BUS:
        readable = f"{readable[: _BUS - 9]}-{_hash(bus)[:8]}"
    return f"{settings.prefix}-{readable}-"


def queue_name(settings: SqsSettings, subscription: str) -> str:
    """The name of the queue of a subscription: the bus, a readable part, and a hash that makes it unique."""
    end = f"-{_hash(subscription)[:12]}"
    begin = prefix(settings)
    readable = _NOT_IN_NAME.sub("-", subscription).strip("-")
    readable = readable[: MOST - len(begin) - len(end) - len(DEAD) - len(FIFO)].rstrip("-")
    return f"{begin}{readable}{end}{FIFO if settings.fifo else ''}"


def dead_name(name: str) -> str:
    """The name of the dead-letter queue of the queue of that name."""
    fifo = name.endswith(FIFO)
    return f"{name.removesuffix(FIFO)}{DEAD}{FIFO if fifo else ''}"


def is_dead(name: str) -> bool:
    """Whether it is the name of a dead-letter queue."""
    return name.removesuffix(FIFO).endswith(DEAD)


def of_url(url: str) -> str:
    """The name of the queue in a URL."""
    return url.rpartition("/")[2]


def group(partitionkey: str) -> str:
    """The group of messages with that partitionkey: the key itself, or a hash if SQS does not allow it."""
    return partitionkey if _GROUP.fullmatch(partitionkey) else f"sha256:{_hash(partitionkey)}"


def tags(bus: str, spec: SubscriptionSpec, times: Mapping[str, float]) -> dict[str, str]:
    """The tags that say what a queue is for."""
    texts = {BUS: bus, NAME: spec.name, SOURCE: spec.source, SUBJECT: spec.subject}
    texts |= {key: f"{time:.3f}" for key, time in times.items()}
    found: dict[str, str] = {}
    for key, text in texts.items():
        escaped = _NOT_IN_TAG.sub(_escape, text)
        for part in range(len(escaped) // _TAG + 1):  # a last one that is not full, so that none is read beyond it
            found[key if part == 0 else f"{key}.{part}"] = escaped[part * _TAG : (part + 1) * _TAG]
    return found


def tag(found: Mapping[str, str], key: str) -> str:
    """The text that `tags` stored under a key, "" if there is none."""
    parts = [found.get(key, "")]
    while len(parts[-1]) == _TAG and (more := found.get(f"{key}.{len(parts)}")):
        parts.append(more)
    text = _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), "".join(parts).encode())
    return text.decode(errors="replace")


def tagged_spec(found: Mapping[str, str]) -> SubscriptionSpec:
    """The subscription of a queue with these tags."""
    return SubscriptionSpec(tag(found, NAME), tag(found, SOURCE), tag(found, SUBJECT))


def tagged_time(found: Mapping[str, str], key: str) -> float | None:
    """The time that is stored under a key. None if somebody removed it."""
    try:
        return float(tag(found, key))
    except ValueError:
        return None


def _escape(match: re.Match[str]) -> str:
    return "".join(f"={byte:02X}" for byte in match[0].encode(errors="surrogatepass"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
