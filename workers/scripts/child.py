"""The process that runs programs: it reads requests from standard input, and answers on standard output.

It can open no file and no connection, has no environment, and ends with its worker. A program that takes too much time
ends it by a signal, at whatever it is. The worker starts the next one.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kubecdc.workers.scripts import frames
from kubecdc.workers.scripts.failed import Failed

REASON = 2000  # characters of why a program failed
DEPTH = 12_000  # of nested data, and of what walks through it


def main() -> None:
    """Answer until standard input ends. The argument is how many bytes of memory it may take beyond what it has."""
    memory = int(sys.argv[1])
    os.environ.clear()  # Python itself has set LC_CTYPE
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they are for the worker, which ends this in time
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # what the timer sends: it ends the process within any library
    sys.setrecursionlimit(DEPTH)
    languages = _languages()
    with Path(os.devnull).open("wb") as nowhere:  # for what jq's `debug` writes
        os.dup2(nowhere.fileno(), sys.stderr.fileno())
    _confine(memory)
    source, out = sys.stdin.buffer, sys.stdout.buffer
    out.write(frames.READY)
    out.flush()
    while head := source.read(frames.REQUEST.size):
        kind, compile_only, seconds, program, data = frames.REQUEST.unpack(head)
        text, given = source.read(program).decode(), source.read(data)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        end, answer = _answer(languages.get(frames.KINDS[kind]), text, None if compile_only else given)
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.write(frames.ANSWER.pack(end, len(answer)))
        out.write(answer)
        out.flush()


Language = Callable[[str, bytes | None], bytes]  # a program, and the data unless it is only compiled


def _languages() -> dict[frames.Kind, Language]:
    """Those whose libraries are installed: later nothing can be imported."""
    found: dict[frames.Kind, Language] = {}
    with suppress(ImportError):
        from kubecdc.workers.scripts import jq

        found["jq"] = jq.run
    with suppress(ImportError):
        from kubecdc.workers.scripts import lua

        found["lua"], found["filter"] = lua.transform, lua.holds
    return found


def _confine(memory: int) -> None:
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # where memory is short, this process goes first
    used = 0
    with suppress(OSError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for what, most in (
        (resource.RLIMIT_AS, used + memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),  # those that are open stay so
    ):
        with suppress(ValueError, OSError):  # macOS has no limit of memory
            resource.setrlimit(what, (most, most))


def _answer(language: Language | None, program: str, data: bytes | None) -> tuple[int, bytes]:
    if language is None:
        return frames.LIMIT, b"the library that runs it cannot be loaded"
    try:
        result = language(program, data)
    except Failed as e:
        return frames.LIMIT if e.is_limit else frames.FAILED, str(e)[:REASON].encode(errors="replace")
    except RecursionError:
        return frames.LIMIT, b"its data are nested too deep, or contain themselves"
    except MemoryError:
        return frames.LIMIT, b"it needs more memory than it may have"
    except Exception as e:
        return frames.FAILED, f"{type(e).__name__}: {e}"[:REASON].encode(errors="replace")
    if data is not None and len(result) > len(data) + frames.LARGER:
        said = f"its result has {len(result)} bytes: at most {frames.LARGER // 1024} KiB more than the event are kept"
        return frames.LIMIT, said.encode()
    return frames.DONE, result
