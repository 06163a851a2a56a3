"""Templates of parameters: their precedence, where they may stand, and what becomes of one that runs away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from kubecdc.storage.contracts.event import Event
from kubecdc.workers.pipeline import consume
from kubecdc.workers.route import Route
from kubecdc.workers.sensor.parameter_manifest import PayloadParameter
from kubecdc.workers.sensor.parameters import ParameterError, resolve
from kubecdc.workers.sensor.values import Values
from kubecdc.workers.triggers.http.request import HttpRequest
from kubecdc.workers.triggers.http.trigger import HttpTrigger
from tests.harness.heartbeat import heartbeat
from tests.workers.support import (
    DATA,
    FakeTrigger,
    MemoryDelivery,
    MemorySubscription,
    event,
    http_trigger,
    log_trigger,
    route,
    sensor,
    settings,
)

DATA_TEMPLATE, CONTEXT_TEMPLATE = "{{ .Input.body.metadata.name }}-data", "{{ .Input.id }}-context"
NOTHING, FAILING = "{{ .Input.nothing }}", "{{ fail `no` }}"
DATA_KEY, CONTEXT_KEY = "body.metadata.name", "subject"
BROKEN = Event.decode(event().encode().replace(b"w1", b"w\xff"))


def parameter(dest: str = "", operation: str = "", **src: Any) -> dict[str, Any]:
    return {"src": {"dependencyName": "dep", **src}, "dest": dest, "operation": operation}


def value(about: Event | None = None, **src: Any) -> object:
    return resolve(PayloadParameter.model_validate(parameter(**src)).src, Values(about or event()))


@pytest.mark.parametrize(
    ("src", "expected"),
    [
        ({"dataTemplate": DATA_TEMPLATE}, "w1-data"),
        ({"dataTemplate": DATA_TEMPLATE, "dataKey": "type"}, "w1-data"),
        ({"dataTemplate": DATA_TEMPLATE, "value": "v"}, "w1-data"),
        ({"dataTemplate": DATA_TEMPLATE, "contextTemplate": CONTEXT_TEMPLATE}, "w1-data"),
        ({"dataTemplate": DATA_TEMPLATE, "contextKey": CONTEXT_KEY}, "w1-data"),
        ({"dataTemplate": NOTHING, "dataKey": DATA_KEY}, "w1"),
        ({"dataTemplate": FAILING, "dataKey": DATA_KEY}, "w1"),
        ({"dataTemplate": "{{ if false }}x{{ end }}", "dataKey": DATA_KEY}, "w1"),
        ({"dataTemplate": NOTHING, "dataKey": "nothing", "value": "v"}, "v"),
        ({"dataTemplate": NOTHING, "value": "v"}, "v"),
        ({"dataTemplate": NOTHING, "contextTemplate": CONTEXT_TEMPLATE, "value": "v"}, "v"),
        ({"dataTemplate": NOTHING, "contextKey": CONTEXT_KEY, "value": "v"}, "v"),
        ({"dataKey": DATA_KEY, "contextTemplate": CONTEXT_TEMPLATE}, "w1"),
        ({"dataKey": "nothing", "contextTemplate": CONTEXT_TEMPLATE, "value": "v"}, "v"),
        ({"contextTemplate": CONTEXT_TEMPLATE}, "changed.uid-k.1.ADD-context"),
        ({"contextTemplate": CONTEXT_TEMPLATE, "contextKey": CONTEXT_KEY}, "changed.uid-k.1.ADD-context"),
        ({"contextTemplate": NOTHING, "contextKey": CONTEXT_KEY}, "changed"),
        ({"contextTemplate": FAILING, "contextKey": "nothing", "value": "v"}, "v"),
        ({"contextTemplate": "{{ .Input.epoch }} {{ .Input.partitionkey }}"}, "1 k"),
        ({"dataTemplate": "{{ .Input.body.n }}", "useRawData": True}, "100"),
        ({"dataTemplate": "{{ .Input.body.yes }}", "useRawData": True}, "true"),
        ({"dataTemplate": "{{ toJson .Input.body.list }}", "useRawData": True}, '[1,"x"]'),
        ({"dataTemplate": "", "dataKey": DATA_KEY, "contextTemplate": ""}, "w1"),
    ],
)
def test_the_precedence_is_that_of_argo_and_templates_give_text(src: dict[str, Any], expected: str) -> None:
    assert value(**src) == expected


@pytest.mark.parametrize(
    ("src", "reason"),
    [
        ({"dataTemplate": NOTHING}, "dataTemplate gives nothing for the event: it gives no value, and the parameter"),
        ({"dataTemplate": FAILING}, "line 1, column 4: function 'fail' failed: no, and the parameter has no default"),
        (
            {"contextTemplate": "x{{ .Input.id.x }}"},
            "contextTemplate gives nothing for the event: line 1, column 5: there is no field `x`",
        ),
        (
            {"dataTemplate": NOTHING, "dataKey": "a.b"},
            "no value, and it has nothing at dataKey 'a.b', and the parameter",
        ),
        ({"dataTemplate": NOTHING, "contextKey": CONTEXT_KEY}, "dataTemplate gives nothing for the event"),
    ],
)
def test_what_gives_nothing_and_has_no_default_is_an_error(src: dict[str, Any], reason: str) -> None:
    with pytest.raises(ParameterError) as raised:
        value(**src)
    assert reason in str(raised.value)


def test_data_that_cannot_be_read_gives_the_default_or_an_error() -> None:
    assert value(BROKEN, dataTemplate="x", value="v") == "v"
    assert value(BROKEN, contextTemplate="{{ .Input.source }}") == "workflows"
    with pytest.raises(ParameterError, match="the event's data cannot be read"):
        value(BROKEN, dataTemplate="x")


def test_a_template_that_changes_the_event_changes_it_for_itself_only() -> None:
    values = Values(event())
    change = "{{ $_ := set .Input.body `n` 7 }}{{ .Input.body.n }}"
    found = [
        resolve(PayloadParameter.model_validate(parameter(dataTemplate=text)).src, values)
        for text in ("{{ .Input.body.n }}", change, "{{ .Input.body.n }}", change)
    ]
    assert found == ["100", "7", "100", "7"]
    assert values.data == DATA


@pytest.mark.parametrize("text", ["{{ uuidv4 }}", "{{ fail uuidv4 }}"])
def test_a_parameter_gives_the_same_in_every_try_and_another_one_something_else(text: str) -> None:
    values = Values(event())
    sources = [PayloadParameter.model_validate(parameter(dataTemplate=text)).src for _ in range(2)]

    def found(i: int) -> str:
        try:
            return str(resolve(sources[i], values))
        except ParameterError as e:
            return str(e)

    first, second = found(0), found(1)
    assert first != second
    left = values.meter.left
    values.meter.left = 0.0  # what is rendered costs nothing more
    assert (found(0), found(1)) == (first, second)
    assert left > 0


def prepared(manifest: Mapping[str, Any], about: Event | None = None) -> HttpRequest:
    made: HttpRequest = route(HttpTrigger(), manifest).request(about or event())
    return made


def test_templates_may_stand_wherever_a_parameter_may() -> None:
    made = prepared(
        http_trigger(
            "http://x",
            {
                "parameters": [parameter("url", "append", dataTemplate="/{{ .Input.body.metadata.name }}")],
                "payload": [
                    parameter("n", dataTemplate="{{ add .Input.body.n 1 }}"),
                    parameter("l.-1", contextTemplate="{{ upper .Input.subject }}"),
                    parameter("n", "prepend", dataTemplate="n="),
                ],
                "dynamicHeaders": [{**parameter("X-Type", dataTemplate="{{ lower .Input.type }}"), "operation": ""}],
            },
            parameters=[parameter("http.headers.X", dataTemplate="{{ .Input.body.list | join `+` }}")],
        )
    )
    assert made.config.url == "http://x/w1"
    assert made.config.headers == {"X": "1+x"}
    assert made.payload == b'{"n":"n=101","l":["CHANGED"]}'
    assert made.headers == {"X-Type": "add"}


def test_a_parameter_may_write_a_template_that_the_manifest_has_and_no_other() -> None:
    known, other = "{{ .Input.type }}", "{{ .Input.body.metadata.name }}-{{ .Input.type }}"
    http = {"payload": [parameter("a", dataTemplate="{{ .Input.body.n }}"), parameter("b", dataTemplate=known)]}
    write = "http.payload.0.src.dataTemplate"
    made = prepared(http_trigger("http://x", http, parameters=[parameter(write, value=known)]))
    assert made.payload == b'{"a":"ADD","b":"ADD"}'
    with pytest.raises(ParameterError, match="an event cannot bring a template"):
        prepared(http_trigger("http://x", http, parameters=[parameter(write, value=other)]))


def test_an_object_of_the_event_cannot_bring_a_template() -> None:
    brought = [{"src": {"dependencyName": "dep", "dataTemplate": "{{ until 9 }}{{ .Input }}"}, "dest": "x"}]
    write = parameter("http.payload", dataKey="payload", useRawData=True)
    with pytest.raises(ParameterError, match="an event cannot bring a template"):
        prepared(http_trigger("http://x", parameters=[write]), event(data={"payload": brought}))


RUNAWAY = {
    "templates that call each other": "{{ define `a` }}{{ end }}{{ range until 99999 }}{{ template `a` }}{{ end }}",
    "a large text": "{{ repeat 1000000000 `x` }}",
    "a long range": "{{ range 1000000000 }}{{ end }}",
    "a list in itself": "{{ $x := list `a` }}{{ range until 40 }}{{ $x = list $x $x }}{{ end }}{{ toJson $x }}",
    "a text of the event": "{{ range until 10000 }}{{ $x := regexFindAll `(x*)y|x` $.Input.text -1 }}{{ end }}",
}
FEW_MILLISECONDS = 0.1  # seconds of CPU, as in test_hostile.py


@pytest.mark.parametrize("text", RUNAWAY.values(), ids=RUNAWAY)
async def test_a_template_that_runs_away_is_one_dead_letter_and_holds_up_nothing(text: str) -> None:
    """It computes for up to a second in its thread. Events of other triggers are settled meanwhile."""
    hostile = log_trigger(parameters=[parameter("log.intervalSeconds", dataTemplate=text)])
    subscriptions, stop = [MemorySubscription(), MemorySubscription()], asyncio.Event()
    routes = [route(FakeTrigger(), hostile), route(FakeTrigger(), log_trigger())]
    consumers = [
        asyncio.create_task(consume(subscription, each, settings(), stop=stop))
        for subscription, each in zip(subscriptions, routes, strict=True)
    ]
    async with heartbeat() as beat, asyncio.timeout(60):
        bad = subscriptions[0].give(event(data={"text": "x" * 30_000}))
        good = subscriptions[1].give(event())
        await asyncio.gather(bad.settled.wait(), good.settled.wait())
    stop.set()
    await asyncio.gather(*consumers)
    assert (bad.last, good.last) == ("dead_letter", "ack")
    assert bad.calls.count("dead_letter") == 1
    assert "dataTemplate: it computes for too long, or makes too much text" in bad.reason
    assert beat.longest < FEW_MILLISECONDS


async def test_templates_that_compute_for_long_are_rendered_in_a_thread_until_they_are_quick_again() -> None:
    text = "{{ range until (int .Input.n) }}{{ sha256sum (printf `%d` .) | trunc 0 }}{{ end }}{{ .Input.n }}"
    made = route(FakeTrigger(), log_trigger(parameters=[parameter("log.intervalSeconds", dataTemplate=text)]))
    seen = []
    for n in (1, 3000, 1, 1):
        delivery = await settled(made, event(data={"n": n}))
        seen.append((delivery.last, bool(made.in_thread)))
        assert "must be" in delivery.reason or "log.intervalSeconds" in delivery.reason  # text is no number
    assert seen == [("dead_letter", False), ("dead_letter", True), ("dead_letter", False), ("dead_letter", False)]


async def settled(made: Route, about: Event) -> MemoryDelivery:
    subscription, stop = MemorySubscription(), asyncio.Event()
    task = asyncio.create_task(consume(subscription, made, settings(), stop=stop))
    delivery = subscription.give(about)
    async with asyncio.timeout(60):
        await delivery.settled.wait()
    stop.set()
    await task
    return delivery


def test_a_sensor_with_a_template_that_is_none_is_refused() -> None:
    wrong = http_trigger("http://x", {"payload": [parameter("a", contextTemplate="{{ uper .Input.id }}")]})
    with pytest.raises(ValueError, match="function 'uper' not defined"):
        sensor(wrong)
