"""The ``http`` trigger where host names take long."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from kubecdc.workers.outcome import Retry
from kubecdc.workers.triggers.http.trigger import HttpTrigger
from tests.workers.support import event, http_trigger, route


async def test_a_name_that_takes_long_is_said_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(30) and [])
    made: Any = HttpTrigger()
    try:
        request = route(made, http_trigger("http://slow.example/x", {"timeout": 1})).request(event())
        outcome = await made.execute(request)
    finally:
        over.set()
        await made.close()
    assert outcome == Retry("POST http://slow.example/x: the name slow.example could not be looked up within 1 s")
