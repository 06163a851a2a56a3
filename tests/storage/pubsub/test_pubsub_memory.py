"""What the subscriptions of a process read ahead from Pub/Sub is bounded in bytes."""

from __future__ import annotations

import pytest

from tests.storage.pubsub.conftest import PubSubHarness
from tests.storage.read_ahead import (
    each_is_larger_than_the_limit,
    no_receiver_answers_then_all_do,
    room_that_others_make_is_used,
)


async def test_what_all_subscriptions_have_read_and_not_settled_is_bounded_in_bytes(
    harness: PubSubHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await no_receiver_answers_then_all_do(await harness.open("worker"), monkeypatch)


async def test_an_event_that_is_larger_than_all_that_may_be_held_is_delivered(
    harness: PubSubHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await each_is_larger_than_the_limit(await harness.open("worker"), monkeypatch)


async def test_room_that_others_make_is_used_soon(harness: PubSubHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    await room_that_others_make_is_used(await harness.open("worker"), monkeypatch)
