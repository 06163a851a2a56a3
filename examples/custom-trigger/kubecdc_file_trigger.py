"""A trigger that appends each event to a file, as a line of JSON that is on disk when the event is acked."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
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

NAME = re.compile(r"([^{}/]|\{(source|event|object|day)\})+")
PERMANENT = {errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}
LOCK_SECONDS = 0.01  # between two attempts to lock a file that another process has locked
_ON_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")  # inside a JSON string, line breaks are escaped


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise invalid(f"{text!r} is not a name", "the placeholders are {source}, {event}, {object} and {day}")
    return text


class File(Model):
    """Appends the event to the file ``name`` in the folder ``path``, which must exist. Parameters may write both."""

    path: str = Field(min_length=1)
    name: Annotated[str, AfterValidator(_name)] = "{source}-{day}.jsonl"
    mode: str = Field("0640", pattern="^0[0-7]{3}$")
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
        values = {"source": event.source, "event": event.subject, "object": event.partitionkey, "day": event.time[:10]}
        name = config.name.format(**{key: quote(value, safe="") for key, value in values.items()})
        line = event.encode().translate(_ON_ONE_LINE) + b"\n"
        return Append(Path(config.path, name), int(config.mode, 8), line, config.timeout.total_seconds())

    async def execute(self, request: Append) -> Outcome:
        """Append the line. It is on disk when this returns."""
        lock = self._locks.setdefault(request.path, asyncio.Lock())
        try:
            async with asyncio.timeout(request.timeout), lock:
                while not await asyncio.to_thread(_append, request):  # noqa: ASYNC110 - nothing tells of a lock
                    await asyncio.sleep(LOCK_SECONDS)
        except TimeoutError:
            return Retry(f"{request.path} was not written within {request.timeout:g} s")
        except ValueError as e:  # a null character in the path, or a pipe
            return Failure(f"{request.path} is not the path of a file: {e}")
        except OSError as e:
            reason = f"{request.path} cannot be written: {e.strerror}"
            return Failure(reason) if e.errno in PERMANENT else Retry(reason)
        return Success()

    def preview(self, request: Append) -> dict[str, object]:
        """The file and the line."""
        return {"path": str(request.path), "mode": f"{request.mode:04o}", "line": request.line.decode(errors="replace")}

    async def close(self) -> None:
        """Nothing to release."""


def _append(request: Append) -> bool:
    """Append the line, in a thread. False if the file is locked: then nothing was done."""
    with open(request.path, "a+b", opener=partial(os.open, mode=request.mode)) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        size = file.seek(0, os.SEEK_END)
        cut_off = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"  # by a crash
        file.write(b"\n" + request.line if cut_off else request.line)
        file.flush()
        os.fsync(file.fileno())
        folder = os.open(request.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name of a new file
        finally:
            os.close(folder)
    return True


class FileType(TriggerType[File]):
    """The type ``file``."""

    model = File
    example = "{path: /events}"

    def build(self, config: File, policy: Policy, context: Context) -> FileTrigger:
        """The trigger."""
        return FileTrigger()
