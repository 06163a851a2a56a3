"""What SIGHUP means: read again, or that the terminal has gone."""

from __future__ import annotations

import asyncio
import os
import pty
import signal

import pytest

from kubecdc.cli.reload import hangup


async def test_a_terminal_that_has_gone_stops_the_process_and_nothing_else_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reloads, stops = asyncio.Event(), asyncio.Event()
    before = signal.getsignal(signal.SIGHUP)
    ours, theirs = pty.openpty()
    monkeypatch.setattr(hangup, "TERMINALS", (theirs,))
    try:
        hangup.Hangup().listen(reloads.set, stops.set)
        signal.raise_signal(signal.SIGHUP)
        async with asyncio.timeout(60):
            await reloads.wait()
        assert not stops.is_set()
        reloads.clear()
        os.close(ours)
        signal.raise_signal(signal.SIGHUP)
        assert stops.is_set() and not reloads.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)
        os.close(theirs)


async def test_a_signal_that_comes_before_the_loop_turns_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    reloads = asyncio.Event()
    before = signal.getsignal(signal.SIGHUP)
    monkeypatch.setattr(hangup, "TERMINALS", ())
    try:
        made = hangup.Hangup()
        signal.raise_signal(signal.SIGHUP)
        made.listen(reloads.set, lambda: None)
        async with asyncio.timeout(60):
            await reloads.wait()
    finally:
        signal.signal(signal.SIGHUP, before)
