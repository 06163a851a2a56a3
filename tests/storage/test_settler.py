"""How settlements share scripts."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from kubecdc.storage.contracts.errors import ClaimLost
from kubecdc.storage.redis.deliveries.lanes import Entry
from kubecdc.storage.redis.deliveries.settler import Settler
from kubecdc.storage.redis_server.connection import Connection

FIELDS = 8  # of a settlement, in the arguments of the script


class Server:
    """Settles everything, but not what is ``lost``, and notes how many there were in each script."""

    def __init__(self, *, ended: bool = False) -> None:
        self.scripts: list[int] = []
        self.lost: set[bytes] = set()
        self._ended = ended

    async def run(self, script: str, id_: int, token: str, *args: Any) -> list[int]:
        ids = args[1::FIELDS]
        self.scripts.append(len(ids))
        await asyncio.sleep(0)
        return [int(self._ended), *(int(each not in self.lost) for each in ids)]


@pytest.mark.parametrize(("handed_out", "scripts"), [(1, [1]), (3, [3])])
async def test_those_of_one_turn_share_a_script_and_the_only_one_waits_for_no_other(
    handed_out: int, scripts: list[int]
) -> None:
    server, entries = Server(), [_entry(number) for number in range(handed_out)]
    settler = Settler(cast(Connection, server), "token", lambda: None, entries)
    settling = [asyncio.create_task(settler.settle(1, entry, "ack")) for entry in entries]
    await asyncio.sleep(0)
    assert server.scripts == ([1] if handed_out == 1 else []), "the others are waited for"
    await asyncio.gather(*settling)
    assert server.scripts == scripts


@pytest.mark.parametrize("handed_out", [1, 2])
async def test_a_lost_claim_and_the_end_of_the_subscription_are_told(handed_out: int) -> None:
    server, entries, told = Server(ended=True), [_entry(number) for number in range(handed_out)], list[str]()
    server.lost = {entries[0].at[1]}
    settler = Settler(cast(Connection, server), "token", lambda: told.append("ended"), entries)
    first, *others = await asyncio.gather(
        *(settler.settle(1, entry, "ack") for entry in entries), return_exceptions=True
    )
    assert isinstance(first, ClaimLost) and others == [None] * len(others)
    assert told == ["ended"]


def _entry(number: int) -> Entry:
    return Entry(0, ("1:0", b"%d-0" % number), b"key", b"0", 0, 2, b"{}")
