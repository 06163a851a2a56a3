from __future__ import annotations

from contextlib import ExitStack

import pytest

from kubecdc.cluster import open_files
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.open_files import RESERVED, Connections


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
