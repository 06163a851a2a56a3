"""The simulator in this process and event loop."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.apiserver.admin import DIRECT
from tests.apiserver.client import Client, write_kubeconfig
from tests.apiserver.ledger import Entry
from tests.apiserver.server import Simulator
from tests.apiserver.snapshot import Snapshot
from tests.apiserver.users import User


class LocalSimulator(Client):
    """An ApiServer. Its own requests (create, patch, ...) pass every fault but a closed port.

    With ``tls``, a folder for certificates, it speaks HTTPS. kubectl sends no token without.
    """

    def __init__(self, *, tls: Path | None = None, **settings: Any) -> None:
        super().__init__("", prefix=DIRECT)
        self.ssl: ssl.SSLContext | None = None
        self._server_tls: ssl.SSLContext | None = None
        self._authority = tls and tls.resolve() / "ca.crt"
        if tls:
            from tests.apiserver.certificates import server_context  # cryptography is not needed without

            settings["tls"] = self._server_tls = server_context(tls)
            self.ssl = self._ssl = ssl.create_default_context(cafile=self._authority)
        self.simulator = Simulator(**settings)
        self.faults = self.simulator.faults

    async def start(self) -> None:
        await self.simulator.start()
        self.url = f"{'https' if self.ssl else 'http'}://127.0.0.1:{self.simulator.port}"

    async def stop(self) -> None:
        await self.close()
        await self.simulator.stop()

    def replace_authority(self) -> None:
        """Replace ca.crt, and the server's certificate by one of the new authority. Connections that are open stay."""
        from tests.apiserver.certificates import Authority

        assert self._authority is not None and self._server_tls is not None
        folder = self._authority.parent
        (folder / "ca.key").unlink()
        Authority(folder).issue("server", "kube-apiserver")
        self._server_tls.load_cert_chain(folder / "server.crt", folder / "server.key")
        self.ssl = self._ssl = ssl.create_default_context(cafile=self._authority)

    async def restart(self, *, seconds: float = 0, initializing: float | None = None) -> None:
        """See Simulator.restart; on return the server listens again."""
        await self.simulator.restart(seconds=seconds, initializing=initializing)

    async def snapshot(self) -> Snapshot:
        """See Simulator.snapshot."""
        return self.simulator.snapshot()

    async def restore(self, snapshot: Snapshot, *, seconds: float = 0, initializing: float | None = None) -> None:
        """See Simulator.restore."""
        await self.simulator.restore(snapshot, seconds=seconds, initializing=initializing)

    async def replace_cluster(self, uid: str | None = None) -> None:
        """See Simulator.replace_cluster."""
        await self.simulator.replace_cluster(uid)

    def suspend(self) -> None:
        """The same as ``silence``."""
        self.simulator.silence()

    def resume(self) -> None:
        """The end of silence."""
        self.simulator.silence(False)

    async def refuse(self, seconds: float) -> None:
        """Nobody listens for so many seconds; returns when somebody does again."""
        await self.simulator.refuse(seconds)

    async def expire_history(self, *, http: bool = False) -> None:
        """With ``http``, watches from before are refused by HTTP 410 rather than in the stream."""
        self.faults.expired_by_http = http
        self.simulator.expire_history()

    def silence(self, on: bool = True) -> None:
        """See Simulator.silence."""
        self.simulator.silence(on)

    def cut_streams(self, *, mid_line: bool = True, resource: str = "") -> int:
        """See Simulator.cut_streams."""
        return self.simulator.cut_streams(mid_line=mid_line, resource=resource)

    def end_streams(self) -> int:
        """See Simulator.end_streams."""
        return self.simulator.end_streams()

    def inject(self, line: bytes, resource: str = "workflows") -> None:
        """See Simulator.inject."""
        self.simulator.inject(line, resource)

    def fail(self, status: int, **which: Any) -> None:
        """See Faults.fail."""
        self.faults.fail(status, **which)

    def log(self, since: int = 0, resource: str = "") -> list[Entry]:
        """The ledger."""
        return self.simulator.ledger.since(since, resource)

    @property
    def version(self) -> int:
        """The resourceVersion counter."""
        return self.simulator.store.version

    @property
    def watching(self) -> int:
        """How many watches are open."""
        return self.simulator.watching

    def kubeconfig(self, path: Path) -> Path:
        tokens = self.simulator.tokens
        administrators = (tokens or set()) - self.simulator.users.keys()
        return self._write_kubeconfig(path, {"token": min(administrators)} if administrators else {})

    async def kubeconfig_of(self, path: Path, user: str, *groups: str) -> Path:
        """With a token made for the purpose."""
        token = secrets.token_hex(16)
        self.simulator.let_in(token, User(user, groups))
        return self._write_kubeconfig(path, {"token": token})

    def _write_kubeconfig(self, path: Path, user: dict[str, str]) -> Path:
        cluster = {"certificate-authority": str(self._authority)} if self._authority else {}
        return write_kubeconfig(path, self.url, user=user, cluster=cluster)


@asynccontextmanager
async def simulator(**settings: Any) -> AsyncIterator[LocalSimulator]:
    """A simulator that listens while the context is open. Settings are those of Simulator."""
    api = LocalSimulator(**settings)
    await api.start()
    try:
        yield api
    finally:
        await api.stop()
