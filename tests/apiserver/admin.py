"""The administrator's endpoints under /_sim/: faults on command, the ledger, and writes that no fault touches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import msgspec

from tests.apiserver.connection import Connection, Request, Response
from tests.apiserver.errors import ApiError
from tests.apiserver.routes import failure
from tests.apiserver.snapshot import Snapshot
from tests.apiserver.users import User

if TYPE_CHECKING:
    from tests.apiserver.server import Simulator

PREFIX = "/_sim/"
DIRECT = "/_sim/api"
"""What follows is a path of the API, answered as if there were no faults and no authentication."""


class _Restore(msgspec.Struct):
    snapshot: Snapshot
    seconds: float = 0


class Admin:
    """Answers /_sim/ requests; see README.md for the list."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def answer(self, request: Request, connection: Connection) -> None:
        """Answer one request. Faults that close connections are answered first."""
        afterwards: Awaitable[None] | None = None
        try:
            if request.path.startswith(DIRECT + "/"):
                response = self._direct(request)
            else:
                result, afterwards = self._command(request)
                response = Response(body=msgspec.json.encode(result))
        except ApiError as e:
            response = failure(e)
        except (KeyError, TypeError, ValueError) as e:
            response = Response(400, f"{type(e).__name__}: {e}\n".encode(), "text/plain")
        connection.respond(response)
        if afterwards is not None:
            await asyncio.sleep(0.01)  # the answer leaves before the connection is closed
            await afterwards

    def _direct(self, request: Request) -> Response:
        request.path = request.path.removeprefix(DIRECT)
        return self._simulator.routes.answer(request, self._simulator.kinds.resolve(request.path))

    def _command(self, request: Request) -> tuple[Any, Awaitable[None] | None]:
        simulator, faults = self._simulator, self._simulator.faults
        given: dict[str, Any] = json.loads(request.body) if request.body else {}
        match request.method, request.path.removeprefix(PREFIX):
            case "GET", "state":
                return self.state(), None
            case "GET", "log":
                query = request.query
                return simulator.ledger.since(int(query.get("since") or 0), query.get("resource", "")), None
            case "POST", "fail":
                faults.fail(**given)
            case "POST", "clear":
                faults.clear()
                simulator.silence(False)
            case "POST", "silence":
                simulator.silence(given.get("on", True))
            case "POST", "latency":
                faults.latency = float(given["seconds"])
            case "POST", "cut":
                return {"streams": simulator.cut_streams(**given)}, None
            case "POST", "end":
                return {"streams": simulator.end_streams()}, None
            case "POST", "refuse-watches":
                faults.refuse_watches(given["status"], int(given["below"]))
            case "POST", "inject":
                simulator.inject(given["line"].encode(), given["resource"])
            case "POST", "expire":
                faults.expired_by_http = bool(given.get("http", False))
                simulator.expire_history()
            case "POST", "tokens":
                simulator.tokens = None if given["tokens"] is None else set(given["tokens"])
            case "POST", "user":
                simulator.let_in(given["token"], User(given["user"], tuple(given.get("groups", ()))))
            case "POST", "rbac":
                simulator.rbac = bool(given.get("on", True))
            case "GET", "snapshot":
                return simulator.snapshot(), None
            case "POST", "restore":
                asked = msgspec.json.decode(request.body, type=_Restore)
                return {}, simulator.restore(asked.snapshot, seconds=asked.seconds)
            case "POST", "replace":
                return {}, simulator.replace_cluster(**given)
            case "POST", "restart":
                return {}, simulator.restart(**given)
            case "POST", "refuse":
                return {}, simulator.refuse(float(given["seconds"]))
            case _:
                raise ApiError(404, "NotFound", f"no such command: {request.method} {request.path}")
        return {}, None

    def state(self) -> dict[str, Any]:
        """The counter, the open watches, the cluster's identity, and how often the server was started."""
        simulator = self._simulator
        return {
            "resourceVersion": str(simulator.store.version),
            "watches": simulator.watching,
            "cluster": simulator.cluster,
            "starts": simulator.starts,
        }
