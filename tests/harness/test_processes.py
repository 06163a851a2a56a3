"""Processes end when the context does, whatever state they are in."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.harness.processes import Processes

# One write, so that a process which is killed once its text is seen has written the whole line.
READY = "import os, time; os.write(1, b'ready\\n'); time.sleep(60)"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"


async def test_leaving_the_context_ends_every_process(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        plain = processes.start("plain", [sys.executable, "-c", READY])
        stopped = processes.start("stopped", [sys.executable, "-c", READY])
        await plain.wait_for("ready")
        await stopped.wait_for("ready")
        stopped.signal(signal.SIGSTOP)
    assert plain.returncode == -signal.SIGTERM
    assert stopped.returncode == -signal.SIGTERM


async def test_a_restart_appends_to_the_log_and_is_waited_for_anew(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        first = processes.start("it", [sys.executable, "-c", READY])
        await first.wait_for("ready")
        await first.kill()
        second = processes.restart("it")
        await second.wait_for("ready")
        assert second.output() == "ready\n"
        assert first.log.read_text() == "ready\nready\n"
        assert second.memory() > 2**20


async def test_waiting_fails_with_the_log_of_a_process_that_ended(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        it = processes.start("it", [sys.executable, "-c", "print('no such bus')"])
        with pytest.raises(AssertionError, match="no such bus"):
            await it.wait_for("ready")


async def test_a_process_that_ignores_sigterm_fails_its_stop_and_is_gone(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        it = processes.start("it", [sys.executable, "-c", DEAF])
        await it.wait_for("ready")
        with pytest.raises(AssertionError, match="did not exit"):
            await it.stop(timeout=0.2)
        assert it.returncode == -signal.SIGKILL
