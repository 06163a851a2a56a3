from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

ON_EACH_LOOP = {"test_process.py"}  # it depends on how a loop has its processes and pipes


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The commands run on uvloop, and on asyncio where that is not installed."""
    usual = {"asyncio": asyncio.new_event_loop}
    return usual | {"uvloop": uvloop.new_event_loop} if item.path.name in ON_EACH_LOOP else usual
