"""Starts `kubecdc` without its imports, which take more than most commands do: each start is a fork of one process.

That process imports, and does nothing else. A fork is a process of its own from the first option to the exit code, with
its own environment, folder and streams.
"""

from __future__ import annotations

import gc
import importlib
import os
import selectors
import socket
import sys
from contextlib import suppress
from typing import NamedTuple

import msgspec

# What `run` loads, and the commands. What only some buses and triggers need is loaded where it is needed, as always.
LOADED = (
    "kubecdc.cli.election",
    "kubecdc.cli.process",
    "kubecdc.cli.serving.health",
    "kubecdc.cli.serving.metrics",
    "kubecdc.cli.serving.server",
    "kubecdc.cluster.connection",
    "kubecdc.storage.sqlite.bus",
    "kubecdc.watcher.watcher",
    "kubecdc.workers.worker",
    "uvloop",
)
MOST = 1 << 20  # bytes of a call
STREAMS = 3


class Call(NamedTuple):
    """A start of the command. Its three streams and the pipe for what becomes of it come with it."""

    argv: list[str]
    folder: str
    environment: dict[str, str]


def fork_for_each_call(calls: socket.socket) -> None:
    """Return in a new process for each call, as what it asks for. This one never returns: it exits with its caller.

    The pipe of a call gets the process id, and the exit code (minus the signal that ended it), a line each.
    """
    selector = selectors.DefaultSelector()
    selector.register(calls, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not calls:
                selector.unregister(key.fileobj)
                _report_end(key.fd, *key.data)
                continue
            message, files, _, _ = socket.recv_fds(calls, MOST, STREAMS + 1)
            if not message:
                sys.exit()
            *streams, report = files
            pid = os.fork()
            if pid == 0:
                selector.close()
                calls.detach()
                _become(msgspec.json.decode(message, type=Call), streams)
                return
            for stream in streams:
                os.close(stream)
            _tell(report, pid)
            selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, report))


def _report_end(ended: int, pid: int, report: int) -> None:
    _, status = os.waitpid(pid, 0)
    _tell(report, os.waitstatus_to_exitcode(status))
    os.close(report)
    os.close(ended)


def _tell(report: int, number: int) -> None:
    with suppress(BrokenPipeError):  # the test has failed, and waits no more
        os.write(report, b"%d\n" % number)


def _become(call: Call, streams: list[int]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(STREAMS, os.sysconf("SC_OPEN_MAX"))  # also what belongs to other calls
    os.chdir(call.folder)
    os.environ.clear()
    os.environ.update(call.environment)
    sys.argv = call.argv
    sys.path[0] = os.path.dirname(call.argv[0])  # noqa: PTH120


def main() -> None:
    """Import what commands need, and then be one for each call that comes on the socket of argument 1."""
    from kubecdc.cli import main as command

    for module, _ in command.COMMANDS.values():
        importlib.import_module(module)
    for module in LOADED:
        importlib.import_module(module)
    gc.freeze()  # or each fork would look through all of it for garbage when it ends
    with socket.socket(fileno=int(sys.argv[1])) as calls:
        fork_for_each_call(calls)
    command.main()
