"""The API servers that whole runs are made on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.apiserver import LocalSimulator
from tests.apiserver.process import SimulatorProcess
from tests.apiserver.real import RealApiServer

NAMESPACES = ("team-a", "team-b", "team-c")
"""What loads and the demo write into, beside ``default``."""

FINALIZES = "namespace-controller"
"""The load finalizes namespaces itself, at once. This one would go on emptying a namespace that is there again."""

Server = SimulatorProcess | RealApiServer | LocalSimulator


@asynccontextmanager
async def open_server(kind: str, directory: Path) -> AsyncIterator[SimulatorProcess | RealApiServer]:
    """A fresh API server that knows Argo's Workflow and has the namespaces that are written into: ``simulator`` or
    ``real`` (of KUBEBUILDER_ASSETS)."""
    server = RealApiServer(directory, without=[FINALIZES]) if kind == "real" else SimulatorProcess(directory)
    await server.start()
    try:
        await server.make_namespaces(*NAMESPACES)
        yield server
    finally:
        await server.stop()


async def crash(server: Server) -> None:
    """SIGKILL the API server and start it again: streams break where they are, objects stay."""
    match server:
        case SimulatorProcess():
            await server.kill()
            await server.start()
        case RealApiServer():
            await server.kill()
            await server.restart()
        case LocalSimulator():
            raise ValueError("this API server lives in our own process")
