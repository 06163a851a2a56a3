"""Files in git repositories, read with the git that is installed.

Nothing is checked out: the file is taken from the repository's own store, so no path and no link leads out of it.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shlex
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from kubecdc.cluster.proxy import masked
from kubecdc.concurrency import in_thread
from kubecdc.manifest.secrets import KeyRef
from kubecdc.programs import kill, start
from kubecdc.workers.addresses import Addresses, AddressRefused
from kubecdc.workers.objects.answer import Undone
from kubecdc.workers.objects.sources.manifest import GitSource, shown
from kubecdc.workers.objects.sources.read import LARGEST, too_large
from kubecdc.workers.outcome import Failure, Retry

STDERR_BYTES = 4096
LOOK_UP_SECONDS = 10.0
_NAME = r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
_URL = re.compile(rf"[a-z]+://(?:[^@/?#\\\s]*@)?{_NAME}(?::\d*)?(?:/|$)")
_SSH = re.compile(rf"[A-Za-z0-9._-]+@{_NAME}:")
FILES = frozenset({"100644", "100755"})  # modes of plain files in git; links and folders have others


async def read(source: GitSource, values: Mapping[KeyRef, str], addresses: Addresses) -> bytes:
    """The file. ``values`` are those of its keys. git is ended when the caller is cancelled.

    Raises Undone, AddressRefused. git looks the name up again that is judged.
    """
    if addresses.given:
        await _judge(source, addresses)
    login = await _login(source, values, addresses)
    with tempfile.TemporaryDirectory(prefix="kubecdc-git-") as folder:
        return await _Git(source, Path(folder), values, login, redirects=not addresses.given).file()


async def _judge(source: GitSource, addresses: Addresses) -> None:
    """Raises Undone, AddressRefused."""
    if source.address.startswith("file://"):
        return
    found = (_URL if "://" in source.address else _SSH).match(source.address)
    if found is None:  # what git and we might read differently
        raise AddressRefused(
            f"no rule can judge the address {shown(source.address)}; write it without special characters"
        )
    try:
        await in_thread(partial(addresses.look_up, found["host"]), seconds=LOOK_UP_SECONDS)
    except TimeoutError:
        raise Undone(Retry(f"{shown(source.address)}: its name could not be looked up in time")) from None
    except OSError as e:
        raise Undone(Retry(f"{shown(source.address)}: {e.strerror or type(e).__name__}")) from None


async def _login(source: GitSource, values: Mapping[KeyRef, str], addresses: Addresses) -> tuple[str, str] | None:
    """User and password for HTTP. Raises Undone, AddressRefused."""
    if source.creds:
        return values[source.creds.username], values[source.creds.password]
    if source.github_app:
        try:
            from kubecdc.workers.objects.sources import github
        except ImportError:
            missing = "githubApp: cryptography is not installed: pip install 'kubecdc[github]'"
            raise Undone(Retry(missing, ours=True)) from None
        return github.USER, await github.token(source.github_app, values[source.github_app.private_key], addresses)
    return None


class _Git:
    """One fetch of one commit into a folder, with an environment that has nothing of ours."""

    def __init__(
        self,
        source: GitSource,
        folder: Path,
        values: Mapping[KeyRef, str],
        login: tuple[str, str] | None,
        *,
        redirects: bool,
    ) -> None:
        self._source = source
        self._folder = folder
        self._where = f"{shown(source.address)}, {source.file_path}"
        self._secrets: list[str] = []
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(folder),
            "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file",  # others may run commands
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "LC_ALL": "C",
            **self._settings(login, redirects=redirects),
            **self._key(values),
        }

    async def file(self) -> bytes:
        source = self._source
        ref = source.ref or (f"refs/tags/{source.tag}" if source.tag else "")
        ref = ref or (f"refs/heads/{source.branch}" if source.branch else "HEAD")
        await self._run("init", "-q", "--bare", ".")
        await self._run("fetch", "-q", "--depth=1", "--no-tags", "--", source.address, ref)
        entry = (await self._run("ls-tree", "-l", "FETCH_HEAD", "--", source.file_path)).decode(errors="replace")
        mode, _, _, size = [*entry.partition("\t")[0].split(), "", "", "", ""][:4]
        if not entry:
            raise Undone(Retry(f"{self._where}: there is no such file at {ref}"))
        if mode not in FILES:
            raise Undone(Failure(f"{self._where}: it is not a regular file"))
        if int(size) > LARGEST:
            raise too_large(self._where)
        return await self._run("cat-file", "blob", f"FETCH_HEAD:{source.file_path}")

    async def _run(self, *arguments: str) -> bytes:
        try:
            process = await start(
                "git",
                *arguments,
                cwd=self._folder,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as e:
            raise Undone(Retry(f"{self._where}: git cannot be run: {e.strerror}", ours=True)) from None
        try:
            output, told = await process.communicate()
        finally:
            await kill(process, group=True)
        if process.returncode:
            raise Undone(Retry(f"{self._where}: git {arguments[0]}: {self._said(told)}"))
        return output

    def _said(self, told: bytes) -> str:
        text = masked(told[-STDERR_BYTES:].decode(errors="replace")).strip()
        for secret in filter(None, self._secrets):
            text = text.replace(secret, "***")
        return " ".join(text.split()) or "it failed"

    def _settings(self, login: tuple[str, str] | None, *, redirects: bool) -> dict[str, str]:
        """Settings of git: those that are secret are no arguments, which everybody can see.

        The credentials for HTTP are for this address alone. ``redirects``: whether the first request may follow some.
        """
        settings = {} if redirects else {"http.followRedirects": "false"}
        if login is not None:
            user, password = login
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._secrets = [token, password, user]
            settings[f"http.{self._source.address}.extraHeader"] = f"Authorization: Basic {token}"
        found = {"GIT_CONFIG_COUNT": str(len(settings))}
        for n, (key, value) in enumerate(settings.items()):
            found |= {f"GIT_CONFIG_KEY_{n}": key, f"GIT_CONFIG_VALUE_{n}": value}
        return found

    def _key(self, values: Mapping[KeyRef, str]) -> dict[str, str]:
        """The key for SSH, in a file that nobody else may read: ssh takes no other."""
        options = ["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]
        if self._source.insecure_ignore_host_key:
            options += ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={os.devnull}"]
        else:
            options += ["-o", "StrictHostKeyChecking=yes"]
        if ref := self._source.ssh_key_secret:
            file = self._folder / "key"
            file.touch(0o600)
            file.write_text(values[ref] + "\n")
            options += ["-i", str(file)]
        return {"GIT_SSH_COMMAND": shlex.join(["ssh", *options])}
