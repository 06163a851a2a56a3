"""The type's part of the manifest: its model, parameters and rules."""

from __future__ import annotations

import yaml
from pydantic import ValidationError

from kubecdc.manifest.model import Model
from kubecdc.workers.sensor.parameter_manifest import FromEvent
from kubecdc.workers.sensor.parameters import ParameterError
from kubecdc.workers.sensor.policy import Policy
from kubecdc.workers.testing.case import Case, Harness, collect, parameter, running
from kubecdc.workers.triggers.contract import AccessRule

CASES: list[Case] = []
NO_SUCH_PATH = "no.such.path"


@collect(CASES)
async def the_type_describes_itself(harness: Harness) -> None:
    kind = harness.type
    assert issubclass(kind.model, Model), "the model extends kubecdc.manifest.model.Model"
    assert isinstance(yaml.safe_load(kind.example), dict), "the example is a mapping in YAML"
    assert set(kind.policies) <= set(Policy.model_fields), "each policy is a part of `policy`"
    assert set(kind.fixed) <= set(kind.model.field_types()), "each fixed field is a field of the model"
    assert all(kind.fixed.values()), "each fixed field has a hint"
    if kind.null_is_empty:
        kind.model.model_validate({})


@collect(CASES)
async def an_unknown_field_is_refused(harness: Harness) -> None:
    model = harness.type.model
    model.model_validate(harness.config)
    try:
        model.model_validate({**harness.config, "noSuchField": 1})
    except ValidationError:
        return
    raise AssertionError("an unknown field was accepted")


@collect(CASES)
async def a_valid_config_has_no_problems(harness: Harness) -> None:
    config = harness.type.model.model_validate(harness.config)
    assert list(harness.type.problems(config, frozenset())) == []
    for location, found in harness.type.parameters(config):
        assert isinstance(found, FromEvent)
        assert location[0] in harness.type.model.field_types()


@collect(CASES)
async def the_access_rules_are_complete(harness: Harness) -> None:
    for rule in harness.type.rules(harness.type.model.model_validate(harness.config), frozenset(), "default"):
        assert isinstance(rule, AccessRule)
        assert rule.verbs
        assert rule.resource.version and rule.resource.resource


@collect(CASES)
async def parameters_of_the_trigger_are_applied(harness: Harness) -> None:
    case = harness.parameter
    given = [parameter(case.dest, case.data_key, use_raw_data=case.use_raw_data)]
    async with running(harness, parameters=given) as made:
        assert case.read(made.prepare(harness.event(1))) == case.expected
    async with running(harness) as made:
        assert case.read(made.prepare(harness.event(1))) != case.expected, "the parameter changes nothing"


@collect(CASES)
async def parameters_of_the_type_are_applied(harness: Harness) -> None:
    if "parameters" not in harness.type.model.field_types():
        return
    case = harness.parameter
    source = {"dependencyName": "dep", "dataKey": case.data_key, "useRawData": case.use_raw_data}
    config = {**harness.config, "parameters": [{"src": source, "dest": case.own_dest or case.dest}]}
    assert len(list(harness.type.parameters(harness.type.model.model_validate(config)))) >= 1
    async with running(harness, config) as made:
        assert case.read(made.prepare(harness.event(1))) == case.expected
    source["dataKey"] = NO_SUCH_PATH
    async with running(harness, config) as made:
        try:
            made.prepare(harness.event(1))
        except ParameterError:
            return
    raise AssertionError("a parameter that cannot be resolved was ignored")


@collect(CASES)
async def a_parameter_that_cannot_be_resolved_is_an_error(harness: Harness) -> None:
    given = [parameter(harness.parameter.dest, NO_SUCH_PATH)]
    async with running(harness, parameters=given) as made:
        try:
            made.prepare(harness.event(1))
        except ParameterError:
            return
    raise AssertionError("a parameter that cannot be resolved was ignored")
