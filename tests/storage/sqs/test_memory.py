"""What the subscriptions of a process read ahead from SQS is bounded in bytes."""

from __future__ import annotations

import pytest

from tests.storage.read_ahead import (
    each_is_larger_than_the_limit,
    no_receiver_answers_then_all_do,
    room_that_others_make_is_used,
)
from tests.storage.sqs.conftest import SqsHarness


async def test_what_all_subscriptions_have_read_and_not_settled_is_bounded_in_bytes(
    moto_fifo: SqsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await no_receiver_answers_then_all_do(await moto_fifo.open("worker"), monkeypatch)


async def test_an_event_that_is_larger_than_all_that_may_be_held_is_delivered(
    moto_fifo: SqsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await each_is_larger_than_the_limit(await moto_fifo.open("worker"), monkeypatch)


async def test_room_that_others_make_is_used_soon(moto_fifo: SqsHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    await room_that_others_make_is_used(await moto_fifo.open("worker"), monkeypatch)
