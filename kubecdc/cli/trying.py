"""What Sensors do with an event that no bus has delivered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import aclosing
from itertools import groupby, product
from typing import Any

import click
import msgspec

from kubecdc.cli.output import indented, on_terminal
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.contracts.types import ClusterAccess
from kubecdc.workers import filtering
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.route import Route, close, routes
from kubecdc.workers.scripts.process import Interrupted, ScriptError
from kubecdc.workers.sensor.manifest import Sensor
from kubecdc.workers.sensor.parameters import ParameterError
from kubecdc.workers.sensor.values import Values
from kubecdc.workers.settings import Settings

Met = dict[str, dict[str, Event]]
"""Events that wait for others to meet the conditions, by key and dependency."""
SOME_ERROR = "(the reason of the dead letter)"


async def try_sensors(
    sensors: list[Sensor], events: list[Event], given: Mapping[str, Any], access: ClusterAccess, *, execute: bool
) -> int:
    """Print what each trigger would do, or does. Returns the exit code: 1 if one does not succeed or has no request."""
    code = 0
    settings = Settings()
    async with aclosing(access.shared()) as cluster, settings.scripts:
        for sensor in sensors:
            made = routes(sensor, concurrency=1, render=_to_stderr, cluster=cluster, **given)
            for _, group in groupby(made, lambda route: route.trigger):
                of_trigger, met = list(group), defaultdict[str, dict[str, Event]](dict)
                try:
                    for event, route in product(events, of_trigger):
                        line, outcome = await _try_trigger(route, event, settings, met, execute=execute)
                        click.echo(indented(line) if on_terminal() else msgspec.json.encode(line))
                        if isinstance(outcome, Retry | Failure):
                            code = 1
                finally:
                    await close(of_trigger)
    return code


def _to_stderr(record: Mapping[str, object]) -> bytes:
    click.echo(msgspec.json.encode(record), err=True)
    return b""  # stdout has only the lines of this command


async def _try_trigger(
    route: Route, event: Event, settings: Settings, met: Met, *, execute: bool
) -> tuple[dict[str, object], Outcome | None]:
    """The output line of a trigger, and its outcome if it ran. ``met`` are the earlier events that wait for others."""
    line: dict[str, object] = {
        "sensor": route.sensor,
        "trigger": route.name,
        "dependency": route.dependency.name,
        "matched": route.matches(event),
        "reason": None,
        "request": None,
    }
    if not line["matched"]:
        wanted = f"{route.dependency.event_source_name}/{route.dependency.event_name}"
        line["reason"] = f"the dependency needs {wanted}, the event is {event.source}/{event.subject}"
        return line, None
    try:
        event = await route.transformed(event, settings.scripts)
        if route.transforms:
            line["transformed"] = event.data
        values = route.values(event)
        verdict = await filtering.judge(event, values, route, settings)
    except ScriptError as e:
        return _without_run(line, Failure(str(e)), execute=execute)
    except (Interrupted, TimeoutError) as e:
        return _without_run(line, Retry(str(e) or "the filters take too long"), execute=execute)
    if route.filters.given:
        line["filters"] = {"passed": verdict.passes, "false": verdict.false, "errors": verdict.errors}
    if verdict.is_unjudged:
        return _without_run(line, Failure(filtering.unjudged(verdict)), execute=execute)
    if not verdict.passes:
        line["reason"] = f"the filters of the dependency do not let it pass: {verdict.reason}"
        return line, None
    if route.dlq is not None:
        line["dlqTrigger"] = _dlq_request(route.dlq, event)
    outcome: Outcome | None = None
    try:
        if missing := _missing(route, event, values, met):
            line["reason"] = f"the conditions are not met yet: there is no event of {' or '.join(missing)}"
            return line, None
        request = route.request(event, values)
        line["request"] = route.trigger.preview(request)
        if execute:
            outcome = await route.trigger.execute(request)
    except ParameterError as e:
        return _without_run(line, Failure(str(e)), execute=execute)
    if outcome is not None:
        line["outcome"] = _outcome_fields(outcome)
    return line, outcome


def _dlq_request(route: Route, event: Event) -> dict[str, object]:
    """What the dlqTrigger would do if the trigger failed, with an error made up."""
    values = route.values(event)
    values.annotate({"error": SOME_ERROR, "attempts": 1})
    try:
        return {"trigger": route.name, "request": route.trigger.preview(route.request(event, values))}
    except ParameterError as e:
        return {"trigger": route.name, "request": None, "reason": str(e)}


def _without_run(
    line: dict[str, object], outcome: Retry | Failure, *, execute: bool
) -> tuple[dict[str, object], Outcome | None]:
    line["reason"] = outcome.reason
    return (line | {"outcome": _outcome_fields(outcome)} if execute else line), outcome


def _missing(route: Route, event: Event, values: Values, met: Met) -> list[str]:
    """The dependencies that the conditions lack. If there are none, the others are put beside the values of the event.

    Raises ParameterError if the event has no key.
    """
    if route.dependency.name in route.expression.alone:
        return []
    together = met[route.key(values)]
    together[route.dependency.name] = event
    if not route.expression.met(together.keys()):
        return [f"`{name}`" for name in sorted(route.expression.names - together.keys())]
    values.others = {name: Values(other, name) for name, other in together.items() if name != route.dependency.name}
    together.clear()
    return []


def _outcome_fields(outcome: Outcome) -> dict[str, object]:
    match outcome:
        case Success():
            return {"result": "success"}
        case Retry(reason, after):
            return {"result": "retry", "reason": reason} | ({} if after is None else {"after": after})
        case Failure(reason):
            return {"result": "failure", "reason": reason}
