"""Lines of a watch come in any pieces; a read that waits for too long ends, however many there were before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import pytest

from kubecdc.cluster.watch_lines import Silence, WatchLines
from tests.watcher.virtual import World, run

SILENCE = 90.0


class Stream:
    """Pieces, each after so many seconds; then nothing."""

    def __init__(self, *pieces: tuple[float, bytes]) -> None:
        self._pieces = iter(pieces)
        self._failed: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def readany(self) -> bytes:
        seconds, piece = next(self._pieces, (0.0, b"never"))
        if piece == b"never":
            return await self._failed
        await asyncio.sleep(seconds)
        return piece

    def set_exception(self, error: Exception) -> None:
        self._failed.set_exception(error)


def lines_of(*pieces: tuple[float, bytes]) -> WatchLines:
    return WatchLines(cast(Any, Stream(*pieces)), SILENCE)


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\nb\n"], [[b"a", b"b"]]),
        ([b"a", b"b\nc", b"\n"], [[], [b"ab"], [b"c"]]),
        ([b"\n\na\n\n"], [[b"a"]]),
        ([b"a\nb"], [[b"a"]]),
    ],
)
def test_lines_are_complete_whatever_the_pieces(pieces: Iterable[bytes], lines: list[list[bytes]]) -> None:
    async def scenario(_: World) -> list[list[bytes] | None]:
        arriving = lines_of(*((1.0, piece) for piece in pieces), (1.0, b""))
        found = [await arriving.read() for _ in lines]
        assert await arriving.read() is None
        arriving.close()
        return found

    assert run(scenario) == lines


def test_a_read_ends_when_it_has_waited_for_the_whole_silence() -> None:
    async def scenario(world: World) -> list[float]:
        arriving = lines_of((80.0, b"a\n"), (80.0, b"b\n"))
        assert [await arriving.read(), await arriving.read()] == [[b"a"], [b"b"]]
        begun = world.time()
        with pytest.raises(Silence):
            await arriving.read()
        arriving.close()
        return [begun, world.time() - begun]

    assert run(scenario) == [160.0, SILENCE]


def test_the_time_between_reads_is_no_silence() -> None:
    async def scenario(world: World) -> float:
        arriving = lines_of((10.0, b"a\n"), (10.0, b"b\n"))
        await arriving.read()
        await asyncio.sleep(10 * SILENCE)  # while a slow bus takes the commit
        assert await arriving.read() == [b"b"]
        begun = world.time()
        with pytest.raises(Silence):
            await arriving.read()
        arriving.close()
        return world.time() - begun

    assert run(scenario) == SILENCE
