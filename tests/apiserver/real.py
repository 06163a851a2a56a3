"""A real API server: etcd, kube-apiserver and its controllers from KUBEBUILDER_ASSETS (the convention of envtest)."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import ssl
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from tests.apiserver.client import CRDS, NAMESPACES, WORKFLOWS, Client, RequestFailed, path_of, write_kubeconfig
from tests.apiserver.resources import WORKFLOW_DEFINITION
from tests.ports import free_port

if TYPE_CHECKING:
    from tests.apiserver.certificates import Authority

READY_WITHIN = 40.0
"""Seconds that the server may take to start, and to serve a resource afterwards."""

ATTEMPTS = 3
"""Starts before it counts as broken: another may take the port between the choice and the start."""

GRACE = 2.0
"""Seconds for a process to end. kube-apiserver ends streams and stops listening at once, but may then wait for a minute
for the connections of its controllers."""

CONTROLLERS = "kube-controller-manager"
NEVER = ("node-ipam-controller", "cloud-node-lifecycle-controller")
FROM_THE_START = ("kube-system", "kube-public", "default")
"""Namespaces that the server makes by itself, a moment after it says that it is ready."""


def assets() -> Path | None:
    """The folder that holds etcd and kube-apiserver; None where there is none."""
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    if folder and all((Path(folder) / name).is_file() for name in ("etcd", "kube-apiserver")):
        return Path(folder).resolve()
    return None


def require_assets() -> Path:
    """The folder, or the test is skipped."""
    import pytest  # not needed to run the simulator

    found = assets()
    if found is None:
        pytest.skip("KUBEBUILDER_ASSETS does not hold etcd and kube-apiserver")
    return found


class RealApiServer(Client):
    """An ApiServer over real etcd, with the Workflow kind. Logs, data and certificates lie in ``directory``.

    The controllers run beside it where KUBEBUILDER_ASSETS holds them. They are clients like any other: they live on
    when the server restarts, and are started anew, as one does, when etcd's data were exchanged. Those in ``without``
    do not run. ``token`` is a bearer token of an administrator, beside the client certificate of the kubeconfig.
    """

    def __init__(self, directory: Path, *, without: Sequence[str] = ()) -> None:
        super().__init__("")
        self.directory = directory
        self.without = (*NEVER, *without)
        self.ssl: ssl.SSLContext | None = None
        self.token = "administrator"
        self._etcd_url = ""
        self._peer_url = ""
        self._port = self._snapshots = self._users = 0
        self._etcd: subprocess.Popen[bytes] | None = None
        self._apiserver: subprocess.Popen[bytes] | None = None
        self._controllers: subprocess.Popen[bytes] | None = None

    # -- life

    async def start(self) -> None:
        """Start all, install the Workflow kind, return when it is served. AssertionError with the log if it is not."""
        require_assets()
        self.directory.mkdir(parents=True, exist_ok=True)
        client, peer, self._port = (free_port() for _ in range(3))
        self._etcd_url, self._peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        self.url = f"https://127.0.0.1:{self._port}"
        self._issue()
        try:
            self._start_etcd()
            await self._start_apiserver()
            await self._install()
        except BaseException:
            await self.stop()
            raise

    async def _install(self) -> None:
        try:
            await self.create(*CRDS, "", WORKFLOW_DEFINITION)
        except RequestFailed as e:
            if e.code != 409:
                raise
        await self._served()

    async def stop(self) -> None:
        """End all, at once: nobody needs the data any more."""
        await self.close()
        for process in (self._controllers, self._apiserver, self._etcd):
            await self._end(process, signal.SIGKILL)

    async def restart(self) -> None:
        """kube-apiserver alone: its watch caches forget."""
        await self._end(self._apiserver, signal.SIGTERM)
        await self._start_apiserver()
        await self._served()

    async def kill(self) -> None:
        """SIGKILL kube-apiserver; ``restart`` brings it back."""
        await self._end(self._apiserver, signal.SIGKILL)

    async def compact(self) -> None:
        """Compact etcd up to now. Alone it makes no gap: the watch cache serves on."""
        async with aiohttp.ClientSession(self._etcd_url) as etcd:
            async with etcd.post("/v3/kv/range", json={"key": "AA=="}) as answer:
                revision = (await answer.json())["header"]["revision"]
            async with etcd.post("/v3/kv/compaction", json={"revision": revision, "physical": True}) as answer:
                assert answer.status == 200, await answer.text()

    async def expire_history(self) -> None:
        """Compact etcd and restart kube-apiserver."""
        await self.compact()
        await self.restart()

    async def snapshot(self) -> Path:
        """A copy of etcd's data, as a crash at this moment would leave it. etcd stands still for as long."""
        self._snapshots += 1
        copy = self._file(f"snapshot-{self._snapshots}")
        self.suspend_etcd()
        try:
            await asyncio.to_thread(shutil.copytree, self._file("etcd"), copy)
        finally:
            self.resume_etcd()
        return copy

    async def restore(self, snapshot: Path) -> None:
        """Stop all, put the copy in the place of etcd's data, start all."""
        await self._exchange(lambda: shutil.copytree(snapshot, self._file("etcd")))
        await self._served()

    async def replace_cluster(self) -> None:
        """Stop all, remove etcd's data, start all."""
        await self._exchange(lambda: None)
        await self._install()

    async def _exchange(self, put: Callable[[], object]) -> None:
        await self._end(self._controllers, signal.SIGKILL)
        await self._end(self._apiserver, signal.SIGTERM)
        await self._end(self._etcd, signal.SIGKILL)
        await asyncio.to_thread(shutil.rmtree, self._file("etcd"))
        await asyncio.to_thread(put)
        self._start_etcd()
        await self._start_apiserver()

    def suspend(self) -> None:
        """SIGSTOP kube-apiserver: connections stay open, nothing is sent."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def suspend_etcd(self) -> None:
        """SIGSTOP etcd: kube-apiserver answers from its caches, and nothing is written."""
        os.kill(self.etcd_pid, signal.SIGSTOP)

    def resume_etcd(self) -> None:
        """SIGCONT."""
        os.kill(self.etcd_pid, signal.SIGCONT)

    @property
    def etcd_pid(self) -> int:
        assert self._etcd is not None
        return self._etcd.pid

    @property
    def pid(self) -> int:
        """Of kube-apiserver."""
        assert self._apiserver is not None
        return self._apiserver.pid

    def kubeconfig(self, path: Path) -> Path:
        return self._write_kubeconfig(path, "admin")

    async def kubeconfig_of(self, path: Path, user: str, *groups: str) -> Path:
        """With a client certificate made for the purpose."""
        self._users += 1
        name = f"user-{self._users}"
        self._authority().issue(name, user, *groups)
        return self._write_kubeconfig(path, name)

    def _write_kubeconfig(self, path: Path, name: str) -> Path:
        user = {
            "client-certificate": str(self._file(f"{name}.crt")),
            "client-key": str(self._file(f"{name}.key")),
        }
        return write_kubeconfig(path, self.url, user=user, cluster={"certificate-authority": str(self._file("ca.crt"))})

    # -- processes

    def _file(self, name: str) -> Path:
        return self.directory.resolve() / name

    def _authority(self) -> Authority:
        from tests.apiserver.certificates import Authority  # cryptography is not needed to run the simulator

        return Authority(self.directory.resolve())

    def _issue(self) -> None:
        authority = self._authority()
        if not self._file("admin.crt").exists():
            authority.issue("server", "kube-apiserver")
            authority.issue("admin", "admin", "system:masters")
            authority.issue(CONTROLLERS, "system:kube-controller-manager")
            self._write_kubeconfig(self._file(f"{CONTROLLERS}.kubeconfig"), CONTROLLERS)
            authority.key_pair("service-accounts")
        self._file("tokens.csv").write_text(f'{self.token},admin,admin,"system:masters"\n')
        self.ssl = ssl.create_default_context(cafile=str(self._file("ca.crt")))
        self.ssl.load_cert_chain(self._file("admin.crt"), self._file("admin.key"))
        self._ssl = self.ssl

    def _start_etcd(self) -> None:
        self._etcd = self._run(
            "etcd",
            f"--data-dir={self._file('etcd')}",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls={self._peer_url}",
            f"--initial-advertise-peer-urls={self._peer_url}",
            f"--initial-cluster=default={self._peer_url}",
            "--unsafe-no-fsync",
        )

    async def _start_apiserver(self) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            self._run_apiserver()
            self._run_controllers()
            try:
                await self.until_served("/readyz")
                for namespace in FROM_THE_START:
                    await self.until_served(path_of(*NAMESPACES, "", namespace))
            except AssertionError as e:
                await self._end(self._apiserver, signal.SIGKILL)
                if attempt == ATTEMPTS:
                    raise
                print(f"start {attempt} of kube-apiserver failed: {e}")
            else:
                return

    def _run_apiserver(self) -> None:
        self._apiserver = self._run(
            "kube-apiserver",
            f"--etcd-servers={self._etcd_url}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--cert-dir={self._file('certificates')}",
            f"--client-ca-file={self._file('ca.crt')}",
            f"--tls-cert-file={self._file('server.crt')}",
            f"--tls-private-key-file={self._file('server.key')}",
            f"--token-auth-file={self._file('tokens.csv')}",
            "--authorization-mode=RBAC",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._file('service-accounts.pub')}",
            f"--service-account-signing-key-file={self._file('service-accounts.key')}",
        )

    def _run_controllers(self) -> None:
        """Start them unless they run. They wait for the server, but not for long."""
        missing = not (require_assets() / CONTROLLERS).is_file()
        if missing or (self._controllers is not None and self._controllers.poll() is None):
            return
        self._controllers = self._run(
            CONTROLLERS,
            f"--kubeconfig={self._file(f'{CONTROLLERS}.kubeconfig')}",
            "--leader-elect=false",
            "--secure-port=0",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={self._file('service-accounts.key')}",
            f"--root-ca-file={self._file('ca.crt')}",
            f"--controllers={','.join(['*', *(f'-{name}' for name in self.without)])}",
        )

    def _run(self, program: str, *args: str) -> subprocess.Popen[bytes]:
        with self._file(f"{program}.log").open("ab") as log:
            return subprocess.Popen([str(require_assets() / program), *args], stdout=log, stderr=log)

    async def _end(self, process: subprocess.Popen[bytes] | None, number: int) -> None:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            try:
                await asyncio.to_thread(process.wait, GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)

    async def _served(self) -> None:
        await self.until_served(path_of(*WORKFLOWS))
        # A list is answered from etcd before the watch cache is filled; a list from the cache is not.
        await self.until_served(f"{path_of(*WORKFLOWS)}?resourceVersion=0")

    async def until_served(self, path: str) -> None:
        """Wait until the path is answered."""
        try:
            async with asyncio.timeout(READY_WITHIN):
                while True:
                    assert self._apiserver and self._apiserver.poll() is None, f"kube-apiserver ended:\n{self._tail()}"
                    try:
                        await self.ask("GET", path)
                        return
                    except (RequestFailed, aiohttp.ClientError, OSError):
                        await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{path} was not answered within {READY_WITHIN:g} s:\n{self._tail()}") from None

    def _tail(self) -> str:
        return "\n".join(self._file("kube-apiserver.log").read_text(errors="replace").splitlines()[-20:])


@contextmanager
def started(directory: Path, *namespaces: str) -> Iterator[RealApiServer]:
    """A real API server for several tests. Who asks it closes it: its connections are of an event loop."""
    server = RealApiServer(directory)

    async def start() -> None:
        await server.start()
        if namespaces:
            await server.make_namespaces(*namespaces)
        await server.close()

    asyncio.run(start())
    yield server
    asyncio.run(server.stop())
