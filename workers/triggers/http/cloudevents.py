"""CloudEvents in HTTP's binary mode: the attributes as headers, the data as body.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md, section 3.1.
"""

from __future__ import annotations

import re
import string
from urllib.parse import quote

from kubecdc.storage.contracts.event import Event

_AS_IT_IS = re.compile(r"[!#$&-~]*", re.ASCII)  # as nearly all values are
_PLAIN = "".join(c for c in string.ascii_letters + string.digits + string.punctuation if c not in '"%')


def encode(value: str) -> str:
    """A header value: space, quote, percent and all but printable ASCII percent-encoded (section 3.1.3.2)."""
    return value if _AS_IT_IS.fullmatch(value) else quote(value, safe=_PLAIN)


def headers(event: Event) -> dict[str, str]:
    """The ``ce-`` headers; attributes with their default value are absent. ``datacontenttype`` is the Content-Type."""
    found = {
        "ce-specversion": event.specversion,
        "ce-id": encode(event.id),
        "ce-source": encode(event.source),
        "ce-type": encode(event.type),
        "ce-subject": encode(event.subject),
        "ce-time": encode(event.time),
        "ce-partitionkey": encode(event.partitionkey),
        "ce-sequence": encode(event.sequence),
        "ce-epoch": str(event.epoch),
    }
    if event.timeline:
        found["ce-timeline"] = str(event.timeline)
    for name in ("synthetic", "deselected", "truncated"):
        if getattr(event, name):
            found[f"ce-{name}"] = "true"
    if event.redelivery:
        found["ce-redelivery"] = encode(event.redelivery)
    if event.traceparent:
        found["ce-traceparent"] = encode(event.traceparent)
    if event.cluster:
        found["ce-cluster"] = encode(event.cluster)
    return found
