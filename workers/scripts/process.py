"""The process that runs programs, as the worker sees it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from kubecdc.workers.scripts import frames
from kubecdc.workers.scripts.exchange import Ended, Exchange

SECONDS = 1.0  # of CPU that a program may take for an event, and once more for each MiB of the event
MEMORY = 128 * 1024 * 1024  # bytes that the process may take beyond what it has at its start
WAIT = 30.0  # seconds for an answer: where CPU is short, a second of it takes longer. Also for the start
AHEAD = 4  # requests that are sent before they are answered: the process need not wait for the next
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
    """The process. It starts with the first request, and again after it has ended."""

    def __init__(self) -> None:
        self._exchange: Exchange | None = None
        self._starting = asyncio.Lock()
        self._room = asyncio.Semaphore(AHEAD)  # first come, first served

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return self._exchange.pid if self._exchange and not self._exchange.ended.done() else None

    @property
    def waiting(self) -> int:
        """How many requests it has not answered."""
        return self._exchange.waiting if self._exchange else 0

    async def ask(self, kind: frames.Kind, program: str, data: bytes) -> tuple[bytes, float]:
        """The result of a program for some data, and the seconds that it took. Raises ScriptError, Interrupted.

        If somebody else ends the process, it is replaced, and the request repeated, once. What another request does to
        it does not count.
        """
        seconds = SECONDS * (1 + len(data) / 2**20)
        request = frames.request(kind, program, data, seconds)
        repeated = False
        async with self._room:
            while True:
                exchange = await self._opened()
                try:
                    end, text, took = await exchange.ask(request, data, WAIT)
                    break
                except Ended as e:
                    if not e.at_it:
                        continue
                    error = _error(e, seconds)
                    if repeated or not isinstance(error, _Died):
                        raise error from None
                    repeated = True
        if end != frames.DONE:
            raise ScriptError(text.decode(errors="replace"), is_limit=end == frames.LIMIT)
        return text, took

    async def close(self) -> None:
        """End the process."""
        if self._exchange is not None:
            await self._exchange.close()

    async def _opened(self) -> Exchange:
        """A process that can be asked. Raises Interrupted."""
        if self._exchange is None or not self._exchange.open:
            async with self._starting:
                if self._exchange is None or not self._exchange.open:
                    self._exchange = await _start()
        return self._exchange


async def _start() -> Exchange:
    try:
        _, exchange = await asyncio.get_running_loop().subprocess_exec(Exchange, *command(), env={}, cwd="/")
    except OSError as e:
        raise Interrupted(f"the process of jq and Lua cannot be started: {e}", ours=True) from e
    try:
        async with asyncio.timeout(WAIT):
            if await asyncio.shield(exchange.ready):
                return exchange
    except TimeoutError:
        await exchange.close()
        raise Interrupted(f"the process of jq and Lua did not start within {WAIT:g} s") from None
    except asyncio.CancelledError:
        await exchange.close()
        raise
    raise Interrupted(f"the process of jq and Lua cannot be started: {_last_line(exchange.said)}", ours=True)


def _error(ended: Ended, seconds: float) -> ScriptError | Interrupted:
    """Why the process has ended while it was at a request."""
    if ended.late:
        return Interrupted(f"the process of jq and Lua did not answer within {WAIT:g} s")
    if ended.overlong:
        return ScriptError("its process answers with more than it may", has_ended=True)
    if ended.code is not None and (fault := _own_fault(ended.code, seconds)):
        return ScriptError(fault, has_ended=True)
    return _Died(f"the process of jq and Lua was ended by somebody else ({_status(ended.code)})")


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
