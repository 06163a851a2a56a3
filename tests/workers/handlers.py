"""Handlers of ``function`` triggers for the tests, and the peer that they work on."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Any

from kubecdc.function import Context, Discard, Event, Retry


@dataclass
class Peer:
    """Somewhere that handlers send events to. ``mode`` is what it does with them."""

    mode: str = ""
    arrived: list[str] = field(default_factory=list)
    calls: list[tuple[Event, Context, dict[str, Any]]] = field(default_factory=list)
    working: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def take(self, event: Event, context: Context, args: dict[str, Any]) -> None:
        self.calls.append((event, context, args))
        match self.mode:
            case "away":
                raise ConnectionError("the peer is\naway " + "x" * 5000)
            case "busy":
                raise Retry(7.5, "the peer is busy")
            case "refused":
                raise Discard("the peer wants no such event")
            case "exits":
                raise SystemExit(3)
            case "grouped":
                raise ExceptionGroup("several", [Discard("one of them")])
            case "unreadable":
                raise Unreadable
        self.arrived.append(event.id)


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


PEER = Peer()


def send(event: Event, context: Context, **args: Any) -> None:
    peer = PEER
    peer.working.wait()
    peer.take(event, context, args)


async def send_async(event: Event, context: Context, **args: Any) -> None:
    peer = PEER
    try:
        while not peer.working.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.005)
    except asyncio.CancelledError:
        peer.cancelled.set()
        raise
    peer.take(event, context, args)


async def blocks(event: Event, context: Context) -> None:
    """Written as a coroutine, and blocks its event loop nevertheless."""
    PEER.working.wait()


def exact(event: Event, context: Context, channel: str, *, retries: int = 1) -> None:
    assert channel
    assert retries


def only_event(event: Event) -> None: ...


def generates(event: Event, context: Context) -> Any:
    yield event


def returns_retry(event: Event, context: Context) -> Any:
    return Retry(3)


def forgets_await(event: Event, context: Context) -> Any:
    return send_async(event, context)


class Handlers:
    """Handlers as attributes of something else."""

    def __call__(self, event: Event, context: Context) -> None:
        PEER.take(event, context, {})

    async def method(self, event: Event, context: Context, greeting: str = "") -> None:
        PEER.take(event, context, {"greeting": greeting})


instance = Handlers()
number = 7
