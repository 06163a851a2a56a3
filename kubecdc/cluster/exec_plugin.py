"""Credentials from a program: the exec plugins of client-go.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from kubecdc.cluster.credentials import Credential, bearer
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.kubeconfig import Exec
from kubecdc.cluster.objects import UNREADABLE
from kubecdc.cluster.tls import KeyPair, check
from kubecdc.errors import UsageError
from kubecdc.programs import kill, start

VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
MODES = ("Never", "IfAvailable", "Always")
SECONDS = 60.0  # that a plugin may take
INTERACTIVE_SECONDS = 600.0  # that it may take where a person answers
PAUSE_SECONDS = 2.0  # between the ends of two runs: many watches may ask at once
STDERR_BYTES = 2000  # of what a plugin wrote last, in messages


class _Status(msgspec.Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime | None = None


class _Answer(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    status: _Status | None = None


class ExecPlugin:
    """A plugin, and what it returned last. It is run when that has expired or was refused, once for all requests.

    ``cluster`` is what a plugin with `provideClusterInfo` is told.
    """

    def __init__(
        self,
        settings: Exec,
        cluster: Mapping[str, Any],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._now = now
        self._monotonic = monotonic
        self._name = f"the exec plugin {settings.command}"
        self._answer: Credential | ApiError | None = None  # of the last run, unless it was refused
        self._expires: datetime | None = None
        self._ended = -PAUSE_SECONDS  # when it last ran
        self._run: asyncio.Task[Credential | ApiError] | None = None

    @property
    def waiting_for(self) -> str:
        return self._name if self._run is not None and not self._run.done() else ""

    async def get(self) -> Credential:
        answer = self._answer
        if answer is None or not self._usable(answer):
            if self._run is None or self._run.done():
                self._run = asyncio.create_task(self._renewed())
            run = self._run
            # A request that has no time left must not end the run that the next one needs, and the end of the run must
            # not look as if the request was cancelled.
            await asyncio.wait({run})
            answer = self._failed("was stopped") if run.cancelled() else run.result()
        if isinstance(answer, ApiError):
            raise ApiError(str(answer), status=401, hint=answer.hint)
        return answer

    def reject(self, credential: Credential) -> None:
        if credential is self._answer:
            self._answer = None

    async def close(self) -> None:
        if self._run is not None:
            self._run.cancel()
            await asyncio.wait({self._run})

    def _usable(self, answer: Credential | ApiError) -> bool:
        """Whether an answer, be it a failure, need not be asked for again."""
        if isinstance(answer, Credential) and (self._expires is None or self._now() < self._expires):
            return True
        return self._monotonic() - self._ended < PAUSE_SECONDS

    async def _renewed(self) -> Credential | ApiError:
        self._answer = None
        try:
            self._answer, self._expires = self._understood(await self._output())
        except ApiError as e:
            self._answer = e
        finally:
            self._ended = self._monotonic()
        return self._answer

    async def _output(self) -> bytes:
        """What the plugin prints. Raises ApiError."""
        command = self._settings.command
        path = shutil.which(command)
        if path is None:
            hint = self._settings.install_hint or "install it, or correct `command` of the kubeconfig's user"
            raise self._failed("is not there, or is not executable", hint)
        interactive = self._interactive()
        try:
            process = await start(
                path,
                *self._settings.args,
                stdin=None if interactive else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=None if interactive else asyncio.subprocess.PIPE,
                env=self._environment(interactive),
                start_new_session=not interactive,
            )
        except OSError as e:
            raise self._failed(f"cannot be run: {e.strerror or e}", self._settings.install_hint) from e
        assert process.stdout is not None
        seconds = INTERACTIVE_SECONDS if interactive else SECONDS
        error = bytearray()
        try:
            async with asyncio.timeout(seconds):
                output, _ = await asyncio.gather(process.stdout.read(), _collect(process.stderr, error))
                await process.wait()
        except TimeoutError as e:
            await kill(process, group=not interactive)
            raise self._failed(f"did not end within {seconds:g} s", self._said(error)) from e
        except asyncio.CancelledError:
            await kill(process, group=not interactive)
            raise
        if process.returncode:
            raise self._failed(f"failed with exit code {process.returncode}", self._said(error))
        return output

    def _interactive(self) -> bool:
        terminal = sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
        if self._settings.interactive_mode == "Always" and not terminal:
            raise self._failed(
                "has `interactiveMode: Always`, and standard input is not a terminal",
                "use credentials that need no person",
            )
        return terminal and self._settings.interactive_mode != "Never"

    def _environment(self, interactive: bool) -> dict[str, str]:
        spec: dict[str, Any] = {"interactive": interactive}
        if self._settings.provide_cluster_info:
            spec["cluster"] = self._cluster
        info = {"apiVersion": self._settings.api_version, "kind": "ExecCredential", "spec": spec}
        given = {variable.name: variable.value for variable in self._settings.env}
        return {**os.environ, **given, "KUBERNETES_EXEC_INFO": msgspec.json.encode(info).decode()}

    def _understood(self, output: bytes) -> tuple[Credential, datetime | None]:
        """The credential in an answer, and when it expires. Raises ApiError."""
        try:
            answer = msgspec.json.decode(output, type=_Answer)
        except UNREADABLE as e:
            raise self._failed(f"printed no ExecCredential: {e}", "run it by hand to see what it prints") from e
        if (answer.kind, answer.api_version) != ("ExecCredential", self._settings.api_version):
            raise self._failed(
                f"printed {answer.kind or 'no kind'} of {answer.api_version or 'no apiVersion'}",
                f"it must print ExecCredential of {self._settings.api_version}, the `apiVersion` in the kubeconfig",
            )
        status = answer.status or _Status()
        certificate, key = status.client_certificate_data, status.client_key_data
        if bool(certificate) != bool(key):
            raise self._failed("returned a certificate or a key, not both")
        if not (status.token or certificate):
            raise self._failed("returned neither a token nor a certificate", "log in with its own command")
        pair = KeyPair(certificate.encode(), key.encode()) if certificate else None
        try:
            credential = bearer(status.token, "its token") if status.token else Credential()
            if pair:
                check(pair)
        except UsageError as e:
            raise self._failed(f"returned credentials that cannot be used: {e}", e.hint) from e
        expires = status.expiration_timestamp
        if expires is not None and expires.tzinfo is None:
            expires = expires.replace(tzinfo=UTC)
        late = (
            f"{self._name} returned credentials that expired at {expires}" if expires and expires <= self._now() else ""
        )
        return Credential(credential.authorization, pair, late), expires

    def _said(self, error: bytearray) -> str:
        text = error.decode("utf-8", "replace").strip()
        parts = (f"it wrote: {text}" if text else "", self._settings.install_hint)
        return "; ".join(part for part in parts if part) or "run it by hand to see why"

    def _failed(self, text: str, hint: str = "") -> ApiError:
        return ApiError(f"{self._name} {text}", status=401, hint=hint)


async def _collect(stream: asyncio.StreamReader | None, last: bytearray) -> None:
    """Keep the last bytes of a stream."""
    while stream is not None and (chunk := await stream.read(65536)):
        last += chunk
        del last[:-STDERR_BYTES]
