from __future__ import annotations

import asyncio

import pytest

from tests.storage.rounds import counted


class Client:
    async def call(self) -> None:
        await asyncio.sleep(0)


async def test_calls_at_the_same_time_are_one_round_and_calls_in_turn_are_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Client()
    with counted(monkeypatch, (Client, "call")) as rounds:
        await asyncio.gather(*(client.call() for _ in range(5)))
        assert (rounds.count, rounds.calls) == (1, 5)
        await client.call()
        await client.call()
    await client.call()
    assert (rounds.count, rounds.calls) == (3, 7)
