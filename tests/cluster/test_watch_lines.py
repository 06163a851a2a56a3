"""Lines of a watch come in any pieces; a read that waits for too long ends, however many there were before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kubecdc.cluster.objects import OBJECT_BYTES
from kubecdc.cluster.watch_lines import Silence, WatchLines
from tests.watcher.virtual import World, run

SILENCE = 90.0
BUFFER = 100


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

    def get_read_buffer_limits(self) -> tuple[int, int]:
        return BUFFER, 2 * BUFFER

    def set_exception(self, error: Exception) -> None:
        self._failed.set_exception(error)


class Ledger:
    """Room for lines, given when the test says so."""

    def __init__(self) -> None:
        self.asked = 0
        self.held = 0
        self.may = asyncio.Semaphore(0)

    async def reserve(self, size: int) -> None:
        self.asked += 1
        await self.may.acquire()
        self.held += size

    def reserved(self, size: int) -> None:
        self.held = size


class Transport:
    """Whether more is received."""

    def __init__(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


def lines_of(
    *pieces: tuple[float, bytes], room: Ledger | None = None, transport: Transport | None = None
) -> WatchLines:
    connection = SimpleNamespace(transport=transport) if transport else None
    response = SimpleNamespace(content=Stream(*pieces), connection=connection)
    return WatchLines(cast(Any, response), SILENCE, room)


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


def test_the_rest_of_a_long_line_is_read_once_there_is_room_for_it() -> None:
    async def scenario(world: World) -> None:
        room, transport, piece = Ledger(), Transport(), b"x" * (BUFFER + 1)
        pieces = (0.0, piece), (1.0, piece), (1.0, b"\nshort\ny"), (1.0, b"\n")
        arriving = lines_of(*pieces, room=room, transport=transport)
        assert await arriving.read() == [] and room.asked == 0
        reading = asyncio.create_task(arriving.read())
        await asyncio.sleep(10 * SILENCE)  # while commits are blocked: that is no silence
        assert room.asked == 1 and not reading.done() and not transport.reading
        begun = world.time()
        room.may.release()
        assert await reading == [] and world.time() - begun == 1.0 and transport.reading
        assert room.held == OBJECT_BYTES
        assert await arriving.read() == [2 * piece, b"short"]
        assert room.held == 2 * len(piece) + len(b"\nshort"), "all that has come counts"
        assert await arriving.read() == [b"y"]
        assert (room.held, room.asked) == (0, 1), "a short line needs no room"
        arriving.close()

    run(scenario)


def test_a_line_that_is_larger_than_its_room_counts_as_it_grows_and_no_more_once_the_watch_ends() -> None:
    async def scenario(_: World) -> None:
        room, piece = Ledger(), b"x" * OBJECT_BYTES
        room.may.release()
        arriving = lines_of((0.0, piece), (0.0, piece), room=room)
        assert [await arriving.read(), await arriving.read()] == [[], []]
        assert room.held == 2 * OBJECT_BYTES
        with pytest.raises(Silence):
            await arriving.read()
        arriving.close()
        assert room.held == 0

    run(scenario)
