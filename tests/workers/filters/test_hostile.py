"""Whatever is in an event, or in the filters, the event is settled, and the event loop goes on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kubecdc.storage.contracts.event import Event
from kubecdc.workers.sensor.filters.expression import compile_expression
from kubecdc.workers.sensor.filters.regex import Pattern
from tests.harness.heartbeat import heartbeat
from tests.watcher.test_change import READABLE
from tests.workers.filters.test_filtering import consuming
from tests.workers.support import event

pytestmark = pytest.mark.usefixtures("as_in_a_process")
FEW_MILLISECONDS = 0.1  # seconds of CPU: ten times what they take
DEEP = READABLE - 50
LARGE = 200_000  # elements, more than 1 MB


def of(data: object) -> Event:
    text = data if isinstance(data, bytes) else msgspec.json.encode(data)
    return msgspec.structs.replace(event(), data=msgspec.Raw(b'{"v":' + text + b"}"))


def data(value: str, type_: str = "string", path: str = "v", **more: str) -> dict[str, Any]:
    return {"data": [{"path": path, "type": type_, "value": [value], **more}]}


def expr(text: str) -> dict[str, Any]:
    return {"exprs": [{"expr": text, "fields": [{"name": "v", "path": "v"}]}]}


def nested(before: bytes, after: bytes, depth: int = DEEP) -> bytes:
    return before * depth + b"1" + after * depth


SLOW = "(?:a|aa|b?){300}c"
CASES: dict[str, tuple[dict[str, Any], Event, str]] = {
    "a slow expression and a small text": (data(SLOW), of("ab" * 10_000), "ack"),
    "a slow expression in an expression": (expr(f'v =~ "{SLOW}"'), of("ab" * 10_000), "ack"),
    "a long text": (data("(x+x+)+y"), of("x" * 3_000_000), "ack"),
    "a long number": (data("1", "number"), of("1" * 3_000_000), "ack"),
    "a number of many digits": (data("1", "number"), of(b"9" * 4_000), "ack"),
    "a number beyond all": (data("1", "number"), of(b"1e999"), "dead_letter"),
    "a large value as text": (data("^x"), of([{"a": 1}] * LARGE), "ack"),
    "a deep value as text": (data("^x"), of(nested(b'{"a":', b"}")), "ack"),
    "deep beyond what is read": (data("^x"), of(nested(b"[", b"]", 200_000)), "dead_letter"),
    "members and a wildcard": (data("x", path="v.*a*a*a*b"), of({"a" * 20 + str(n): 1 for n in range(3000)}), "ack"),
    "many elements and a query": (data("x", path='v.#(%"*a*a*a*b")'), of(["a" * 20] * 40_000), "ack"),
    "a list that is searched": (expr("1 in v"), of([2] * LARGE), "ack"),
    "lists that are compared": (expr("v == v && false"), of([2] * LARGE), "ack"),
    "deep values that are compared": (expr("v == v"), of(nested(b"[", b"]")), "dead_letter"),
    "deep objects that differ": (expr('v == "x"'), of(nested(b'{"a":', b"}")), "ack"),
    "text that grows": (expr(" + ".join(["v"] * 400) + ' == ""'), of("x" * 60_000), "dead_letter"),
    "text that doubles in every part": (expr('(v + v) == "" || ' * 30 + '(v + v) == ""'), of("x" * 30_000), "ack"),
    "an expression of the event": (expr('"x" =~ v'), of(r"\pL{300}"), "dead_letter"),
    "a long expression of the event": (expr('"x" =~ v'), of("a?" * 30_000), "dead_letter"),
    "a broken expression of the event": (expr('"x" =~ v'), of("("), "ack"),
    "as large an expression of the event as is taken": (expr('v =~ "^" + v'), of(r"[\pL]" * 3), "ack"),
    "as many parts as are compiled": (expr(" && ".join(["v == 1"] * 249) + " && false"), of(1), "ack"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_an_event_is_settled_and_others_go_on(name: str) -> None:
    filters, about, end = CASES[name]
    async with consuming(filters) as consumer, heartbeat() as beat:
        [delivery] = await consumer.subscription.settled(about)
    assert delivery.last == end, delivery.reason
    assert len(delivery.reason) <= 1000
    assert beat.longest < FEW_MILLISECONDS


EXPRESSIONS = {
    "too long": "a" * 5_000,
    "too many parts": "+".join(["1"] * 600),
    "deep": "(" * 2_000 + "1" + ")" * 2_000,
    "not closed": "(" * 4_000,
    "many signs": "!" * 4_000 + "true",
    "many choices": "true ? " * 500 + "1",
    "many defaults": "1 ?? " * 500 + "1",
    "a text without an end": '"' + "\\'" * 2_000,
    "a name without an end": "[" + "\\]" * 2_000,
    "spaces": " " * 4_000,
    "points": "." * 4_000,
}


@pytest.mark.parametrize("text", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_an_expression_that_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expression|unexpected|no end|not a number") as refused:
        compile_expression(text)
    assert len(str(refused.value)) < 5_000


@pytest.mark.parametrize(
    "text", ["a" * 5_000, r"\pL{1000}", "(?:a{100}){100}", "(" * 2_000 + ")" * 1_999], ids=["long", "a", "b", "c"]
)
def test_a_regular_expression_that_is_too_large_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="regular expression") as refused:
        Pattern(text)
    assert len(str(refused.value)) < 5_000
