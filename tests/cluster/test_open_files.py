from __future__ import annotations

import asyncio
import errno
from contextlib import ExitStack
from typing import cast

import pytest

from kubecdc.cluster import open_files
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.open_files import REQUESTS, RESERVED, Connections
from kubecdc.cluster.requests import unreachable
from kubecdc.cluster.server import Server


def test_the_more_watches_the_less_each_reads_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "limit", lambda: 10_000)
    connections = Connections()
    with ExitStack() as stack:
        sizes = [stack.enter_context(connections.watch(essential=False)) for _ in range(5000)]
    assert sizes[0] == sizes[250] == 128 << 10
    assert sizes[1023] == 32 << 10
    assert sizes[-1] == 16 << 10


def test_an_essential_watch_fits_where_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "limit", lambda: RESERVED + 1)
    connections = Connections()
    with connections.watch(essential=False):
        with pytest.raises(ApiError, match="may open 65 files"), connections.watch(essential=False):
            pass
        with connections.watch(essential=True):
            pass
    with connections.watch(essential=False):
        pass


async def test_requests_leave_room_for_all_watches_and_what_is_essential_does_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_files, "limit", lambda: RESERVED + 100)
    connections, begun, end = Connections(), 0, asyncio.Event()

    async def request(*, essential: bool = False) -> None:
        nonlocal begun
        async with connections.request(essential=essential):
            begun += 1
            await end.wait()

    async with asyncio.TaskGroup() as tasks:
        connections.need("few", 40)
        for _ in range(70):
            tasks.create_task(request())
        await asyncio.sleep(0)
        assert begun == 60, "as many as the watches leave room for"
        end.set()
    assert begun == 70
    end.clear()
    async with asyncio.TaskGroup() as tasks:
        connections.need("many", 300)
        for _ in range(70):
            tasks.create_task(request())
        await asyncio.sleep(0)
        assert begun == 70 + REQUESTS
        tasks.create_task(request(essential=True))
        await asyncio.sleep(0)
        assert begun == 70 + REQUESTS + 1
        end.set()
    assert begun == 141


def test_a_process_without_a_file_left_does_not_blame_the_server() -> None:
    error = unreachable(cast(Server, None), OSError(errno.EMFILE, "Too many open files"))
    assert "none is left for a connection" in str(error) and error.hint and "LimitNOFILE" in error.hint
