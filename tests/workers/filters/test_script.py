"""``filters.script``: a Lua script that says whether an event passes, asked last and only if it decides."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from kubecdc.storage.contracts.event import Event
from kubecdc.workers import filtering
from kubecdc.workers.route import Route
from kubecdc.workers.scripts import process
from kubecdc.workers.scripts.runner import Scripts
from kubecdc.workers.sensor.filters.logic import Verdict
from kubecdc.workers.sensor.values import Values
from tests.workers.scripts.support import consuming
from tests.workers.support import FakeTrigger, event, log_trigger, sensor, settings

ARGO = 'if event.body.a == "b" and event.body.d.e == "z" then return true else return false end'
SAYS = {True: "return true", False: "return false", None: "return event.missing.name"}
TYPE = {True: "^ADD$", False: "^DELETE$"}


async def judged(scripts: Scripts, filters: dict[str, Any], operator: str = "", about: Event | None = None) -> Verdict:
    given = {"name": "dep", "eventSourceName": "workflows", "eventName": "changed"}
    made = sensor(log_trigger(), dependencies=[{**given, "filters": filters, "filtersLogicalOperator": operator}])
    trigger: Any = FakeTrigger()
    about = about or event()
    route = Route(made, made.spec.triggers[0], trigger)
    assert route.filters.given
    return await filtering.judge(about, Values(about), route, settings(scripts=scripts))


@pytest.mark.parametrize(
    ("body", "passes"),
    [({"a": "b", "c": 10, "d": {"e": "z"}}, True), ({"a": "b", "d": {"e": "y"}}, False), ({"hello": "world"}, False)],
)
async def test_the_example_of_argo(body: dict[str, Any], passes: bool) -> None:
    async with Scripts() as scripts:
        found = await judged(scripts, {"script": ARGO}, about=event(data={"body": body}))
    assert found.passes is passes


async def test_with_other_filters_it_is_joined_as_they_are_and_asked_only_if_it_decides() -> None:
    async with Scripts() as scripts:
        for operator, other, says in itertools.product(("and", "or"), (True, False), SAYS):
            data = [{"path": "type", "type": "string", "value": [TYPE[other]]}]
            found = await judged(scripts, {"data": data, "script": SAYS[says]}, operator)
            truths = [other, says is True]
            assert found.passes is (any(truths) if operator == "or" else all(truths)), (operator, other, says)
            asked = other is (operator == "and")
            assert any(text == "filters.script" for text, _ in found.denials) is (asked and says is not True)
            assert found.has_errors is (asked and says is None)


async def test_what_it_says_is_told() -> None:
    async with Scripts() as scripts:
        false = await judged(scripts, {"script": SAYS[False]})
        fails = await judged(scripts, {"script": SAYS[None]})
        odd = await judged(scripts, {"script": "return 'yes'"})
        nothing = await judged(scripts, {"script": "local x = event"})
    assert false.reason == "filters.script is false"
    assert fails.errors == ["filters.script: script:1: attempt to index field 'missing' (a nil value)"]
    assert odd.errors == ["filters.script: it returns text: it must return true or false"]
    assert (nothing.passes, nothing.false, nothing.errors) == (False, ["filters.script"], [])
    assert not any(verdict.is_unjudged for verdict in (false, fails, odd, nothing))


async def test_it_sees_what_the_transform_has_made() -> None:
    filters = {"script": "return event.kind == 'ADD' and event.type == nil"}
    async with Scripts() as scripts, consuming(scripts, {"jq": "{kind: .type}"}, filters=filters) as consumer:
        (run,) = await consumer.subscription.settled(event())
        (out,) = await consumer.subscription.settled(event(data={"type": "DELETE"}))
    assert (run.calls, out.calls, consumer.data) == (["start", "ack"], ["ack"], [{"kind": "ADD"}])


async def test_one_that_runs_away_makes_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SECONDS", 0.2)
    async with Scripts() as scripts, consuming(scripts, {}, filters={"script": "while true do end"}) as consumer:
        (delivery,) = await consumer.subscription.settled(event())
    assert (delivery.last, consumer.data) == ("dead_letter", [])
    assert delivery.reason == (
        "the filters of the dependency cannot judge the event: filters.script: it takes more than 0.2 s of CPU"
    )


async def test_data_that_lua_cannot_read_are_not_judged() -> None:
    deep = msgspec.Raw(b'{"a":' + b"[" * 60_000 + b"]" * 60_000 + b"}")
    about = msgspec.structs.replace(event(), data=deep)
    async with Scripts() as scripts:
        found = await judged(scripts, {"script": "return true"}, about=about)
    assert found.is_unjudged
    assert found.reason == "filters.script: its data are nested too deep, or contain themselves"
