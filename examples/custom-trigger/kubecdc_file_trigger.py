"""A trigger that appends each event to a file, as a line of JSON that is on disk when the event is acked."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from string import Formatter
from typing import Annotated
from urllib.parse import quote
from weakref import WeakValueDictionary

from pydantic import AfterValidator, Field

from kubecdc.manifest.fields import Duration, Items, invalid
from kubecdc.manifest.model import Model
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.parameter_manifest import Parameter
from kubecdc.workers.sensor.parameters import rewrite
from kubecdc.workers.sensor.policy import Policy
from kubecdc.workers.triggers.contract import Context, TriggerType

PLACEHOLDERS = ("source", "event", "object", "day")
PERMANENT = {errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}
LOCK_SECONDS = 0.01  # between two attempts to lock a file that another process has locked
_ON_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")  # inside a JSON string, line breaks are escaped


def _name(text: str) -> str:
    try:
        parts = {tuple(part[1:]) for part in Formatter().parse(text) if part[1] is not None}
    except ValueError as e:
        raise invalid(f"{text!r} is not a template: {e}") from e
    if not parts <= {(name, "", None) for name in PLACEHOLDERS} or "/" in text or not text:
        raise invalid(f"{text!r} is not a name", "the placeholders are {" + "}, {".join(PLACEHOLDERS) + "}")
    return text


def _mode(text: str) -> str:
    if not (len(text) == 4 and text[0] == "0" and set(text) <= set("01234567")):
        raise invalid(f"{text!r} is not a file mode", 'write it like "0640"')
    return text


class File(Model):
    """Appends the event to the file ``name`` in the folder ``path``, which must exist. Parameters may write both."""

    path: str = Field(min_length=1)
    name: Annotated[str, AfterValidator(_name)] = "{source}-{day}.jsonl"
    mode: Annotated[str, AfterValidator(_mode)] = "0640"
    timeout: Duration = timedelta(seconds=10)
    parameters: Items[Parameter] = ()


@dataclass(frozen=True)
class Append:
    """A line for a file."""

    path: Path
    mode: int
    line: bytes
    timeout: float  # seconds


class FileTrigger:
    """Appends lines. Processes lock the file, so lines stay whole; events of one object stay in order."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    def prepare(self, request: TriggerRequest[File]) -> Append:
        """Apply the parameters and fill in the name."""
        config = rewrite(request.config, request.config.parameters, request.values, within="file")
        event = request.event
        values = (event.source, event.subject, event.partitionkey, event.time[:10])
        name = config.name.format(**{k: quote(v, safe="") for k, v in zip(PLACEHOLDERS, values, strict=True)})
        line = event.encode().translate(_ON_ONE_LINE) + b"\n"
        return Append(Path(config.path, name), int(config.mode, 8), line, config.timeout.total_seconds())

    async def execute(self, request: Append) -> Outcome:
        """Append the line. It is on disk when this returns."""
        lock = self._locks.setdefault(request.path, asyncio.Lock())
        try:
            async with asyncio.timeout(request.timeout), lock:
                file = await _locked(request)
                # A thread cannot be cancelled: it closes the file even if nobody waits for it any more.
                await asyncio.shield(asyncio.to_thread(_append, file, request.path.parent, request.line))
        except TimeoutError:
            return Retry(f"{request.path} was not written within {request.timeout:g} s")
        except OSError as e:
            reason = f"{request.path} cannot be written: {e.strerror}"
            return Failure(reason) if e.errno in PERMANENT else Retry(reason)
        except ValueError as e:  # a null character in the path
            return Failure(f"the path is not valid: {e}")
        return Success()

    def preview(self, request: Append) -> dict[str, object]:
        """The file and the line."""
        return {"path": str(request.path), "mode": f"{request.mode:04o}", "line": request.line.decode(errors="replace")}

    async def close(self) -> None:
        """Nothing to release."""


async def _locked(request: Append) -> int:
    """The open file, with an exclusive lock. Raises OSError."""
    file = os.open(request.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, request.mode)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return file
            except BlockingIOError:
                await asyncio.sleep(LOCK_SECONDS)
    except BaseException:
        os.close(file)
        raise


def _append(file: int, folder: Path, line: bytes) -> None:
    """Append the line and close the file. An incomplete line, which a crash leaves, is ended first."""
    try:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            line = b"\n" + line
        while line:
            line = line[os.write(file, line) :]
        os.fsync(file)
        if not size:
            _sync(folder)
    finally:
        os.close(file)


def _sync(folder: Path) -> None:
    """Make the name of a new file durable."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


class FileType(TriggerType[File]):
    """The type ``file``."""

    model = File
    example = "{path: /events}"

    def build(self, config: File, policy: Policy, context: Context) -> FileTrigger:
        """The trigger."""
        return FileTrigger()
