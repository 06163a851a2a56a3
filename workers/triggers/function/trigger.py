"""The ``function`` trigger: one call for each event."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial

import msgspec
import structlog

from kubecdc import function
from kubecdc.function import Context, Event
from kubecdc.metrics import WORKERS, Gauge
from kubecdc.workers.outcome import Failure, Outcome, Retry
from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.parameters import ParameterError, rewrite
from kubecdc.workers.sensor.values import context
from kubecdc.workers.triggers.function.calls import Call, OwnLoop, in_own_thread
from kubecdc.workers.triggers.function.handler import Found
from kubecdc.workers.triggers.function.judgement import Judge
from kubecdc.workers.triggers.function.manifest import Function
from kubecdc.workers.triggers.function.request import FunctionRequest

log = structlog.get_logger()
MOST_LEFT_BEHIND = 16  # calls of a trigger whose time is over and that go on; each may keep a thread
ENDING = 0.5  # seconds for a coroutine to end after its time is over
_LEFT_BEHIND = Gauge(
    "kubecdc_function_calls_left_behind",
    "Handler calls that still run after their time was over",
    ("sensor", "trigger"),
    by=WORKERS,
)


class FunctionTrigger:
    """Calls the handler, a function in a thread of its own, a coroutine function on an event loop in another thread.

    A call that does not end in time is a failed attempt. A thread cannot be ended: it is left behind. With
    `MOST_LEFT_BEHIND` of them, no call is begun until one has ended.
    """

    def __init__(self, handler: Found) -> None:
        self._handler = handler
        self._left: set[asyncio.Future[Outcome]] = set()
        self._loop: OwnLoop | None = None
        self._judge = Judge()
        self._exported: Callable[[], None] = lambda: None  # ends the metric

    def prepare(self, request: TriggerRequest[Function]) -> FunctionRequest:
        """Apply ``parameters``. Raises ParameterError."""
        return FunctionRequest(
            request, rewrite(request.config, request.config.parameters, request.values, within="function")
        )

    async def execute(self, request: FunctionRequest) -> Outcome:
        """Call the handler once. Its deadline is the manifest's ``timeout``."""
        name, seconds = request.config.handler, request.config.timeout.total_seconds()
        if len(self._left) >= MOST_LEFT_BEHIND:
            what = f"{len(self._left)} calls have not ended although their time is over"
            return Retry(f"{name}: {what}; none is begun until one of them ends", ours=True)
        given = _context(request.request, time.monotonic() + seconds)
        try:
            call = self._begin(request, given)
        except RuntimeError:
            return Retry(f"{name}: no thread can be started to call it in", ours=True)
        try:
            await asyncio.wait([call.ended], timeout=seconds)
            if not call.ended.done():
                given.end()
                call.cancel()
                if self._handler.is_async:  # which can be cancelled
                    await asyncio.wait([call.ended], timeout=ENDING)
                return Retry(f"{name}: has not ended within {seconds:g} s")
        finally:
            if not call.ended.done():
                given.end()
                call.cancel()
                self._leave(call, request.request)
        return call.ended.result()

    def _begin(self, request: FunctionRequest, given: Context) -> Call:
        """Begin a call. Raises RuntimeError if there can be no thread."""
        source, config = request.request, request.config
        where = f"{source.sensor}/{source.trigger}"
        arguments = (_event(source), given, deepcopy(config.args))
        if not self._handler.is_async:
            return in_own_thread(partial(self._call, config.handler, *arguments), where)
        self._loop = self._loop or OwnLoop(where)
        return self._loop.call(self._call_async(config.handler, *arguments))

    def _call(self, name: str, event: Event, given: Context, args: Mapping[str, object]) -> Outcome:
        try:
            result = self._handler.call(event, given, **args)
        except BaseException as e:  # also SystemExit, which would end the worker
            return self._judge.of(e, name, given)
        if inspect.iscoroutine(result):
            result.close()
            return Failure(f"{name}: returned a coroutine that nobody runs; write it as `async def`")
        return self._judge.returned(result, name, given)

    async def _call_async(self, name: str, event: Event, given: Context, args: Mapping[str, object]) -> Outcome:
        try:
            return self._judge.returned(await self._handler.call(event, given, **args), name, given)
        except BaseException as e:
            task = asyncio.current_task()
            if isinstance(e, asyncio.CancelledError) and task and task.cancelling():
                raise
            return self._judge.of(e, name, given)

    def _leave(self, call: Call, request: TriggerRequest[Function]) -> None:
        """Count a call that goes on though nobody waits for it."""
        if not self._left:
            self._exported = _LEFT_BEHIND.read(lambda: len(self._left), request.sensor, request.trigger)

        def over(ended: asyncio.Future[Outcome]) -> None:
            self._left.discard(ended)
            if not self._left:
                self._exported()

        self._left.add(call.ended)
        call.ended.add_done_callback(over)

    def preview(self, request: FunctionRequest) -> dict[str, object]:
        """The call that `execute` would make. Raises ParameterError."""
        source = request.request
        try:
            data = _event(source).data
        except function.Discard as e:
            raise ParameterError(e.reason) from None
        return {
            "handler": request.config.handler,
            "args": request.config.args,
            "idempotencyKey": source.idempotency_key,
            "event": {**context(source.event), "data": data},
        }

    async def close(self) -> None:
        """End the event loop of the handlers. What still runs in threads is left behind."""
        loop, self._loop = self._loop, None
        if loop:
            await loop.close()


def _event(request: TriggerRequest[Function]) -> Event:
    fields = msgspec.structs.asdict(request.event)
    raw = bytes(fields.pop("data"))
    for stored in ("specversion", "datacontenttype", "encryptionkey"):  # of its form in the queue
        del fields[stored]
    return Event(raw=raw, **fields)


def _context(request: TriggerRequest[Function], deadline: float) -> Context:
    event = request.event
    names = {
        "sensor": request.sensor,
        "trigger": request.trigger,
        "object": event.partitionkey,
        "event_id": event.id,
    }
    return Context(
        sensor=request.sensor,
        trigger=request.trigger,
        idempotency_key=request.idempotency_key,
        attempt=request.attempt,
        deadline=deadline,
        logger=log.bind(**names, attempt=request.attempt),
    )
