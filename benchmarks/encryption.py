"""What an event costs with and without encryption at rest."""

from __future__ import annotations

import base64
import secrets

from benchmarks.projection import cost

KEY = {"name": "bus-keys", "key": "current"}


async def costs(events: int) -> tuple[float, float]:
    """Microseconds of CPU for each event, of watcher, Redis and worker: encrypted, and in the clear."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    encrypted = await cost(events, {}, {"encryption": {"keys": [KEY]}}, secret=(KEY["name"], KEY["key"], key))
    return encrypted, await cost(events, {})
