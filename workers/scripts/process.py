"""The process that runs programs, as the worker sees it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from kubecdc.workers.scripts import frames

SECONDS = 1.0  # of CPU that a program may take for an event, and once more for each MiB of the event
MEMORY = 128 * 1024 * 1024  # bytes that the process may take beyond what it has at its start
WAIT = 30.0  # seconds for an answer: where CPU is short, a second of it takes longer. Also for the start
_GONE = 1.0  # seconds for a process that was killed to be gone
_BEGIN = "import sys; sys.path[:] = sys.argv.pop().split('\\n'); from kubecdc.workers.scripts.child import main; main()"


class ScriptError(Exception):
    """The program fails for this event, and always will.

    ``is_limit``: it reached a limit, which is not in the manifest. ``has_ended``: that has cost its process.
    """

    def __init__(self, reason: str, *, is_limit: bool = False, has_ended: bool = False) -> None:
        super().__init__(reason)
        self.is_limit = is_limit or has_ended
        self.has_ended = has_ended


class Interrupted(Exception):
    """The program was not run to its end, and that is not its fault. ``ours``: this process could not try."""

    def __init__(self, reason: str, *, ours: bool = False) -> None:
        super().__init__(reason)
        self.ours = ours


class _Died(Interrupted):
    """Somebody else has ended the process."""


def command() -> list[str]:
    """What starts the process. It finds modules where this process does, but reads no environment and no site."""
    modules = "\n".join(str(Path(place).absolute()) for place in sys.path)
    return [sys.executable, "-I", "-S", "-c", _BEGIN, str(MEMORY), modules]


def compile_error(kind: frames.Kind, program: str) -> str:
    """What is wrong with a program, or "". Blocks."""
    request = frames.request(kind, program, None, SECONDS)
    try:
        done = subprocess.run(command(), input=request, capture_output=True, env={}, cwd="/", timeout=WAIT, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        return f"cannot be checked: {e}"
    answer = done.stdout.removeprefix(frames.READY)
    if len(answer) < frames.ANSWER.size:
        return _own_fault(done.returncode, SECONDS) or f"cannot be checked: {_last_line(done.stderr)}"
    end, _ = frames.ANSWER.unpack_from(answer)
    return "" if end == frames.DONE else answer[frames.ANSWER.size :].decode(errors="replace")


def _last_line(text: bytes) -> str:
    return text.decode(errors="replace").strip().rpartition("\n")[2] or "its process has ended"


class Child:
    """The process. It starts with the first request, and anew after it has ended. One request at a time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()  # first come, first served

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return self._process.pid if self._process else None

    async def ask(self, kind: frames.Kind, program: str, data: bytes) -> tuple[bytes, float]:
        """The result of a program for some data, and the seconds that it took. Raises ScriptError, Interrupted.

        A process that somebody else ends is replaced, and the request repeated, once.
        """
        seconds = SECONDS * (1 + len(data) / 2**20)
        request = frames.request(kind, program, data, seconds)
        async with self._lock:
            try:
                return await self._asked(request, data, seconds)
            except _Died:
                return await self._asked(request, data, seconds)

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await _end(process)

    async def _asked(self, request: bytes, data: bytes, seconds: float) -> tuple[bytes, float]:
        now = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(WAIT):
                process = self._process or await self._start()
                begun = now()
                end, answer = await _answer(process, request, data)
        except TimeoutError:
            await self.close()
            raise Interrupted(f"the process of jq and Lua did not answer within {WAIT:g} s") from None
        except (EOFError, OSError):
            raise await self._ended(seconds) from None
        except BaseException:  # the rest of the answer would be taken for that of the next request
            await self.close()
            raise
        if end != frames.DONE:
            raise ScriptError(answer.decode(errors="replace"), is_limit=end == frames.LIMIT)
        return answer, now() - begun

    async def _start(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *command(), stdin=pipe, stdout=pipe, stderr=pipe, env={}, cwd="/"
            )
        except OSError as e:
            raise Interrupted(f"the process of jq and Lua cannot be started: {e}", ours=True) from e
        assert process.stdout is not None
        assert process.stderr is not None
        if not await process.stdout.read(len(frames.READY)):
            said = _last_line(await process.stderr.read())
            raise Interrupted(f"the process of jq and Lua cannot be started: {said}", ours=True)
        return process

    async def _ended(self, seconds: float) -> Exception:
        """Why the process has ended, or has closed its pipes."""
        process = self._process
        code = await _end(process) if process else None  # not killed before: that would hide its code
        await self.close()
        if code is not None and (fault := _own_fault(code, seconds)):
            return ScriptError(fault, has_ended=True)
        return _Died(f"the process of jq and Lua was ended by somebody else ({_status(code)})")


async def _end(process: asyncio.subprocess.Process) -> int | None:
    """The exit code of a process that is about to end, if it does in time."""
    assert process.stdout is not None
    with suppress(TimeoutError):
        async with asyncio.timeout(_GONE):
            await process.stdout.read()  # asyncio ends its wait only after that
            return await process.wait()
    return None


async def _answer(process: asyncio.subprocess.Process, request: bytes, data: bytes) -> tuple[int, bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    if process.stdin.is_closing():  # it has ended in the meantime; uvloop would raise a RuntimeError
        raise EOFError
    process.stdin.write(request)
    process.stdin.write(data)
    await process.stdin.drain()
    end, length = frames.ANSWER.unpack(await process.stdout.readexactly(frames.ANSWER.size))
    if length > len(data) + frames.LARGER:
        raise ScriptError("its process answers with more than it may", has_ended=True)
    return end, await process.stdout.readexactly(length)


def _own_fault(code: int, seconds: float) -> str:
    """What a program did that ended its process with this code; "" if something else has ended it."""
    if code == -signal.SIGPROF:
        return f"it takes more than {seconds:.2g} s of CPU"
    if code in (-signal.SIGABRT, 1):  # of jq, and of Lua where that cannot raise an error
        return f"it needs more than {MEMORY >> 20} MiB of memory"
    if code in (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL, -signal.SIGFPE):
        return f"it crashed its interpreter ({_status(code)})"
    return ""


def _status(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    return signal.Signals(-code).name
