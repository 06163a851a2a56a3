"""The command as users run it: its own process, manifests in a folder, a simulated API server.

`tests.harness.fork_server` has its modules loaded: hundreds of tests start it. As it is installed, it is run by
`tests.cli.test_start`, `tests.cli.started`, and everything in `tests.e2e`.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import msgspec
import yaml

from tests.apiserver import WORKFLOWS, LocalSimulator, workflow
from tests.harness.forked import Forked, may_be_forked

KUBECDC = str(Path(sys.executable).with_name("kubecdc"))

SOURCE = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {name: workflows}
spec:
  resource:
    changed:
      group: argoproj.io
      version: v1alpha1
      resource: workflows
      eventTypes: [ADD, UPDATE, DELETE]
"""
SENSOR = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: print}
spec:
  dependencies: [{name: change, eventSourceName: workflows, eventName: changed}]
  triggers: [{template: {name: line, log: {}}}]
"""
HTTP = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: post}}
spec:
  dependencies: [{{name: change, eventSourceName: workflows, eventName: changed}}]
  triggers: [{{template: {{name: send, http: {{url: "{url}"}}}}}}]
"""
UNSERVED = {"KUBECDC_METRICS_BIND_ADDRESS": "0", "KUBECDC_HEALTH_BIND_ADDRESS": "0"}
ALICE = {"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}
REDIS_BUS = """\
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {{name: default}}
spec:
  redis: {{url: "{url}", partitions: 4}}
  redelivery: {{ackWait: 2s}}
"""
PUBSUB_BUS = """\
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {name: default}
spec:
  pubsub: {projectID: a-project, topic: a-topic}
"""
HOME = "kubecdc"  # the namespace of pods


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class Running:
    """A long-lived command. Everything it writes is kept."""

    process: asyncio.subprocess.Process | Forked
    out: str = ""
    err: str = ""

    async def read(self) -> None:
        assert self.process.stdout and self.process.stderr

        async def pump(stream: asyncio.StreamReader, name: str) -> None:
            decoder = codecs.getincrementaldecoder("utf-8")()
            while chunk := await stream.read(65536):
                setattr(self, name, getattr(self, name) + decoder.decode(chunk))

        await asyncio.gather(pump(self.process.stdout, "out"), pump(self.process.stderr, "err"))

    async def until(self, pattern: str, *, out: bool = False, seconds: float = 60) -> None:
        """Wait until its log (or its standard output) matches."""
        try:
            async with asyncio.timeout(seconds):
                while not re.search(pattern, self.out if out else self.err):
                    assert self.process.returncode is None, f"it ended: {self.out}\n{self.err}"
                    await asyncio.sleep(0.02)
        except TimeoutError as e:
            raise AssertionError(f"{pattern!r} not within {seconds:g} s in\n{self.out}\n{self.err}") from e

    def lines(self, text: str) -> list[dict[str, object]]:
        """The log lines with the text in their event."""
        decoded = [msgspec.json.decode(line, type=dict[str, object]) for line in self.err.splitlines()]
        return [line for line in decoded if text in str(line["event"])]


class Desk:
    """A folder with manifests and a kubeconfig, in which commands are run."""

    def __init__(self, folder: Path, api: LocalSimulator) -> None:
        self.folder = folder
        self.api = api
        self.command = KUBECDC
        self.manifests = folder / "manifests"
        self.manifests.mkdir()
        self.kubeconfig = api.kubeconfig(folder / "kubeconfig")
        self.environment = {"HOME": str(folder), "KUBECONFIG": str(self.kubeconfig), **UNSERVED}
        self.write("source.yaml", SOURCE)
        self.write("sensor.yaml", SENSOR)

    def write(self, name: str, text: str) -> Path:
        path = self.manifests / name
        path.write_text(text)
        return path

    def entry(self, **fields: object) -> None:
        """Change fields of the EventSource's one entry."""
        source = yaml.safe_load(SOURCE)
        source["spec"]["resource"]["changed"].update(fields)
        self.write("source.yaml", yaml.safe_dump(source))

    async def _start(
        self, *args: str, stdin: str = "", preexec: Callable[[], None] | None = None
    ) -> asyncio.subprocess.Process | Forked:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("KUBE", "HOME"))} | self.environment
        with TemporaryFile() as given:
            given.write(stdin.encode())
            given.seek(0)
            if preexec is None and self.command == KUBECDC and may_be_forked(self.environment):
                return await Forked.start([KUBECDC, *args], self.folder, environment, given.fileno())
            return await asyncio.create_subprocess_exec(
                self.command,
                *args,
                cwd=self.folder,
                env=environment,
                stdin=given,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                preexec_fn=preexec,
            )

    async def call(self, *args: str, stdin: str = "", manifests: bool = True) -> Done:
        """Run a command to its end, with `-f` of the manifests folder."""
        given = [*args, "-f", str(self.manifests)] if manifests else list(args)
        process = await self._start(*given, stdin=stdin)
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        done = Done(process.returncode or 0, out.decode(), err.decode())
        assert "Traceback" not in done.err, done.err
        return done

    async def rows(self, *command: str) -> list[dict[str, Any]]:
        """What a command prints as JSON."""
        done = await self.call(*command, "-o", "json")
        assert done.code == 0, done.err
        return msgspec.json.decode(done.out, type=list[dict[str, Any]])

    @asynccontextmanager
    async def running(
        self, *args: str, preexec: Callable[[], None] | None = None, logs: bool = True
    ) -> AsyncIterator[Running]:
        """Run a long-lived command; SIGTERM at the end, which must end it with 0 unless it has ended already.

        ``preexec`` is called in the new process before the command begins. ``logs``: whether it writes a log.
        """
        log = ("--log-format", "json") if logs else ()
        process = await self._start(*args, "-f", str(self.manifests), *log, preexec=preexec)
        running = Running(process)
        reader = asyncio.create_task(running.read())
        try:
            yield running
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                await process.wait()
            await reader
            assert "Traceback" not in running.err, running.err

    async def create(self, name: str) -> dict[str, object]:
        return await self.api.create(*WORKFLOWS, "default", workflow(name))
