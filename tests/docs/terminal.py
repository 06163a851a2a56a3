"""docs/terminal.md: what the commands print in terminals of two widths, made by ``make terminal`` of a real run.

The manifests are the README's, the cluster is the simulated one, the receiver refuses one change. What is never the
same twice is made the same: ages and rates before the tables are laid out, ids and ports after it, at their length.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import web

from tests.apiserver import LocalSimulator, simulator
from tests.cli.rig import UNSERVED
from tests.docs.blocks import ROOT, blocks_of
from tests.harness.fork_server import LOADED
from tests.harness.processes import until
from tests.workers.peer import serving

PAGE = ROOT / "docs" / "terminal.md"
BEGIN, END = "<!-- made by `make terminal` -->\n", "<!-- the end of what it makes -->\n"
WIDTHS = (80, 200)
DEPLOYMENTS = ("apps", "v1", "deployments", "shop")
BUS = """\
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {name: default}
spec: {sqlite: {path: bus.db}}
"""
COMMANDS = {
    "Manifests with a mistake": "validate -f broken",
    "Manifests without one": "validate -f manifests",
    "What would be sent for an event, which `kubecdc try --sample` printed": "try -f manifests --event event.json",
    "How it is": "status -f manifests",
    "The subscriptions": "bus show -f manifests",
    "The positions": "checkpoint show -f manifests",
    "Whether what was captured matches the cluster": "audit -f manifests",
    "What was given up, and why": "dlq list -f manifests",
    "The permissions that the manifests need": "rbac -f manifests",
}
UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
SETTLED = (  # what the status says once all is done
    r"^failing +subscription/inventory/post +- +0 +\S+ +\S+ +1 +kubecdc-0",
    r"^ok +source/deployments/changed",
    r"^idle +bus/default +- +0 ",
)


def render(made: str) -> str:
    """The page: what is made, in the text around it."""
    before, rest = PAGE.read_text().split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


async def make() -> str:
    """What is made of a run: a section for each width, with all commands."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        async with simulator() as api, serving(_refusing_checkout) as peer, asyncio.timeout(120):
            _lay_out(folder, api, peer.url)
            await api.make_namespaces("shop")
            for deployment in ("cart", "checkout", "web"):
                await api.create(*DEPLOYMENTS, _deployment(deployment))
            with _shell(folder) as shell:
                shell.begin("run -f manifests")
                await until(lambda: len(peer.received) == 3, 100, "a request for each Deployment")
                shown = await asyncio.to_thread(_shown, shell, folder)
    return "\n".join(_section(width, texts) for width, texts in zip(WIDTHS, shown, strict=True))


def _shown(shell: Shell, folder: Path) -> list[list[str]]:
    """What the commands print once the status has settled, for each width."""
    for _ in range(200):
        status = shell.run("status -f manifests")
        if all(re.search(pattern, status, re.MULTILINE) for pattern in SETTLED):
            break
        time.sleep(0.5)
    else:
        raise AssertionError(f"it does not settle:\n{status}")
    (folder / "event.json").write_text(shell.run("try -f manifests --sample"))
    return [[shell.run(command, width) for command in COMMANDS.values()] for width in WIDTHS]


def _section(width: int, texts: list[str]) -> str:
    """What was shown, broken into lines where the terminal breaks it."""
    parts = [f"## At {width} columns\n"]
    for (title, command), text in zip(COMMANDS.items(), texts, strict=True):
        lines = [f"$ kubecdc {command}", *_same(text).splitlines()]
        assert all(line.isprintable() for line in lines), lines
        broken = [line[at : at + width].rstrip() for line in lines for at in range(0, len(line), width)]
        parts.append("\n".join([f"{title}:\n", "```text", *broken, "```\n"]))
    return "\n".join(parts)


def _same(text: str) -> str:
    """With the same ids, ports and times in every run, as long as they were."""
    uids = {uid: f"7d2c0f9a-1b3e-4c5d-8e6f-{n:012x}" for n, uid in enumerate(dict.fromkeys(UID.findall(text)), 1)}
    text = UID.sub(lambda found: uids[found[0]], text)
    text = re.sub(r"(?<=127\.0\.0\.1:)\d{5}", "18080", text)
    return re.sub(r"20\d\d-[\d-]+T[\d:.]+Z", "2026-01-31T08:00:00.123456Z", text)


def _lay_out(folder: Path, api: LocalSimulator, url: str) -> None:
    [readme] = [b.text for b in blocks_of(ROOT / "README.md", (ROOT / "README.md").read_text()) if b.language == "yaml"]
    given = readme.replace("https://inventory.example.com", url)
    for name, text in (("manifests", given), ("broken", given.replace("retryStrategy", "retryStrateggy"))):
        (folder / name).mkdir()
        (folder / name / "inventory.yaml").write_text(text)
        (folder / name / "bus.yaml").write_text(BUS)
    api.kubeconfig(folder / "kubeconfig")


async def _refusing_checkout(request: web.Request) -> web.Response:
    refused = b'"name":"checkout"' in await request.read()
    return web.Response(status=422, text="checkout has no price list") if refused else web.Response(status=204)


def _deployment(name: str) -> dict[str, object]:
    labels = {"app": name, "team": "platform"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": f"shop/{name}:1"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod}
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


class Shell:
    """Runs commands in a terminal, one after the other. ``process`` is `SHELL` below, ``terminal`` our end of it."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self._process = process
        self._terminal = terminal

    def begin(self, command: str) -> None:
        """Have it run beside the others, until the shell ends."""
        self._tell(f"& {command}")

    def run(self, command: str, width: int = 200) -> str:
        """What the command prints into a terminal of that width."""
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
        self._tell(f"; {command}")
        got = b""
        while not got.endswith(b"\0"):
            got += os.read(self._terminal, 65536)
        return got[:-1].decode().replace("\r\n", "\n")

    def _tell(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def close(self) -> None:
        """End it, and what runs beside."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
        os.close(self._terminal)


# The product's own commands, each in a fork that has everything loaded. What is never the same twice is replaced.
SHELL = """
import importlib, os, signal, socket, sys
from kubecdc.cli import main, output
from kubecdc.cli.status import reporter

for module in [module for module, _ in main.COMMANDS.values()] + os.environ["LOADED"].split():
    importlib.import_module(module)
output.age = lambda seconds: "12s"
socket.gethostname = lambda: "kubecdc-0"
reporter.Reporter._rate = lambda *_: 0.2
beside = []
for line in sys.stdin:
    how, *words = line.split()
    pid = os.fork()
    if not pid:
        os.getpid = lambda: 1
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        if how == "&":
            os.dup2(0, 1), os.dup2(0, 2)
        sys.argv = ["kubecdc", *words]
        main.main()
    if how == "&":
        beside.append(pid)
    else:
        os.waitpid(pid, 0)
        os.write(1, bytes(1))
for pid in beside:
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
"""


@contextmanager
def _shell(folder: Path) -> Iterator[Shell]:
    terminal, end = os.openpty()
    own = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "HOME", "COLUMNS"))}
    given = {"HOME": str(folder), "KUBECONFIG": str(folder / "kubeconfig"), "LOADED": " ".join(LOADED)}
    process = subprocess.Popen(
        [sys.executable, "-c", SHELL],
        cwd=folder,
        env=own | UNSERVED | given,
        stdin=subprocess.PIPE,
        stdout=end,
        stderr=end,
    )
    os.close(end)
    with closing(Shell(process, terminal)) as shell:
        yield shell


if __name__ == "__main__":
    PAGE.write_text(render(asyncio.run(make())))
