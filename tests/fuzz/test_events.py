"""Bytes in the bus that are no event, or one with data nobody expects: a dead letter or a run, never a crash."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubecdc.workers.pipeline import consume
from tests.fuzz.test_watch_lines import documents
from tests.workers.support import FakeTrigger, MemorySubscription, event, http_trigger, log_trigger, route
from tests.workers.support import settings as worker_settings

WHOLE = event().encode()
PARAMETERS = [
    {"src": {"dependencyName": "dep", "dataKey": "body.metadata.name"}, "dest": "line"},
    {"src": {"dependencyName": "dep", "contextKey": "id", "value": "none"}, "dest": "id"},
]
attributes = st.fixed_dictionaries({}, optional=dict.fromkeys(json.loads(WHOLE), documents))
bodies = st.one_of(
    st.binary(max_size=100),
    documents.map(lambda document: json.dumps(document).encode()),
    attributes.map(lambda changed: json.dumps({**json.loads(WHOLE), **changed}).encode()),
    documents.map(lambda data: event(data=data).encode()),
    st.integers(0, len(WHOLE)).map(lambda length: WHOLE[:length]),
    st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=3)).map(
        lambda at: WHOLE[: at[0]] + at[1] + WHOLE[at[0] + 1 :]
    ),
)


async def settled(bodies: list[bytes], manifest: dict[str, object]) -> list[str]:
    """How each delivery ended; the one at the end is a good event."""
    subscription, stop, trigger = MemorySubscription(), asyncio.Event(), FakeTrigger()
    task = asyncio.create_task(consume(subscription, route(trigger, manifest), worker_settings(), stop=stop))
    deliveries = [subscription.give(body) for body in (*bodies, WHOLE)]
    async with asyncio.timeout(60):
        for delivery in deliveries:
            await delivery.settled.wait()
        stop.set()
        await task
    assert all(d.reason for d in deliveries if d.last == "dead_letter")
    return [delivery.last for delivery in deliveries]


@pytest.mark.timeout(240)
@settings(max_examples=150)
@given(st.lists(bodies, max_size=5), st.booleans())
def test_any_bytes_are_settled_and_the_next_event_is_run(given_bodies: list[bytes], with_payload: bool) -> None:
    manifest = http_trigger("http://127.0.0.1:1/", {"payload": PARAMETERS}) if with_payload else log_trigger()
    ends = asyncio.run(settled(given_bodies, manifest))
    assert ends[-1] == "ack"
    assert set(ends) <= {"ack", "dead_letter"}
