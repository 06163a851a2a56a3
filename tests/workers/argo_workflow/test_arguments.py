"""The arguments of Argo's command line."""

from __future__ import annotations

import re

import pytest

from kubecdc.workers.triggers.argo_workflow.arguments import Options, WrongArgument, parse
from kubecdc.workers.triggers.argo_workflow.manifest import ArgoWorkflow
from kubecdc.workers.triggers.argo_workflow.type import ArgoWorkflowType
from tests.workers.argo_workflow.rig import on


@pytest.mark.parametrize("args", [("-p", "a=b=c"), ("-pa=b=c",), ("-p=a=b=c",), ("--parameter", "a=b=c"),
                                  ("--parameter=a=b=c",)])  # fmt: skip
def test_a_flag_may_be_written_in_each_way_that_the_command_line_takes(args: tuple[str, ...]) -> None:
    assert parse(args, "submit") == Options(parameters={"a": "b=c"})


def test_every_flag_that_matters() -> None:
    args = ("-p", "one=1", "-p", "two=", "--labels", "a=b,c=d", "-l", "c=e", "--entrypoint", "main")
    more = ("--serviceaccount=runner", "--name", "w", "--generate-name", "w-", "--priority", "-5", "--instanceid=i")
    assert parse(args + more, "submit") == Options(
        parameters={"one": "1", "two": ""},
        labels={"a": "b", "c": "e"},
        entrypoint="main",
        service_account="runner",
        name="w",
        generate_name="w-",
        priority=-5,
        instance_id="i",
    )


def test_flags_that_only_print_are_known() -> None:
    args = ["--log", "-o", "json", "--watch", "--node-field-selector", "a=b"]
    assert parse(tuple(args), "submit").without_effect == ("--log", "--output", "--watch", "--node-field-selector")
    config = ArgoWorkflow.model_validate(on("submit", None, *args))
    [notice] = ArgoWorkflowType().notices(config)
    assert (
        notice == "args: --log, --output, --watch, --node-field-selector: accepted, without effect: there is no output"
    )


@pytest.mark.parametrize(
    ("operation", "args", "index", "reason"),
    [
        ("submit", ("--log", "--parameter-file", "p.yaml"), 1, "--parameter-file cannot be used; write the param"),
        ("submit", ("-f", "p.yaml"), 0, "--parameter-file cannot be used"),
        ("submit", ("-w",), 0, "--wait cannot be used; let `policy.k8s.labels`"),
        ("submit", ("-n", "argo"), 0, "--namespace cannot be used; write `metadata.namespace` in the source"),
        ("submit", ("--frobnicate",), 0, "--frobnicate is not supported with the operation submit"),
        ("submit", ("-x",), 0, "-x is not supported"),
        ("submit", ("other.yaml",), 0, "is not a flag; the workflow is that of `source`"),
        ("submit", ("--",), 0, "is not a flag"),
        ("submit", ("-p",), 0, "--parameter has no value"),
        ("submit", ("-p", "a"), 0, "--parameter: is not of the form NAME=VALUE"),
        ("submit", ("-p a=b",), 0, "--parameter: the name has spaces at an end; flag and value are two entries"),
        ("submit", ("-p", "a=1", "-p", "a=2"), 2, "--parameter: a is given twice"),
        ("submit", ("--priority", "high"), 0, "--priority: is not a whole number"),
        ("submit", ("-l", "a=b=c"), 0, "--labels: is not of the form"),
        ("submit", ("--name", ""), 0, "--name: has no value"),
        ("retry", ("--node-field-selector", "a=b"), 0, "--node-field-selector is not supported with the op"),
        ("resubmit", ("--memoized",), 0, "--memoized is not supported with the operation resubmit"),
        ("stop", ("-p", "a=b"), 0, "--parameter is not supported with the operation stop"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_its_name(
    operation: str, args: tuple[str, ...], index: int, reason: str
) -> None:
    with pytest.raises(WrongArgument, match=re.escape(reason)) as e:
        parse(args, operation)
    assert e.value.index == index
