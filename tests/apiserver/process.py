"""The simulator as a process of its own, commanded over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp

from tests.apiserver.admin import DIRECT
from tests.apiserver.client import Client, write_kubeconfig

ROOT = Path(__file__).resolve().parents[2]


class SimulatorProcess(Client):
    """An ApiServer. Objects and counter are kept in ``directory``/objects.jsonl and survive ``kill``.

    ``args`` are options of ``python -m tests.apiserver``. The port stays the same from the first start on.
    """

    def __init__(self, directory: Path, *args: str) -> None:
        super().__init__("", prefix=DIRECT)
        self.directory = directory
        self.port = 0
        self.ssl: ssl.SSLContext | None = None
        self._args = args
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it; returns when it listens. AssertionError with its log if it does not."""
        self.directory.mkdir(parents=True, exist_ok=True)
        log = self.directory / "simulator.log"
        argv = [sys.executable, "-m", "tests.apiserver", "--port", str(self.port)]
        argv += ["--data", str(self.directory / "objects.jsonl"), *self._args]
        with log.open("ab") as errors:
            self._process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors)
        assert self._process.stdout
        line = await asyncio.to_thread(self._process.stdout.readline)
        assert line, f"the simulator did not start:\n{log.read_text()}"
        self.port, self.url = (json.loads(line)[key] for key in ("port", "url"))
        if authority := self._authority:
            self.ssl = self._ssl = ssl.create_default_context(cafile=authority)

    async def stop(self) -> None:
        """End the process and wait for it."""
        await self.close()
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """SIGKILL; ``start`` brings it back with all objects, as a crashed API server whose etcd lives on."""
        await self._end(signal.SIGKILL)

    async def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            await asyncio.to_thread(self._process.wait)
            if self._process.stdout:
                self._process.stdout.close()
            self._process = None

    def suspend(self) -> None:
        """SIGSTOP: alive to the kernel, silent to everybody."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    async def command(self, name: str, **given: Any) -> Any:
        """POST /_sim/<name>; README.md lists them."""
        return await self.ask("POST", f"/_sim/{name}", given)

    async def state(self) -> dict[str, Any]:
        """resourceVersion, watches, cluster and starts."""
        state: dict[str, Any] = await self.ask("GET", "/_sim/state")
        return state

    async def log(self, since: int = 0, resource: str = "") -> list[dict[str, Any]]:
        """The ledger: every committed change in order."""
        entries: list[dict[str, Any]] = await self.ask("GET", "/_sim/log", since=since, resource=resource)
        return entries

    async def restart(self, *, seconds: float = 0) -> None:
        """As a restart of kube-apiserver alone, away for so long; returns when it answers again."""
        await self._restarting("restart", seconds=seconds)

    async def snapshot(self) -> dict[str, Any]:
        """A backup of every object and of the counter."""
        taken: dict[str, Any] = await self.ask("GET", "/_sim/snapshot")
        return taken

    async def restore(self, snapshot: dict[str, Any], *, seconds: float = 0) -> None:
        """See Simulator.restore; returns when it answers again."""
        await self._restarting("restore", snapshot=snapshot, seconds=seconds)

    async def replace_cluster(self, uid: str | None = None) -> None:
        """See Simulator.replace_cluster; returns when it answers again."""
        await self._restarting("replace", uid=uid)

    async def _restarting(self, command: str, **given: Any) -> None:
        before = (await self.state())["starts"]
        await self.command(command, **given)
        while True:
            try:
                if (await self.state())["starts"] > before:
                    return
            except (aiohttp.ClientError, OSError):
                pass
            await asyncio.sleep(0.02)

    async def expire_history(self, *, http: bool = False) -> None:
        """With ``http``, watches from before are refused by HTTP 410 rather than in the stream."""
        await self.command("expire", http=http)

    def kubeconfig(self, path: Path) -> Path:
        token = self._args[self._args.index("--token") + 1] if "--token" in self._args else None
        return self._write_kubeconfig(path, token)

    async def kubeconfig_of(self, path: Path, user: str, *groups: str) -> Path:
        """With a token made for the purpose, which is let in after a ``kill`` too."""
        token = secrets.token_hex(16)
        await self.command("user", token=token, user=user, groups=groups)
        self._args = (*self._args, "--user", f"{token}={user}={','.join(groups)}")
        return self._write_kubeconfig(path, token)

    def _write_kubeconfig(self, path: Path, token: str | None) -> Path:
        cluster = {"certificate-authority": str(self._authority)} if self._authority else None
        return write_kubeconfig(path, self.url, user={"token": token} if token else None, cluster=cluster)

    @property
    def _authority(self) -> Path | None:
        """The certificate that clients trust, where the simulator speaks HTTPS."""
        return Path(self._args[self._args.index("--tls") + 1]).resolve() / "ca.crt" if "--tls" in self._args else None
