"""The function that a manifest names: found, imported, and checked before anything calls it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from traceback import extract_tb

from kubecdc.errors import UsageError
from kubecdc.function import Handler
from kubecdc.manifest.finding import Finding
from kubecdc.reasons import one_line

INSTALL = "install its package where this runs, or put its folder into PYTHONPATH"


class BadHandler(UsageError):
    """The handler does not exist, or cannot be called as one."""


@dataclass(frozen=True)
class Found:
    """A handler, and whether it is a coroutine function."""

    call: Handler
    is_async: bool


def find(name: str) -> Found:
    """Import ``module:function``. Raises BadHandler."""
    module, _, path = name.partition(":")
    try:
        found: object = importlib.import_module(module)
    except (Exception, SystemExit) as e:  # whatever the module does while it is imported
        raise BadHandler(f"module `{module}` cannot be imported: {_why(e)}", hint=INSTALL) from e
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except Exception as e:
            raise BadHandler(f"module `{module}` has no `{path}`: {_text(e)}", hint="correct the name") from e
    if not callable(found) or inspect.isclass(found):
        what = "a class" if inspect.isclass(found) else f"of type {type(found).__name__}"
        raise BadHandler(f"`{path}` is {what}, not a function", hint=_shape(path))
    inner = found if inspect.isroutine(found) else getattr(found, "__call__", found)  # noqa: B004 - of an instance
    if any(test(each) for each in (found, inner) for test in (inspect.isgeneratorfunction, inspect.isasyncgenfunction)):
        raise BadHandler(f"`{path}` has a `yield`: a call would do nothing", hint="use `return`")
    return Found(found, inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(inner))


def misfits(name: str, handler: Handler, given: Collection[str]) -> Iterator[Finding]:
    """Why the handler cannot be called with the event, the context and the arguments of these names."""
    path = name.partition(":")[2]
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):  # some functions in C do not tell
        return
    if not _binds(signature):
        yield Finding(("handler",), f"`{path}` does not take an event and a context", _shape(path))
        return
    named = {p.name: p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    own = [*named][2:] if len(named) > 1 else []
    for unknown in [arg for arg in given if not _binds(signature, arg)]:
        hint = f"it takes {', '.join(f'`{known}`' for known in own)}" if own else f"add it to `{path}`"
        yield Finding(("args", unknown), f"`{path}` has no argument `{unknown}`", hint)
    missing = [p.name for p in named.values() if p.default is p.empty and p.name in own and p.name not in given]
    for required in missing:
        yield Finding(("args",), f"`{path}` needs the argument `{required}`", f"add `{required}: …`")


def _binds(signature: inspect.Signature, *names: str) -> bool:
    try:
        signature.bind_partial(None, None, **dict.fromkeys(names))
    except TypeError:
        return False
    return True


def _shape(path: str) -> str:
    return f"write `def {path.rpartition('.')[2]}(event, context)`, or `async def`"


def _why(error: BaseException) -> str:
    """The error and the line of the module that raised it, if it is not only that there is none."""
    frames = [frame for frame in extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames[1:] else ""
    return f"{_text(error)}{where}"


def _text(error: BaseException) -> str:
    return one_line(f"{type(error).__name__}: {error}")
