"""The ``function`` trigger beyond the contract of all types: handlers, their outcomes, and those that hang."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from pydantic import ValidationError

from kubecdc import testing
from kubecdc.function import Discard
from kubecdc.function import Retry as AskedRetry
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.sensor.parameters import ParameterError
from kubecdc.workers.sensor.policy import Policy
from kubecdc.workers.testing.case import event_of, running
from kubecdc.workers.triggers.contract import Context
from kubecdc.workers.triggers.function import trigger as function_trigger
from kubecdc.workers.triggers.function.handler import BadHandler
from kubecdc.workers.triggers.function.manifest import Function
from kubecdc.workers.triggers.function.type import FunctionType
from tests.exported import REGISTRY
from tests.workers import handlers
from tests.workers.handlers import Peer
from tests.workers.support import until

TYPE = FunctionType()
CALLS = "kubecdc_function_calls_left_behind"
NAMES = {"sensor": "sensor", "trigger": "trigger"}


class Setting:
    """A trigger with a handler of `handlers`."""

    type = TYPE
    context = Context("sensor", concurrency=4)
    secrets = ()

    def __init__(self, handler: str, **config: Any) -> None:
        self.config: Mapping[str, Any] = {"handler": f"tests.workers.handlers:{handler}", **config}


@pytest.fixture
def left_behind() -> Callable[[], float]:
    """How many calls this test has left behind. What others have is not told to an event loop that has ended."""
    before = REGISTRY.get_sample_value(CALLS, NAMES) or 0.0
    return lambda: (REGISTRY.get_sample_value(CALLS, NAMES) or 0.0) - before


@pytest.fixture(autouse=True)
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    made = Peer()
    made.working.set()
    monkeypatch.setattr(handlers, "PEER", made)
    yield made
    made.working.set()


async def call(handler: str, event: Any = None, **config: Any) -> Outcome:
    async with running(Setting(handler, **config)) as made:  # type: ignore[arg-type]
        return await made.execute(event or event_of(1))


BOTH = pytest.mark.parametrize("handler", ["send", "send_async"])


@BOTH
async def test_a_handler_gets_the_event_the_context_and_its_arguments(handler: str, peer: Peer) -> None:
    before = time.monotonic()
    event = event_of(7, redelivery="replay", timeline=2)
    assert (
        await call(handler, event, args={"channel": "builds", "levels": [1, {"a": None}]}, timeout="30s") == Success()
    )
    ((got, context, args),) = peer.calls
    assert args == {"channel": "builds", "levels": [1, {"a": None}]}
    for name in ("id", "source", "subject", "type", "time", "partitionkey", "sequence", "epoch", "redelivery"):
        assert getattr(got, name) == getattr(event, name)
    assert (got.action, got.name, got.namespace, got.timeline) == ("UPDATE", "w1", "", 2)
    assert (got.body["n"], got.old_body, got.raw) == (7, None, bytes(event.data))
    assert context.idempotency_key == f"workflows/{event.id}/sensor/trigger"
    assert (context.sensor, context.trigger, context.attempt) == ("sensor", "trigger", 1)
    assert before + 30 <= context.deadline <= time.monotonic() + 30
    assert not context.cancelled


async def test_arguments_are_the_callers_own(peer: Peer) -> None:
    async with running(Setting("send", args={"list": []})) as made:  # type: ignore[arg-type]
        for number in range(2):
            await made.execute(event_of(number))
            peer.calls[-1][2]["list"].append(number)
    assert [args["list"] for _, _, args in peer.calls] == [[0], [1]]


@BOTH
@pytest.mark.parametrize(
    ("mode", "outcome", "reason"),
    [
        ("away", Retry, "ConnectionError: the peer is away xxx"),
        ("busy", Retry, "the peer is busy"),
        ("refused", Failure, "the peer wants no such event"),
        ("exits", Retry, "SystemExit: 3"),
        ("grouped", Failure, "one of them"),
        ("unreadable", Retry, "Unreadable: (its text cannot be read)"),
    ],
)
async def test_what_a_handler_raises_decides(
    handler: str, mode: str, outcome: type[Retry | Failure], reason: str, peer: Peer
) -> None:
    peer.mode = mode
    made = await call(handler)
    assert isinstance(made, outcome)
    assert made.reason.startswith(f"tests.workers.handlers:{handler}: {reason}")
    assert len(made.reason) <= 1000
    if isinstance(made, Retry):
        assert made.after == (7.5 if mode == "busy" else None)
        assert not made.ours


async def test_where_an_error_comes_from_is_in_the_reason_and_logged_once(peer: Peer) -> None:
    peer.mode = "unreadable"
    async with running(Setting("send")) as made:  # type: ignore[arg-type]
        with structlog.testing.capture_logs() as lines:
            outcomes = [await made.execute(event_of(number)) for number in range(3)]
    assert all(isinstance(each, Retry) and "handlers.py:" in each.reason for each in outcomes)
    (line,) = lines
    assert line["error"] == "Unreadable: (its text cannot be read)"
    assert [each.rpartition(" in ")[2] for each in line["calls"]] == ["send", "take"]
    assert (line["sensor"], line["event_id"], line["attempt"]) == ("sensor", event_of(0).id, 1)


@pytest.mark.parametrize(
    ("handler", "outcome"),
    [
        ("returns_retry", Retry("tests.workers.handlers:returns_retry: asks to be called again", 3)),
        (
            "forgets_await",
            Failure(
                "tests.workers.handlers:forgets_await: returned a coroutine that nobody runs; write it as `async def`"
            ),
        ),
        ("instance", Success()),
        ("instance.method", Success()),
    ],
)
async def test_what_a_handler_may_be_and_return(handler: str, outcome: Outcome) -> None:
    assert await call(handler) == outcome


@BOTH
async def test_a_handler_that_does_not_end_is_a_failed_attempt(handler: str, peer: Peer) -> None:
    peer.working.clear()
    outcome = await call(handler, timeout="50ms")
    assert outcome == Retry(f"tests.workers.handlers:{handler}: has not ended within 0.05 s")


async def test_a_coroutine_whose_time_is_over_is_cancelled(peer: Peer, left_behind: Callable[[], float]) -> None:
    peer.working.clear()
    async with running(Setting("send_async", timeout="50ms")) as made:  # type: ignore[arg-type]
        await made.execute(event_of(1))
        await until(peer.cancelled.is_set)
        await until(lambda: left_behind() == 0)


async def test_threads_that_do_not_end_are_counted_and_bounded(
    peer: Peer, left_behind: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(function_trigger, "MOST_LEFT_BEHIND", 3)
    peer.working.clear()
    async with running(Setting("send", timeout="20ms")) as made:  # type: ignore[arg-type]
        for number in range(3):
            assert "has not ended" in str(await made.execute(event_of(number)))
        assert left_behind() == 3
        refused = await made.execute(event_of(4))
        assert refused == Retry(
            "tests.workers.handlers:send: 3 calls have not ended although their time is over; none is begun until one "
            "of them ends",
            ours=True,
        )
        peer.working.set()
        await until(lambda: left_behind() == 0)
        assert await made.execute(event_of(5)) == Success()


async def test_a_coroutine_that_blocks_holds_up_neither_the_worker_nor_its_end(
    peer: Peer, left_behind: Callable[[], float]
) -> None:
    peer.working.clear()
    async with running(Setting("blocks", timeout="50ms")) as made:  # type: ignore[arg-type]
        execution = asyncio.create_task(made.execute(event_of(1)))
        turns = 0
        while not execution.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 5
        assert isinstance(execution.result(), Retry)
        await made.trigger.close()  # in spite of it
        assert left_behind() == 1
    peer.working.set()
    await until(lambda: left_behind() == 0)


async def test_a_handler_in_a_thread_learns_that_nobody_waits(peer: Peer, left_behind: Callable[[], float]) -> None:
    peer.working.clear()
    async with running(Setting("send", timeout="1h")) as made:  # type: ignore[arg-type]
        execution = asyncio.create_task(made.execute(event_of(1)))
        await until(lambda: any(thread.name == "sensor/trigger" for thread in threading.enumerate()))
        execution.cancel()
        await asyncio.gather(execution, return_exceptions=True)
        assert left_behind() == 1
        peer.working.set()
        await until(lambda: bool(peer.calls))
    assert peer.calls[0][1].cancelled
    assert peer.calls[0][1].remaining > 60


async def test_without_a_thread_the_call_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more)
    outcome = await call("send")
    assert outcome == Retry("tests.workers.handlers:send: no thread can be started to call it in", ours=True)


async def test_data_that_cannot_be_read_is_a_dead_letter_for_those_who_read_it(peer: Peer) -> None:
    event = msgspec.structs.replace(event_of(1), data=msgspec.Raw(b'{"type": "ADD", "body": ' + b"[" * 100_000))
    assert await call("instance", event) == Success(), "this handler does not read it"
    with pytest.raises(Discard, match="nested too deep"):
        _ = peer.calls[0][0].data
    async with running(Setting("send")) as made:  # type: ignore[arg-type]
        with pytest.raises(ParameterError, match="nested too deep"):
            made.trigger.preview(made.prepare(event))


def found(handler: str, *written: str, **args: Any) -> list[str]:
    config = Function(handler=handler, args=args)
    return [
        f"{'.'.join(map(str, finding.location))}: {finding.message}; {finding.hint}"
        for finding in TYPE.missing(config, frozenset(written))
    ]


HERE = "tests.workers.handlers"


@pytest.mark.parametrize(
    ("handler", "args", "problem"),
    [
        (
            "no_such_package.mod:f",
            {},
            "handler: module `no_such_package.mod` cannot be imported: ModuleNotFoundError: ",
        ),
        (f"{HERE}:gone", {}, f"handler: module `{HERE}` has no `gone`: AttributeError: "),
        (f"{HERE}:instance.gone", {}, f"handler: module `{HERE}` has no `instance.gone`: "),
        (f"{HERE}:number", {}, "handler: `number` is of type int, not a function; write `def number(event, context)`"),
        (f"{HERE}:Handlers", {}, "handler: `Handlers` is a class, not a function; "),
        (f"{HERE}:generates", {}, "handler: `generates` has a `yield`: a call would do nothing; use `return`"),
        (f"{HERE}:only_event", {}, "handler: `only_event` does not take an event and a context; "),
        (f"{HERE}:exact", {}, "args: `exact` needs the argument `channel`; add `channel: …`"),
        (
            f"{HERE}:exact",
            {"channel": "a", "x": 1},
            "args.x: `exact` has no argument `x`; it takes `channel`, `retries`",
        ),
        (f"{HERE}:exact", {"channel": "a", "event": 1}, "args.event: `exact` has no argument `event`; "),
        (f"{HERE}:instance", {"x": 1}, "args.x: `instance` has no argument `x`; add it to `instance`"),
    ],
)
def test_a_handler_that_cannot_be_called_is_found_before_an_event(
    handler: str, args: dict[str, Any], problem: str
) -> None:
    (only,) = found(handler, **args)
    assert only.startswith(problem)


def test_handlers_that_can_be_called_are_left_alone() -> None:
    assert found(f"{HERE}:exact", channel="a") == []
    assert found(f"{HERE}:exact", "args.channel", "args.retries.0", "timeout") == [], "parameters write them"
    assert found(f"{HERE}:send", anything=1) == []
    assert found(f"{HERE}:instance.method", greeting="hi") == []
    assert found("builtins:print") == [], "nothing is known of its arguments, and it takes two"


def test_a_module_that_fails_is_named_with_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_handlers.py").write_text("import sys\n\nsys.exit('no configuration')\n")
    monkeypatch.syspath_prepend(tmp_path)
    (only,) = found("failing_handlers:f")
    assert only.startswith(
        "handler: module `failing_handlers` cannot be imported: SystemExit: no configuration "
        f"({tmp_path}/failing_handlers.py, line 3); "
    )
    sys.modules.pop("failing_handlers", None)
    with pytest.raises(BadHandler):
        TYPE.build(Function(handler="failing_handlers:f"), Policy(), Setting.context)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"handler": "my_package.handlers"}, "is not a module and a function"),
        ({"handler": "a b:c"}, "is not a module and a function"),
        ({"handler": "a:b", "timeout": "0s"}, "must be more than 0"),
        ({"handler": "a:b", "timeout": "25h"}, "must be more than 0 and at most a day"),
        ({"handler": "a:b", "timeout": 30}, "must be a duration"),
        ({"handler": "a:b", "args": [1]}, "dict"),
    ],
)
def test_a_manifest_that_is_wrong(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Function.model_validate(config)


@pytest.mark.parametrize("after", [-1, float("inf"), float("nan"), "soon"])
def test_a_time_to_wait_that_is_none_is_refused(after: Any) -> None:
    with pytest.raises(ValueError, match="not a number of seconds"):
        AskedRetry(after)


def test_a_handler_is_tested_without_a_bus() -> None:
    pod = {"metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "12"}}
    event = testing.event("UPDATE", pod, old_body={"metadata": {}}, synthetic=True)
    assert (event.id, event.name, event.namespace, event.action) == ("changed.u.12.UPDATE", "p", "n", "UPDATE")
    assert (event.old_body, event.synthetic, testing.event().body["kind"]) == ({"metadata": {}}, True, "ConfigMap")
    context = testing.context(attempt=3, timeout=0)
    assert (context.attempt, context.remaining, context.cancelled) == (3, 0, True)
    with structlog.testing.capture_logs() as lines:
        context.logger.warning("slow", channel="builds")
    assert lines == [{"event": "slow", "channel": "builds", "log_level": "warning"}]
    assert AskedRetry(timedelta(minutes=2)).after == 120
